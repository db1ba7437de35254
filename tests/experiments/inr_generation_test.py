"""INRs, generated and evaluated: from a config to a report."""

import pathlib

import numpy as np
import pytest

from wsjax import pipeline
from wsjax.experiments import base, configs, inr_generation

CONFIG = pathlib.Path(__file__).parents[2] / 'configs/inr_generation.py'


def smoke(*overrides):
  return configs.load(f'{CONFIG}:smoke', overrides)[0]


@pytest.fixture(scope='module')
def finished(smoke_run):
  return smoke_run('inr_generation')[:2]


@pytest.mark.slow
def test_a_run_ends_in_a_report_with_every_baseline(finished):
  report, workdir = finished
  rows = report.tables['methods'].rows
  assert {'flow_matching', 'fresh runs', 'noise(0.001)', 'interpolation raw', 'soup-2 aligned',
          'gaussian', 'retrieval', 'permuted copy', 'random init'} <= set(rows)  # fmt: skip
  assert rows['flow_matching'].n == 12 and rows['fresh runs'].n == 12
  for row in rows.values():
    for name, stat in row.stats.items():
      slack = 1e-6  # Resampled medians are of float32 weights.
      assert stat['low'] - slack <= stat['value'] <= stat['high'] + slack, name
  assert len(rows['flow_matching'].stats['nna']['per_seed']) == 1
  assert rows['permuted copy'].value('copy_rate') == 1
  assert rows['fresh runs'].value('copy_rate') == 0
  images = {row['title']: row['images'] for row in report.figures['images'].data['rows']}
  assert 'held out' in images and np.shape(images['generated']) == (10, 8, 8, 1)
  text = (workdir / 'report.html').read_text()
  assert report.headline in text
  assert text.count('<image ') == 10 * len(images) and 'http' not in text


@pytest.mark.slow
def test_too_few_test_networks_are_refused(finished):
  _, workdir = finished
  config = smoke('--config.evaluate.num_samples=13')
  experiment = inr_generation.INRGeneration(config, base.open_zoo(config, workdir, progress=False))
  with pytest.raises(ValueError, match='zoo.splits.test is 24, and must be 26'):
    experiment.compare([])


@pytest.mark.slow
def test_samples_of_a_run_are_evaluated_like_any_zoo(finished, tmp_path):
  _, workdir = finished
  out = pipeline.sample(workdir, num=12, seed=1, out=tmp_path / 'samples')
  config = smoke(f'--config.zoo.path={workdir / "zoo"}')
  report = pipeline.evaluate_zoo(config, tmp_path / 'judged', out)
  assert report.tables['methods'].rows['given: samples'].n == 12
