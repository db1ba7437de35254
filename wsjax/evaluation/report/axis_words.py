"""What each measure of the optional axes is called and means."""

from wsjax.evaluation.metrics import (
  adversarial,
  corruptions,
  ensembles,
  finetuning,
  transfer,
  weight_robustness,
)
from wsjax.evaluation.report import measures

_LOWER, _HIGHER, _NONE = 'lower', 'higher', 'none'
_MIDDLE = {norm: radii[len(radii) // 2]
           for norm, radii in adversarial.EPSILONS.items()}  # fmt: skip
_NORMS = {'linf': 'L∞', 'l2': 'L2'}
_DEAD = ' A network that works no better than chance has nothing to lose.'
_NOISE = f'{100 * weight_robustness.NOISE:g} %'

# axis -> metric -> (label, unit, better, description).
_TABLE = {
  'robustness': {
    'mce': (
      'mean corruption error',
      '',
      _LOWER,
      'Error on corrupted items over that of the zoo, summed over five '
      'severities, mean over nine kinds: 1 is the zoo.',
    ),
    'relative_mce': (
      'relative corruption error',
      '',
      _LOWER,
      'The same with the clean error taken from every error: how much worse a '
      'network gets, over how much worse the zoo gets.' + _DEAD,
    ),
    **{
      f'drop_{family}': (
        f'accuracy lost to {family}',
        'share',
        _LOWER,
        'Share of the clean accuracy that is lost, mean over five severities '
        f'of {", ".join(kinds).replace("_", " ")}.' + _DEAD,
      )
      for family, kinds in corruptions.FAMILIES.items()
    },
  },
  'adversarial': {
    key: entry
    for norm, epsilon in _MIDDLE.items()
    for key, entry in {
      f'robust_{norm}': (
        f'accuracy under attack, {_NORMS[norm]}',
        'share',
        _HIGHER,
        'Items right under the worst of FGSM, PGD of 20 steps from 5 starts, '
        f'and attacks on networks of the zoo, {_NORMS[norm]} radius '
        f'{epsilon:g} of pixels in [0, 1]. An upper bound.',
      ),
      f'own_{norm}': (
        f'accuracy under attack on itself, {_NORMS[norm]}',
        'share',
        _HIGHER,
        'The same without the attacks on others.',
      ),
      f'transfer_{norm}': (
        f'accuracy under attack on others, {_NORMS[norm]}',
        'share',
        _HIGHER,
        f'Items right at the points that PGD made on {transfer.SURROGATES} '
        'training networks together, which are left out of the zoo here. Below '
        'the attack on itself: the gradients of the network hide something. '
        'Copies of those four fall with them.',
      ),
      f'noise_{norm}': (
        f'accuracy under noise, {_NORMS[norm]}',
        'share',
        _HIGHER,
        'Items right under each of 5 random changes of that size: an attack '
        'that is no stronger has failed.',
      ),
    }.items()
  },
  'calibration': {
    'scaled_nll': (
      'loss at the best temperature',
      'nats',
      _LOWER,
      'Negative log likelihood with the temperature that the other half of the '
      'test items asks for: what one number mends does not count.',
    ),
    'temperature': (
      'best temperature',
      '',
      _NONE,
      'Median over networks. Above 1: too sure; below 1: not sure enough.',
    ),
    'classwise_ece': (
      'calibration error of classes',
      'share',
      _LOWER,
      'Calibration error of the probability of each class, mean over classes, '
      '15 bins; biased upwards.',
    ),
    'debiased_ce': (
      'squared calibration error',
      '',
      _LOWER,
      'Mean square of accuracy minus confidence by bins, less what chance '
      'adds: 0 in the mean for a calibrated network.',
    ),
  },
  'weights': {
    'weight_noise_nll': (
      'loss added by weight noise',
      'nats',
      _LOWER,
      f'Rise of the test loss when every filter of the canonical form gets '
      f'noise of {_NOISE} of its norm, mean over draws.' + _DEAD,
    ),
    'weight_noise_worst_nll': (
      'loss added by the worst noise',
      'nats',
      _LOWER,
      f'The same by the worst of {weight_robustness.NUM_DRAWS} draws, which all networks share.',
    ),
    **{
      f'weight_int{bits}_drop': (
        f'accuracy lost to {bits} bits',
        'share',
        _LOWER,
        f'Accuracy lost when the kernels of the canonical form are rounded to {bits} bits.' + _DEAD,
      )
      for bits in weight_robustness.BITS
    },
    'weight_prune_drop': (
      'accuracy lost to pruning',
      'share',
      _LOWER,
      'Accuracy lost when the smaller half of the weights of every kernel is set to 0.' + _DEAD,
    ),
  },
  'barriers': {
    'barrier_train_raw': (
      'barrier to the zoo as it stands',
      'nats',
      _NONE,
      'Highest rise of the loss above the chord on the line to the nearest '
      'training network, units as they are. Near 0: derived from it. Fresh '
      'runs say what is much.',
    ),
    'barrier_train': (
      'barrier to the zoo, matched',
      'nats',
      _NONE,
      'The same after the units of the training network are matched to those of the sample.',
    ),
    'barrier_self': (
      'barrier to another sample, matched',
      'nats',
      _NONE,
      'The same to another network of the same seed. 0: all of a seed in one basin.',
    ),
  },
  'finetuning': {
    'finetune_steps': (
      'steps to the accuracy of the zoo',
      '',
      _LOWER,
      'Lower median of the further training steps after which a network has '
      'the median accuracy of the zoo, of '
      f'{", ".join(map(str, finetuning.LADDER))}.',
    ),
    'finetune_reached': (
      'as good as the zoo after training on',
      'share',
      _HIGHER,
      f'Networks that get there within {finetuning.LADDER[-1]} steps.',
    ),
    'finetune_accuracy': (
      f'accuracy after {finetuning.SHOWN} steps',
      'share',
      _HIGHER,
      f'Mean test accuracy after {finetuning.SHOWN} further training steps; '
      'the batches of network i are the same in every arm.',
    ),
  },
  'ensembles': {
    key: entry
    for size in ensembles.SIZES
    for key, entry in {
      f'ensemble{size}_accuracy': (
        f'accuracy of {size}',
        'share',
        _HIGHER,
        f'Accuracy of the mean prediction of {size} networks of one seed; n counts ensembles.',
      ),
      f'ensemble{size}_nll': (
        f'negative log likelihood of {size}',
        'nats',
        _LOWER,
        f'Loss of the mean prediction of {size} networks.',
      ),
      f'ensemble{size}_gain': (
        f'gain of {size}',
        'nats',
        _HIGHER,
        'Mean loss of the members minus that of the ensemble: 0 for copies of '
        'one network. It grows with the error: compare at equal accuracy.',
      ),
      f'ensemble{size}_ece': (
        f'calibration error of {size}',
        'share',
        _LOWER,
        f'Expected calibration error of the mean prediction of {size} '
        'networks; a mean is less sure than its members.',
      ),
    }.items()
  },
}

AXES = {axis: measures.described(table) for axis, table in _TABLE.items()}
