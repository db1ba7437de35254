"""Suspicions: the ways to look good that an arm's numbers give away.

Each sample gets the first name that fits it, so that a copy is not also the neighbour of another
copy. A name is a finding when more samples have it than
an honest generator's would. None is a proof of honesty: what is named here is what was planted in
tests and found.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from wsjax.evaluation import statistics

# Of tau: exact up to symmetry. float32 leaves 1e-3 of a rescaled copy.
EXACT = 0.01

# Lower ends of the interval of the share of samples with a name. Exact copies do not happen by
# chance, so a few of them are found; a distance below the
# 1 % quantile of some dozen held-out networks does, up to once in a dozen.
COPIES, SAMPLES = 0.01, 0.1

# Of the residual of held-out networks; a blend has none, they have it all.
BLEND = 0.5

# From there on (0: held-out networks, 1: no blend is any nearer) a sample is its neighbour and
# noise, for noise points away from all others.
NOISE = 0.5

# Of the spacing of held-out networks, which hardly varies among them.
CROWDED = 0.5

# Of the zoo's spread and distance to its mean: averages of k networks have 1 / sqrt(k) of both, so
# this is the mean of eleven.
COLLAPSED = 0.3

# Of the way from chance to the zoo; the gates judge what is above.
WORKING = 0.5


def working_threshold(chance: float, accuracy: float) -> float:
  """Accuracy halfway from chance to the zoo's bar; below, nothing works."""
  return chance + WORKING * (accuracy - chance)


def find(arm: Mapping[str, Any], bar: float) -> list[dict[str, str]]:
  """What the numbers of one arm give away.

  Args:
    arm: an arm of the report, with the `audit_metrics` in metrics and per_net.
    bar: accuracy that a network which works at all has.

  Returns:
    Findings, each with its name and, as evidence, the numbers that show it; empty where there is
    nothing. What was not measured gives none.
  """
  found = []
  working = _numbers(arm, 'accuracy') >= bar
  if np.mean(working) < 0.5:
    found.append(
      ('not working',
       f'{_share(~working)} of samples are below {100 * bar:.0f} % accuracy, '
       'halfway from chance to the zoo')
    )  # fmt: skip
  names = _names(arm)
  if names is None:
    return [{'name': name, 'evidence': text} for name, text in found]
  metrics, nets = arm['metrics'], len(names)
  for name, least, text in (
    ('copies', COPIES, f'are nearer than {EXACT:g} τ to a net that was shown'),
    ('copies with noise', SAMPLES,
     'are nearer to a training net than 99 % of held-out runs, and no blend '
     'is nearer'),
    ('averages neighbours', SAMPLES,
     f'have less than {BLEND:g} of the distance of held-out runs to the hull '
     'of their neighbours'),
    ('one mode', SAMPLES,
     'are new, and nearer to another sample than '
     f'{CROWDED:g} of what held-out runs are to each other'),
  ):  # fmt: skip
    hits = names == name
    if hits.any() and statistics.rate(hits)['low'] >= least:
      found.append((name, f'{_share(hits)} of {nets} samples {text}'))
  spread, centre = (metrics[key]['value'] for key in ('rms_ratio', 'centre_distance'))
  if None not in (spread, centre) and max(spread, centre) < COLLAPSED:
    text = f'{spread:.2f} of the spread of the zoo, at {centre:.2f} of '
    text += "its nets' distance from their mean"
    found.append(('collapsed to the mean', text))
    found = [entry for entry in found if entry[0] != 'one mode']
  return [{'name': name, 'evidence': text} for name, text in found]


def _names(arm: Mapping[str, Any]) -> np.ndarray | None:
  """[N] name of each usable sample, '' for none; None if nothing is known."""
  if 'hull_residual' not in arm['per_net']:
    return None
  distance = _numbers(arm, 'canonical_novelty')
  known = np.isfinite(distance)
  distance = distance[known]
  residual = _numbers(arm, 'hull_residual')[known]
  spacing = _numbers(arm, 'self_distance')[known]
  metrics = arm['metrics']
  names = np.full(len(distance), '', dtype=object)

  def name(which: np.ndarray, text: str) -> None:
    names[which & (names == '')] = text

  # Up to symmetry, and from snapshots of the training runs, too.
  shown = _numbers(arm, 'shown')[known]
  name((distance < EXACT) | (shown < EXACT), 'copies')
  threshold = metrics['replica_rate'].get('threshold')
  honest = metrics['hull_residual'].get('heldout')
  if None not in (threshold, honest):
    near = distance < threshold
    name(near & (residual < BLEND * honest), 'averages neighbours')
    name(near & (residual > honest + NOISE * (1 - honest)), 'copies with noise')
  apart = metrics['self_distance'].get('heldout')
  if apart is not None:
    name(spacing < CROWDED * apart, 'one mode')
  return names


def _numbers(arm: Mapping[str, Any], key: str) -> np.ndarray:
  """[N] numbers of the networks, NaN where there is none."""
  return np.array(arm['per_net'][key], float)


def _share(hits: np.ndarray) -> str:
  return f'{100 * np.mean(hits):.0f} %'
