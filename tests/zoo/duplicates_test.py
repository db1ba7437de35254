"""Copies up to symmetry, and derived networks, are found among independent ones."""

import jax
import numpy as np
import pytest

import wsjax
from wsjax.cli import main
from wsjax.zoo import duplicates


@pytest.fixture(scope='module')
def zoo():
  """Eight networks; 8 is a moved copy of 0, 9 of 8, and 10 is 1 with a little noise."""
  model = wsjax.mlp((6, 8, 3), 'relu')
  nets = [model.init(key) for key in jax.random.split(jax.random.key(0), 8)]
  for parent, key in ((0, 1), (8, 2)):
    nets.append(model.spec.act(model.spec.random(jax.random.key(key)), nets[parent]))
  rng = np.random.default_rng(0)
  nets.append(
    {p: x + 0.05 * rng.normal(size=x.shape).astype('float32') for p, x in nets[1].items()}
  )
  records = {'run_id': [f'run{i}' for i in range(11)], 'accuracy': np.linspace(0, 1, 11)}
  return wsjax.Zoo.of(model, nets, records)


def test_copies_and_relatives_are_grouped(zoo):
  found = duplicates.find(zoo)
  assert found.copies == [[0, 8, 9]]
  assert found.related == [[0, 8, 9], [1, 10]]
  assert found.relation(10) == 'related' and found.relation(5) == 'independent'


def test_independent_networks_have_no_groups(zoo):
  found = duplicates.find(zoo.subset(range(8)))
  assert found.copies == [] and found.related == []


def test_one_network_and_broken_ones_are_refused(zoo):
  with pytest.raises(ValueError, match='fewer than two'):
    duplicates.find(zoo.subset([0]))
  params = {p: np.where(np.arange(11).reshape(-1, *[1] * (x.ndim - 1)) == 3, np.nan, x)
            for p, x in zoo.networks().params.items()}  # fmt: skip
  with pytest.raises(ValueError, match='Network 3'):
    duplicates.find(wsjax.Zoo.of(zoo.model, params))


def test_the_commands_select_and_compare(zoo, tmp_path, capsys):
  zoo.save(tmp_path / 'zoo')
  assert main.main(['zoo', 'dedup', str(tmp_path / 'zoo')]) == 0
  assert 'copies: 1 groups, 3 networks' in capsys.readouterr().out
  words = [
    'zoo',
    'query',
    str(tmp_path / 'zoo'),
    'accuracy > 0.85',
    '--out',
    str(tmp_path / 'best'),
  ]
  assert main.main(words) == 0
  assert '2 networks' in capsys.readouterr().out
  assert len(wsjax.Zoo.open(tmp_path / 'best')) == 2
  assert main.main(['zoo', 'query', str(tmp_path / 'zoo'), 'accuracy > 2']) == 2
