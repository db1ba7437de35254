"""A run with a plug-in from the user's own file."""

import json

import pytest

from wsjax import config as config_lib
from wsjax import run
from wsjax.experiments import configs
from wsjax.zoo.store import store

OWN = """
import dataclasses

import jax.numpy as jnp

from wsjax import config
from wsjax.codecs import pca


@dataclasses.dataclass(frozen=True)
class Halved(pca.PCA):
  factor: config.PositiveFloat = 0.5

  def encode(self, state, x):
    return self.factor * super().encode(state, x)

  def decode(self, state, z):
    return super().decode(state, z / self.factor)
"""


def load(folder, **codec):
  config, _ = configs.load('configs/digits_flow.py:smoke')
  with config.unlocked():
    config.codec = {'name': f'{folder}/own.py:Halved', 'rank': 4, **codec}
    config.zoo.splits = {'train': 8, 'val': 2, 'test': 4, 'holdout_audit': 2}
    config.zoo.chunk_size = 16
  return config


@pytest.mark.slow
def test_a_run_takes_a_plugin_from_a_file_and_names_its_source(tmp_path):
  source = tmp_path / 'own.py'
  source.write_text(OWN)
  config, workdir = load(tmp_path), tmp_path / 'run'
  run(config, workdir, progress=False)
  versions = json.loads((workdir / 'run.json').read_text())['versions']
  assert versions[config.codec.name].startswith('sha256 ')
  (parent,) = store.Zoo.open(workdir / 'samples/seed0').records[0]['parents']
  assert parent['detail']['sources'] == {config.codec.name: versions[config.codec.name]}
  run(config, workdir, progress=False)
  source.write_text(OWN + '# Changed.\n')
  with pytest.raises(ValueError, match='own.py:Halved'):
    run(config, workdir, progress=False)


@pytest.mark.parametrize(
  ('section', 'field', 'value'),
  [
    ('codec', 'factr', 0.5),
    ('codec', 'factor', 0.0),
    ('codec', 'rank', 2.5),
    ('generator', 'solver', 'leapfrog'),
    ('generator', 'path_std', -1.0),
    ('generator', 'num_steps', 0),
    ('tokens', 'size', 4),
  ],
)
def test_a_wrong_field_is_named_before_anything_is_written(tmp_path, section, field, value):
  (tmp_path / 'own.py').write_text(OWN)
  config = load(tmp_path)
  with config.unlocked(), config.ignore_type():
    config[section][field] = value
  with pytest.raises(ValueError, match=f'{section}.*{field}'):
    run(config, tmp_path / 'run', progress=False)
  assert not (tmp_path / 'run').exists()


def test_a_metric_from_a_file_leaves_the_digest_of_its_source(tmp_path):
  source = tmp_path / 'churn.py'
  source.write_text('def churn(sample, reference):\n  return 0.0\n')
  name = f'{source}:churn'
  found = config_lib.provenance({'evaluate': {'metrics': ('ensembles', name)}})
  assert list(found) == [name] and found[name].startswith('sha256 ')


def test_an_editor_is_checked_before_anything_is_written(tmp_path):
  config, _ = configs.load('configs/inr_editing.py:smoke')
  with config.unlocked():
    config.editor.widht = 3
  with pytest.raises(ValueError, match='editor has no field .widht'):
    run(config, tmp_path / 'run', progress=False)
  assert not (tmp_path / 'run').exists()
