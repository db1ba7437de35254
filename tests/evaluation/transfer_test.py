"""Points made on some networks spoil others, and show who hides."""

import dataclasses

import jax
import numpy as np
import pytest

from wsjax.evaluation import methods, statistics
from wsjax.evaluation.metrics import adversarial, pgd, transfer

EPSILONS = {'linf': (0.02, 0.1), 'l2': (0.1, 0.6)}
ITEMS = np.arange(24)


def _on(function, context, params, norm, options=None, **keywords):
  return function(
    context.architecture,
    params,
    context.test_x[ITEMS],
    context.test_y[ITEMS],
    pgd.Threat(norm, EPSILONS[norm], **(options or {})),
    **keywords,
  )


@pytest.fixture(scope='module', params=pgd.NORMS)
def made(request, zoo_context):
  """Norm, and points made on four networks."""
  some = methods.take(zoo_context.train, np.arange(4))
  points = _on(transfer.craft, zoo_context, some, request.param)
  return request.param, np.asarray(points)


def test_points_are_in_the_ball_and_in_the_box(made, zoo_context):
  norm, points = made
  x = zoo_context.test_x[ITEMS].reshape(len(ITEMS), -1)
  assert points.shape == (2, 5, *x.shape)
  assert points.min() >= 0 and points.max() <= 1
  order = {'linf': np.inf, 'l2': 2}[norm]
  size = np.linalg.norm(points - x, ord=order, axis=-1)
  for i, epsilon in enumerate(EPSILONS[norm]):
    assert size[i].max() == pytest.approx(epsilon, rel=1e-4)


def test_on_one_network_it_is_the_attack_on_itself(zoo_context):
  net = methods.take(zoo_context.train, np.arange(1))
  points = _on(transfer.craft, zoo_context, net, 'linf')
  found = _on(adversarial.attack, zoo_context, net, 'linf', others=points)
  alone = _on(adversarial.attack, zoo_context, net, 'linf')
  # The last points are some of those that the attack visits.
  assert np.all(alone.pgd <= found.transfer)
  assert found.transfer.mean() == pytest.approx(alone.pgd.mean(), abs=0.03)
  np.testing.assert_array_equal(found.pgd, alone.pgd)
  assert alone.transfer.all()


def test_others_fall_too_but_later(made, zoo_context):
  norm, points = made
  nets = methods.take(zoo_context.heldout, np.arange(6))
  found = _on(adversarial.attack, zoo_context, nets, norm, others=points)
  share = (found.clean[:, None] & found.transfer).mean(axis=(0, 2))
  own = (found.clean[:, None] & found.pgd).mean(axis=(0, 2))
  noise = (found.clean[:, None] & found.noise).mean(axis=(0, 2))
  assert own[1] < share[1] < noise[1]
  assert np.all(found.robust <= found.transfer)


def test_a_network_without_gradients_cannot_hide(made, zoo_context):
  norm, points = made
  apply = zoo_context.architecture.apply
  masked = dataclasses.replace(
    zoo_context.architecture,
    name='masked',  # Compiled programs go by the name.
    apply=lambda net, x: apply(net, jax.lax.stop_gradient(x)),
  )
  nets = methods.take(zoo_context.heldout, np.arange(6))
  hidden = dataclasses.replace(zoo_context, architecture=masked)
  alone = _on(adversarial.attack, hidden, nets, norm)
  found = _on(adversarial.attack, hidden, nets, norm, others=points)
  # Its own gradients find next to nothing; those of others find much.
  assert alone.robust[:, 1].mean() > found.robust[:, 1].mean() + 0.1
  # And the report shows it: others do better than the network's own.
  stats = adversarial.metrics({norm: found}, np.zeros(6), statistics.Resampler(24, 100))
  own, other = (stats[f'{key}_{norm}']['value'] for key in ('own', 'transfer'))
  assert other < own - 0.1


@pytest.mark.parametrize(
  ('keywords', 'match'), [({'steps': 0}, 'step'), ({'bounds': (0, 0.5)}, 'bounds')]
)
def test_impossible_attacks_are_refused(zoo_context, keywords, match):
  with pytest.raises(ValueError, match=match):
    _on(transfer.craft, zoo_context, zoo_context.train, 'linf', keywords)
