"""Merging of networks of other seeds and of other tasks, from config to report."""

import pathlib

import pytest

import wsjax

CONFIG = pathlib.Path(__file__).parents[2] / 'configs/fusion.py'


@pytest.fixture(scope='module')
def reports(tmp_path_factory):
  made = {}
  for rig in ('seeds', 'tasks'):
    config = wsjax.load_config(f'{CONFIG}:smoke,rig={rig}')
    made[rig] = wsjax.run(config, tmp_path_factory.mktemp(rig) / 'run', progress=False)
  return made


@pytest.mark.slow
def test_groups_of_other_seeds_are_merged(reports):
  (table,) = reports['seeds'].tables.values()
  rows = table.rows
  assert rows['average'].n == 2 and rows['ensemble of 2'].kind == 'ceiling'
  assert rows['single network'].value('share') == 1
  best = 'RegMean layer by layer after activation matching, barycentre'
  assert rows[best].value('accuracy') > rows['average'].value('accuracy')


def test_tasks_of_one_base_are_merged(reports):
  (table,) = reports['tasks'].tables.values()
  assert {'base', 'average', 'ties', 'tsv_m', 'iso_c', 'RegMean', 'adamerging'} <= set(table.rows)
  assert all(0 <= row.value('accuracy') <= 1 for row in table.rows.values())


@pytest.mark.parametrize(
  ('words', 'overrides'),
  [
    ('fusion.parents has 8', {'fusion.parents': (2, 8)}),
    ('numbers of at least 2', {'fusion.parents': (1,)}),
    ('fusion.num_tasks is 9', {'fusion.num_tasks': 9}),
  ],
)
def test_a_config_that_cannot_run_is_refused(tmp_path, words, overrides):
  with pytest.raises(ValueError, match=words):
    wsjax.run(wsjax.load_config(f'{CONFIG}:smoke', overrides), tmp_path / 'run')
