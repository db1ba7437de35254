"""Every config file says what it measured; every sweep method applies."""

import importlib.util
import pathlib

import pytest

from wsjax.experiments import configs

ROOT = pathlib.Path(__file__).parents[1] / 'configs'
EXPERIMENTS = sorted(path for path in ROOT.glob('*.py') if path.stem != 'common')
SWEEPS = sorted((ROOT / 'ablations').glob('*.py'))


def load(path: pathlib.Path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('path', EXPERIMENTS, ids=lambda p: p.stem)
def test_a_config_says_how_to_run_it_and_what_came_out(path):
  text = load(path).__doc__
  for word in ('wsjax run --config', 'Hardware:', 'Time:', 'Measured:'):
    assert word in text, f'{path.name} lacks {word!r} in its docstring'


@pytest.mark.parametrize('path', SWEEPS, ids=lambda p: p.stem)
def test_every_arm_of_a_sweep_applies(path):
  names = set()
  for name, config_file, overrides in load(path).sweep():
    assert name not in names
    names.add(name)
    flags = [f'--config.{key}={value}' for key, value in overrides.items()]
    config, _ = configs.load(config_file, flags)
    for key, value in overrides.items():
      assert config[key] == value
  assert len(names) > 1
