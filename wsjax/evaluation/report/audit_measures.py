"""What each measure of the audit is called and means."""

# metric -> (label, unit, better, description).
TABLE = {
  'replica_rate': (
    'replicas',
    'share',
    'lower',
    'Networks nearer to a training network than 99 % of held-out networks are. '
    'An honest generator has about 1 %.',
  ),
  'replica_rate_ratio': (
    'replicas by ratio',
    'share',
    'lower',
    'The same of the distance to the nearest training network over that to the '
    'next: a replica is near to one, not to all.',
  ),
  'neighbour_ratio': (
    'nearest over next distance',
    '',
    'none',
    'Median distance to the nearest training network over that to the next. '
    '1: near to none in particular. Compare with held-out networks.',
  ),
  'copying_z': (
    'data-copying z',
    '',
    'none',
    'Mann-Whitney z of the distances to the zoo against those of held-out '
    'networks, with the probability p of one so low by chance. Below 0: '
    'copying; above 0: underfitting.',
  ),
  'authenticity': (
    'authenticity',
    'share',
    'none',
    'Networks farther from their nearest training network than any other '
    'training network is from that one. Compare with held-out networks.',
  ),
  'hull_residual': (
    'distance to the hull',
    '',
    'none',
    'Distance to the convex hull of 16 aligned training networks over that to '
    'the nearest of them, median: 0 for averages of neighbours, 1 for copies '
    'with noise. Compare with held-out networks.',
  ),
  'iou_excess': (
    'error-IoU above held-out',
    '',
    'lower',
    'Largest error-IoU with a training network, less that of held-out networks '
    'within half a point of accuracy; n says how many networks have any.',
  ),
  'vendi_ratio': (
    'Vendi score ratio',
    '',
    'higher',
    'Effective number of networks by what they say on test items, over that of '
    'equally many held-out networks.',
  ),
  'self_distance': (
    'distance to nearest other sample',
    'tau',
    'higher',
    'Median quotient distance to the nearest other network of the same arm. '
    'Near 0: one network and noise, new or not.',
  ),
  'centre_distance': (
    'distance to the mean',
    '',
    'none',
    'Median distance of canonical forms to the mean of the zoo, over that of '
    'the training networks: 0 is a collapse to the mean.',
  ),
}
for _space, _where in (('weights', 'canonical weights'), ('behaviour', 'logits on test items')):
  TABLE |= {
    f'density_{_space}': (
      f'density, {_space}',
      '',
      'higher',
      'Balls of held-out networks around a sample, over 5, in the principal '
      f'components of {_where}. Over 1: crowded where they are dense.',
    ),
    f'coverage_{_space}': (
      f'coverage, {_space}',
      'share',
      'higher',
      'Held-out networks with a sample among their 5 nearest neighbours, in the same space.',
    ),
    f'precision_{_space}': (
      f'precision, {_space}',
      'share',
      'higher',
      'Samples in the ball of 5 neighbours of a held-out network.',
    ),
    f'recall_{_space}': (
      f'recall, {_space}',
      'share',
      'higher',
      'Held-out networks in the ball of 5 neighbours of a sample. Stray '
      'samples have large balls: read it beside coverage.',
    ),
    f'mmd_{_space}': (
      f'discrepancy, {_space}',
      '',
      'lower',
      'Unbiased squared maximum mean discrepancy to held-out networks, '
      'Gaussian kernel, with the probability p of one so large by chance. In '
      'components of few training networks these spread more than others: '
      'fresh runs, not the zoo, say what is little.',
    ),
    f'mmd_ratio_{_space}': (
      f'discrepancy over that of the zoo, {_space}',
      '',
      'none',
      'Discrepancy to held-out networks over that of equally many training '
      'networks. Copies of those have 1.',
    ),
    f'energy_{_space}': (
      f'energy distance, {_space}',
      '',
      'lower',
      'Energy distance to held-out networks over the median distance of two '
      'training networks: 0 in the mean for further runs, and no kernel '
      'decides at which scale sets are compared.',
    ),
    f'sliced_{_space}': (
      f'sliced Wasserstein distance, {_space}',
      '',
      'lower',
      'Of order 2, along 512 lines, to as many held-out networks, over the '
      'same. Further runs are not at 0 either: compare with fresh runs.',
    ),
  }
