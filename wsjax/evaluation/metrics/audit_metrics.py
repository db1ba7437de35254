"""What the audit says of an arm: entries of the report.

Where a number means little alone, its entry also has `heldout`: the same of held-out networks,
which is what a truthful generator has.
"""

from typing import Any

import numpy as np

from wsjax import typing
from wsjax.evaluation import methods, statistics
from wsjax.evaluation.metrics import audit, coverage, memorization, replicas, two_sample, vendi

# Networks that each side of a comparison of two sets must have.
MIN_NETS = 10

_NO_HELDOUT = 'there are no held-out networks'
_TOO_FEW = f'a comparison of two sets needs {MIN_NETS} networks in each'
_TOO_FEW_HELDOUT = f'there are fewer than {MIN_NETS} held-out networks'
_SHARES = ('density', 'coverage', 'precision', 'recall')

NOVELTY = (
  'replica_rate', 'replica_rate_ratio', 'copying_z', 'authenticity',
  'neighbour_ratio', 'hull_residual', 'iou_excess',
)  # fmt: skip
DIVERSITY = ('vendi_ratio', 'self_distance', 'centre_distance')
FIDELITY = tuple(
  f'{name}_{space}'
  for space in audit.SPACES
  for name in (*_SHARES, 'mmd', 'mmd_ratio', 'energy', 'sliced')
)
ALL = (*NOVELTY, *DIVERSITY, *FIDELITY)


