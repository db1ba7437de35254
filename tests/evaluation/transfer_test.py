"""Points made on some networks spoil others, and show who hides."""

import dataclasses

import jax
import numpy as np
import pytest

from wsjax import networks
from wsjax.evaluation import pgd
from wsjax.evaluation.metrics import adversarial
from wsjax.models import mlp

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


@dataclasses.dataclass(frozen=True)
class Masked(mlp.MLP):
  """An MLP without gradients by its inputs."""

  def forward(self, params, inputs, dropout=None):
    return super().forward(params, jax.lax.stop_gradient(inputs), dropout)


@pytest.fixture(scope='module', params=pgd.NORMS)
def made(request, zoo_reference):
  """Norm, and points made on four networks."""
  some = networks.take(zoo_reference.train, np.arange(4))
  points = _on(adversarial.craft, zoo_reference, some, request.param)
  return request.param, np.asarray(points)


def test_points_are_in_the_ball_and_in_the_box(made, zoo_reference):
  norm, points = made
  x = zoo_reference.test_x[ITEMS].reshape(len(ITEMS), -1)
  assert points.shape == (2, 5, *x.shape)
  assert points.min() >= 0 and points.max() <= 1
  order = {'linf': np.inf, 'l2': 2}[norm]
  size = np.linalg.norm(points - x, ord=order, axis=-1)
  for i, epsilon in enumerate(EPSILONS[norm]):
    assert size[i].max() == pytest.approx(epsilon, rel=1e-4)


def test_on_one_network_it_is_the_attack_on_itself(zoo_reference):
  net = networks.take(zoo_reference.train, np.arange(1))
  points = _on(adversarial.craft, zoo_reference, net, 'linf')
  found = _on(adversarial.attack, zoo_reference, net, 'linf', others=points)
  alone = _on(adversarial.attack, zoo_reference, net, 'linf')
  # The last points are some of those that the attack visits.
  assert np.all(alone.pgd <= found.transfer)
  assert found.transfer.mean() == pytest.approx(alone.pgd.mean(), abs=0.03)
  np.testing.assert_array_equal(found.pgd, alone.pgd)
  assert alone.transfer.all()


def test_others_fall_too_but_later(made, zoo_reference):
  norm, points = made
  nets = networks.take(zoo_reference.heldout, np.arange(6))
  found = _on(adversarial.attack, zoo_reference, nets, norm, others=points)
  share = (found.clean[:, None] & found.transfer).mean(axis=(0, 2))
  own = (found.clean[:, None] & found.pgd).mean(axis=(0, 2))
  noise = (found.clean[:, None] & found.noise).mean(axis=(0, 2))
  assert own[1] < share[1] < noise[1]
  assert np.all(found.robust <= found.transfer)


def test_a_network_without_gradients_cannot_hide(made, zoo_reference):
  norm, points = made
  masked = Masked(widths=zoo_reference.architecture.widths)
  nets = networks.take(zoo_reference.heldout, np.arange(6))
  hidden = dataclasses.replace(zoo_reference, architecture=masked)
  alone = _on(adversarial.attack, hidden, nets, norm)
  found = _on(adversarial.attack, hidden, nets, norm, others=points)
  # Its own gradients find next to nothing; those of others find much.
  assert alone.robust[:, 1].mean() > found.robust[:, 1].mean() + 0.1
  # And the report shows it: others do better than the network's own.
  own = found.own[:, 1].mean()
  other = (found.clean[:, None] & found.transfer)[:, 1].mean()
  assert other < own - 0.1


@pytest.mark.parametrize(
  ('keywords', 'match'), [({'steps': 0}, 'step'), ({'bounds': (0, 0.5)}, 'bounds')]
)
def test_impossible_attacks_are_refused(zoo_reference, keywords, match):
  with pytest.raises(ValueError, match=match):
    _on(adversarial.craft, zoo_reference, zoo_reference.train, 'linf', keywords)
