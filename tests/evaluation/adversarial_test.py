"""The attack finds what can be found: a weak one would flatter networks."""

import numpy as np
import pytest

from tests import marks
from tests.evaluation import given
from wsjax import networks
from wsjax.evaluation import baselines, pgd
from wsjax.evaluation.metrics import adversarial
from wsjax.models import mlp

EPSILONS = {'linf': (0.02, 0.1, 1.0), 'l2': (0.1, 0.6, 8.0)}
ITEMS = np.arange(24)


def _attack(context, params, norm, **overrides):
  return adversarial.attack(
    context.architecture,
    params,
    context.test_x[ITEMS],
    context.test_y[ITEMS],
    pgd.Threat(**{'norm': norm, 'epsilons': EPSILONS.get(norm), **overrides}),
    seed=1,
  )


@pytest.fixture(scope='module')
def nets(zoo_reference):
  return networks.take(zoo_reference.train, np.arange(6))


@pytest.fixture(scope='module', params=marks.slow(pgd.NORMS, 'linf'))
def found(request, zoo_reference, nets):
  return request.param, _attack(zoo_reference, nets, request.param)


def _linear(norm, bounds):
  """Attack on linear networks of two classes, and what to expect of it.

  One restart, from the item: another comes only near the best point of an L2 ball, since it slides
  along the edge.
  """
  rng = np.random.default_rng(0)
  architecture = mlp.MLP(widths=(6, 2))
  params = {
    'layer0/kernel': rng.standard_normal((3, 6, 2)).astype(np.float32),
    'layer0/bias': rng.standard_normal((3, 2)).astype(np.float32),
  }
  x = rng.random((40, 6)).astype(np.float32)
  y = rng.integers(2, size=40)
  epsilons = (0.05, 0.3)
  threat = pgd.Threat(norm, epsilons, restarts=1, bounds=bounds)
  ours = adversarial.attack(architecture, params, x, y, threat)
  kernel, bias = params['layer0/kernel'], params['layer0/bias']
  toward = (kernel[..., 1] - kernel[..., 0])[:, None] * np.where(
    y[None, :, None] == 0, 1, -1
  )  # [N, n, d]: slope of the loss.
  offset = (bias[:, 1] - bias[:, 0])[:, None] * np.where(y == 0, 1, -1)
  loss = np.sum(toward * x[None], axis=-1) + offset
  return ours, epsilons, x, toward, loss


@pytest.mark.parametrize('norm', pgd.NORMS)
def test_on_a_linear_network_pgd_is_the_closed_form(norm):
  ours, epsilons, _, toward, loss = _linear(norm, (-9.0, 9.0))
  dual = {'linf': 1, 'l2': 2}[norm]
  for i, epsilon in enumerate(epsilons):
    worst = loss + epsilon * np.linalg.norm(toward, ord=dual, axis=-1)
    np.testing.assert_allclose(ours.loss[:, i, -1], worst.mean(axis=1), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.pgd[:, i], worst < 0)
    np.testing.assert_array_equal(ours.fgsm[:, i], worst < 0)


def test_in_a_box_the_closed_form_is_clipped():
  ours, epsilons, x, toward, loss = _linear('linf', (0.0, 1.0))
  for i, epsilon in enumerate(epsilons):
    best = np.clip(x[None] + epsilon * np.sign(toward), 0, 1)
    worst = loss + np.sum(toward * (best - x[None]), axis=-1)
    np.testing.assert_array_equal(ours.pgd[:, i], worst < 0)


def test_loss_rises_with_steps(found):
  _, ours = found
  assert ours.loss.shape == (6, 3, 21)
  # One start of five is the item itself, so the rise is from near there.
  assert np.all(ours.loss[..., 5] > ours.loss[..., 0])
  assert np.all(ours.loss[..., 20] > ours.loss[..., 5] - 1e-3)


def test_nothing_withstands_a_large_radius(found):
  _, ours = found
  accuracy = ours.robust.mean(axis=(0, 2))
  assert ours.clean.mean() > 0.9
  assert accuracy[2] == 0
  assert accuracy[0] > accuracy[1] > accuracy[2]


def test_pgd_is_stronger_than_one_step_and_than_noise(found):
  _, ours = found
  middle = 1
  assert ours.pgd[:, middle].mean() < ours.fgsm[:, middle].mean()
  assert ours.pgd[:, middle].mean() < ours.noise[:, middle].mean() - 0.2
  assert np.all(ours.robust <= ours.fgsm) and np.all(ours.robust <= ours.pgd)


def test_a_network_that_is_sure_cannot_hide(found, zoo_reference, nets):
  norm, ours = found
  sure = {**nets}
  for leaf in ('layer1/kernel', 'layer1/bias'):
    sure[leaf] = 1000 * nets[leaf]
  # In float32 its cross-entropy is flat: all probabilities are 0 or 1.
  theirs = _attack(zoo_reference, sure, norm)
  np.testing.assert_allclose(
    theirs.robust.mean(axis=(0, 2)), ours.robust.mean(axis=(0, 2)), atol=0.05
  )


def test_networks_moved_by_the_group_are_as_robust(found, zoo_reference, nets):
  norm, ours = found
  moved = baselines.move(nets, zoo_reference.architecture.spec, seed=3)
  theirs = _attack(zoo_reference, moved, norm)
  assert np.mean(theirs.robust != ours.robust) < 0.01  # Rounding at the margin.


def test_network_does_not_depend_on_its_neighbours(found, zoo_reference, nets, monkeypatch):
  norm, ours = found
  monkeypatch.setattr(adversarial, '_NETWORKS_PER_CALL', 8)
  theirs = _attack(zoo_reference, networks.take(nets, np.array([5])), norm)
  np.testing.assert_array_equal(theirs.pgd[0], ours.pgd[5])


def test_broken_networks_are_always_wrong(zoo_reference, nets):
  dead = {path: np.full_like(value, np.nan) for path, value in nets.items()}
  ours = _attack(zoo_reference, dead, 'linf')
  assert not (ours.clean.any() or ours.robust.any() or ours.noise.any())


def test_entries_show_the_middle_radius(found):
  norm, ours = found
  sample = given.Given(
    np.zeros(6), 24, known=[(adversarial.attacks, key, ours) for key in EPSILONS]
  )
  sample.cache[(adversarial.attacked.__wrapped__,)] = sample
  stats = given.measured('adversarial', sample)
  assert stats[f'robust_{norm}']['value'] == pytest.approx(ours.robust[:, 1].mean())
  assert stats[f'noise_{norm}']['value'] == pytest.approx(ours.noise[:, 1].mean())
  curve = adversarial.curve(sample)[norm]
  assert curve['robust'][0] == ours.clean.mean() and len(curve['noise']) == 4


@pytest.mark.parametrize(
  ('keywords', 'match'),
  [
    ({'norm': 'l1', 'epsilons': (1.0,)}, 'l1'),
    ({'epsilons': (-0.1,)}, 'radii'),
    ({'restarts': 0}, 'restart'),
    ({'bounds': (0.0, 0.5)}, 'bounds'),
  ],
)
def test_impossible_attacks_are_refused(zoo_reference, nets, keywords, match):
  keywords = {'norm': 'linf', 'epsilons': (0.1,), **keywords}
  with pytest.raises(ValueError, match=match):
    _attack(zoo_reference, nets, **keywords)