def measure(
  arm: methods.Arm,
  canonical: typing.StackedParams | None,
  errors: np.ndarray,
  auditor: audit.Auditor,
  resampler: statistics.Resampler,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """Audits one arm.

  Args:
    arm: the arm.
    canonical: canonical forms of its usable networks; None if it has none.
    errors: [N, n] bool, the test items that its networks get wrong.
    auditor: the zoo.
    resampler: for the intervals.

  Returns:
    metric -> entry, for all of `ALL`; and [N] numbers of single networks, NaN where one is not
    usable, distances in units of tau.
  """
  usable = arm.usable
  if canonical is None:
    reason = statistics.not_run('no network has finite weights')
    return {key: reason for key in ALL}, {}
  if arm.params is auditor.context.train:
    nets = auditor.train
  else:
    params = methods.take(arm.params, usable)
    nets = auditor.describe(params, canonical, errors[usable])
  tau, rows = auditor.context.bar.tau, {}
  for key, value in {
    'canonical_novelty': nets.around.distance / tau,
    'hull_residual': nets.around.residual,
    'self_distance': nets.spacing / tau,
  }.items():
    rows[key] = np.full(arm.num_nets, np.nan)
    rows[key][usable] = value
  return metrics(nets, auditor, arm.groups[usable], resampler), rows


def metrics(
  nets: audit.Nets, auditor: audit.Auditor, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Entries of one arm.

  Args:
    nets: the usable networks of the arm.
    auditor: the zoo.
    groups: [N] which seed made each of them.
    resampler: for the intervals.

  Returns:
    metric -> entry, for all of `ALL`. Without held-out networks those that rest on them say so.
  """
  heldout = auditor.heldout
  found = _alone(nets, auditor, groups, resampler)
  if heldout is None:
    rest = [key for key in ALL if key not in found]
    return found | {key: statistics.not_run(_NO_HELDOUT) for key in rest}
  return (
    found
    | _against(nets, heldout, auditor, groups, resampler)
    | _sets(nets, heldout, auditor, groups, resampler)
  )


def _alone(
  nets: audit.Nets, auditor: audit.Auditor, groups: np.ndarray, resampler: statistics.Resampler
) -> dict[str, Any]:
  """Entries that have a meaning without held-out networks."""
  train, tau = auditor.train, auditor.context.bar.tau
  unit = np.median(train.centre)

  def values(of: audit.Nets) -> dict[str, np.ndarray]:
    return {
      'hull_residual': of.around.residual,
      'neighbour_ratio': of.around.ratio,
      'self_distance': of.spacing / tau,
      'centre_distance': of.centre / unit,
    }

  def authentic(of: audit.Nets) -> np.ndarray:
    return replicas.authentic(of.around.distance, of.around.index, train.around.distance)

  found = {
    key: statistics.over_nets(value, groups, resampler, window=None)
    for key, value in values(nets).items()
  }
  found['authenticity'] = statistics.rate(authentic(nets))
  if auditor.heldout is not None:
    for key, value in values(auditor.heldout).items():
      if found[key]['value'] is not None and np.isfinite(value).any():
        found[key]['heldout'] = float(np.nanmedian(value))
    share = float(np.mean(authentic(auditor.heldout)))
    found['authenticity']['heldout'] = share
  return found


def _against(
  nets: audit.Nets,
  heldout: audit.Nets,
  auditor: audit.Auditor,
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Entries of distances and overlaps beside those of held-out networks."""
  mine, theirs = audit.disjoint(nets.vectors, heldout.vectors)
  if theirs.sum() < MIN_NETS:
    reason = statistics.not_run(_TOO_FEW_HELDOUT)
    return {
      key: reason
      for key in ('replica_rate', 'replica_rate_ratio', 'copying_z',
                  'iou_excess')
    }  # fmt: skip
  tau = auditor.context.bar.tau
  r, h = nets.around.distance[mine] / tau, heldout.around.distance[theirs] / tau
  z, p = replicas.copying(_rng(resampler, 0), r, h)
  excess = memorization.excess(
    nets.max_iou[mine], nets.accuracy[mine], heldout.max_iou[theirs], heldout.accuracy[theirs]
  )
  by_ratio = statistics.not_run('a training network has one other one')
  ratios = nets.around.ratio[mine], heldout.around.ratio[theirs]
  if all(np.isfinite(ratio).all() for ratio in ratios):
    by_ratio = replicas.rate(*ratios)
  overlap = statistics.not_run('no held-out network is as accurate')
  if np.isfinite(excess).any():
    overlap = statistics.over_nets(excess, groups[mine], resampler)
  return {
    'replica_rate': replicas.rate(r, h) | {'threshold': replicas.threshold(h)},
    'replica_rate_ratio': by_ratio,
    'copying_z': statistics.stat(z, None, n=len(r), method='none') | {'p': p},
    'iou_excess': overlap,
  }


def _sets(
  nets: audit.Nets,
  heldout: audit.Nets,
  auditor: audit.Auditor,
  groups: np.ndarray,
  resampler: statistics.Resampler,
) -> dict[str, Any]:
  """Entries of the two sets, of equally many networks each."""
  rng = _rng(resampler, 1)
  mine, theirs = map(np.flatnonzero, audit.disjoint(nets.vectors, heldout.vectors))
  count = min(len(mine), len(theirs), len(auditor.train.accuracy))
  if count < MIN_NETS:
    reason = statistics.not_run(_TOO_FEW)
    return {key: reason for key in ('vendi_ratio', *FIDELITY)}
  mine = rng.permutation(mine)
  width = auditor.widths['behaviour']
  score, number = vendi.ratio(
    rng, nets.features['behaviour'][mine], heldout.features['behaviour'][theirs], width
  )
  found = {'vendi_ratio': statistics.stat(score, None, n=number, method='none')}
  mine, theirs = mine[:count], rng.permutation(theirs)[:count]
  for space, width in auditor.widths.items():
    a, b = nets.features[space][mine], heldout.features[space][theirs]
    shares = coverage.compare(b, a)
    density = shares.pop('density')
    value, p = two_sample.test(rng, a, b, width)
    ratio = two_sample.ratio(rng, a, auditor.train.features[space], b, width)
    found |= {
      f'density_{space}': statistics.over_nets(density, groups[mine], resampler),
      **{f'{key}_{space}': statistics.rate(hits) for key, hits in shares.items()},
      f'mmd_{space}': statistics.stat(value, None, n=count, method='none') | {'p': p},
      f'mmd_ratio_{space}': statistics.stat(ratio, None, n=count, method='none'),
      # The width is the median distance of two training networks.
      f'energy_{space}': statistics.stat(
        two_sample.energy(a, b) / width, None, n=count, method='none'
      ),
      f'sliced_{space}': statistics.stat(
        two_sample.sliced_wasserstein(rng, a, b) / width, None, n=count, method='none'
      ),
    }
  return found


def _rng(resampler: statistics.Resampler, number: int) -> np.random.Generator:
  """A stream of its own, the same for every arm."""
  return np.random.default_rng([resampler.seed, 3, number])
