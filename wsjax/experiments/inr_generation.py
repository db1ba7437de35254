"""Third stage, for networks that draw: their pictures beside held-out ones."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np
import rich.progress

from wsjax import networks, typing
from wsjax.evaluation import baselines
from wsjax.evaluation import methods as arms_lib
from wsjax.evaluation import reference as reference_lib
from wsjax.experiments import inr_metrics, prepare
from wsjax.zoo.data import images as pictures_lib

_SHOWN = 10  # Networks in the figure.
_SHOWN_ARMS = ('soup-2 aligned', 'gaussian')

Draw = Callable[[typing.StackedParams], np.ndarray]


def judge(
  config: ml_collections.ConfigDict,
  prepared: prepare.Prepared,
  generators: list[arms_lib.Method],
  *,
  progress: bool = True,
) -> dict[str, Any]:
  """Measures generators beside the whole baseline panel.

  The test split is cut in two: one half is what all are compared with, the other is the arm 'fresh
  runs', what a perfect generator would draw.

  Returns:
    The parts of the report that come from evaluation.

  Raises:
    ValueError: if the halves are smaller than the arms.
  """
  section = config.evaluate
  real, fresh = _halves(prepared, section.num_samples)
  zoo = reference_lib.Population(
    architecture=prepared.architecture,
    train=prepared.train,
    snapshots=prepared.snapshots,
    heldout=fresh,
    reference=prepared.reference,
    restarts=config.symmetry.restarts,
    seed=config.seed,
  )
  images = prepared.dataset.test_x
  draw = _draw(prepared, images.shape[1])
  shown = draw(prepared.train)
  if prepared.snapshots is not None:
    shown = np.concatenate([shown, draw(prepared.snapshots)])
  gallery = inr_metrics.Gallery(zoo, *(_flat(x) for x in (shown, draw(real), images)))
  panel = baselines.panel(
    zoo, num_samples=section.num_samples, seed=config.seed, noise=section.noise
  )
  rows, looks = [], {}
  for arm in rich.progress.track([*generators, *panel], 'evaluate', disable=not progress):
    drawn = gallery.look(arm.params, draw(arm.params))
    looks[arm.name] = drawn
    rows.append(
      {
        'name': arm.name,
        'kind': arm.kind,
        'n': arm.num_networks,
        'seeds': [int(seed) for seed in arm.seeds],
        'metrics': inr_metrics.measure(
          arm, drawn, gallery, num_bootstrap=section.num_bootstrap, seed=config.seed
        ),
      }
    )
  return {
    'arms': rows,
    'pictures': _pictures(generators, looks, gallery, images.shape[1:]),
    'drawing': {
      'architecture': prepared.architecture.name,
      'num_params': prepared.architecture.spec.num_params,
      'shared_init': bool(config.zoo.recipe.get('shared_init', False)),
      'canonicalize': config.symmetry.canonicalize,
      'dataset': prepared.dataset.name,
      'num_train': prepared.num_train,
      'num_real': len(gallery.real),
      'num_images': len(images),
      'tau': gallery.tau,
      'zoo_digest': prepared.zoo.digest,
    },
  }


def _halves(
  prepared: prepare.Prepared, num: int
) -> tuple[typing.StackedParams, typing.StackedParams]:
  """`num` test networks to compare with, and the others.

  Raises:
    ValueError: if there are not as many others.
  """
  heldout = prepared.heldout
  count = 0 if heldout is None else len(next(iter(heldout.values())))
  if heldout is None or count < 2 * num:
    raise ValueError(
      f'{num} samples are compared with as many test networks, beside as many '
      f'others: zoo.splits.test must be {2 * num} or more; it is {count}.'
    )
  return (arms_lib.take(heldout, slice(num)), arms_lib.take(heldout, slice(num, None)))


def _draw(prepared: prepare.Prepared, pixels: int) -> Draw:
  """What networks draw, [N, pixels, pixels, channels]."""
  return functools.partial(
    networks.in_chunks,
    jax.jit(jax.vmap(lambda net: pictures_lib.draw(prepared.architecture, net, pixels))),
  )


def _pictures(
  generators: list[arms_lib.Method],
  drawn: dict[str, inr_metrics.Drawn],
  gallery: inr_metrics.Gallery,
  shape: tuple[int, ...],
) -> list[dict[str, Any]]:
  """The first pictures of a generator, and what stands beside them."""
  first = drawn[generators[0].name]
  table = np.linalg.norm(first.pictures[:_SHOWN, None] - gallery.shown[None], axis=-1)
  nearest = gallery.shown[first.nearest[:_SHOWN]]
  nearest[first.nearest[:_SHOWN] < 0] = 0  # Of no finite weights.
  rows = [
    ('generated', first.pictures),
    ('nearest training network', nearest),
    ('nearest training picture', gallery.shown[table.argmin(axis=1)]),
    ('held out', gallery.real),
  ]
  rows += [(k, drawn[k].pictures) for k in _SHOWN_ARMS if k in drawn]
  num = min(_SHOWN, *(len(x) for _, x in rows))
  return [{'title': title, 'pictures': x[:num].reshape(-1, *shape).round(3)} for title, x in rows]


def _flat(pictures: np.ndarray) -> np.ndarray:
  """[N, f] float64."""
  return np.asarray(pictures, np.float64).reshape(len(pictures), -1)
