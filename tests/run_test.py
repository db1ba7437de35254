"""Runs as a user meets them: run, stop, continue, sample, evaluate, refuse."""

import dataclasses
import os
import pathlib
import shutil
import signal

import jax
import numpy as np
import pytest

from tests.faults import runs
from wsjax import files, manifest, networks, pipeline
from wsjax.evaluation import methods
from wsjax.evaluation.report import model
from wsjax.experiments import base, configs, generation
from wsjax.train import loop
from wsjax.train.checkpoint import checkpoint
from wsjax.zoo import build
from wsjax.zoo.data import datasets
from wsjax.zoo.store import store

ROOT = pathlib.Path(__file__).parents[1] / 'configs'


def smoke(name: str = 'digits_flow', *overrides: str):
  return configs.load(f'{ROOT / name}.py:smoke', overrides)[0]


@pytest.fixture(scope='module')
def finished(smoke_run) -> pathlib.Path:
  return smoke_run('digits_flow')[1]


def test_a_run_ends_in_a_report_with_every_baseline(finished):
  report = model.load(finished)
  names = set(report.tables['methods'].rows)
  assert {'flow_matching', 'noise(0.01)', 'soup-16 aligned', 'gaussian',
          'retrieval', 'permuted copy', 'fresh runs'} <= names  # fmt: skip
  assert set(report.run.wall_seconds) == {'zoo', 'prepare', 'train', 'predict', 'evaluate', 'gates'}
  assert (finished / 'report.html').stat().st_size > 10_000


def test_a_finished_run_is_only_read(finished):
  before = (finished / 'report.json').stat().st_mtime_ns
  pipeline.run(smoke(), finished, progress=False)
  assert (finished / 'report.json').stat().st_mtime_ns == before


def test_another_config_does_not_enter_the_workdir(finished):
  before = {path: path.stat().st_mtime_ns for path in finished.rglob('*')}
  with pytest.raises(ValueError, match='train.batch_size differ'):
    pipeline.run(smoke('digits_flow', '--config.train.batch_size=8'), finished, progress=False)
  assert before == {path: path.stat().st_mtime_ns for path in before}


def test_another_precision_of_products_does_not_enter_the_workdir(tmp_path):
  manifest.open_run(tmp_path, smoke(), {})
  with (
    jax.default_matmul_precision('highest'),
    pytest.raises(ValueError, match='jax_default_matmul_precision None.*highest'),
  ):
    manifest.open_run(tmp_path, smoke(), {})
  manifest.open_run(tmp_path, smoke(), {})


@pytest.mark.slow
def test_samples_are_a_function_of_the_seed(finished, tmp_path):
  zoos = [
    store.Zoo.open(pipeline.sample(finished, num=3, seed=seed, out=tmp_path / name))
    for name, seed in (('a', 5), ('b', 5), ('c', 6))
  ]
  digests = [zoo.content_digest for zoo in zoos]
  assert digests[0] == digests[1] != digests[2]
  record = zoos[0].records[0]
  assert record['generated']['seed'] == 5
  assert record['split'] == 'test'


def test_any_zoo_can_be_judged_and_the_result_stays(finished, tmp_path):
  config = smoke('digits_flow', f'--config.zoo.path={finished / "zoo"}')
  report = pipeline.evaluate_zoo(config, tmp_path, finished / 'zoo')
  assert 'given: zoo' in report.tables['methods'].rows
  before = runs.listing(tmp_path)
  # Again, it is only read; and nothing else takes its place.
  again = pipeline.evaluate_zoo(config, tmp_path, finished / 'zoo')
  assert again.run == report.run and again.findings == report.findings
  with pytest.raises(ValueError, match='belongs to'):
    pipeline.evaluate_zoo(config, tmp_path, finished / 'samples/seed0')
  with pytest.raises(ValueError, match='belongs to'):
    pipeline.run(config, tmp_path)
  assert runs.listing(tmp_path) == before


def test_no_evaluation_replaces_the_report_of_a_run(finished):
  before = runs.listing(finished)
  with pytest.raises(ValueError, match='belongs to'):
    pipeline.evaluate_zoo(smoke(), finished, finished / 'samples/seed0')
  assert runs.listing(finished) == before


def test_sampling_only_reads_the_run_and_draws_are_not_mixed(finished, tmp_path):
  before = runs.listing(finished)
  out = tmp_path / 'out'
  pipeline.sample(finished, num=3, seed=1, out=out)
  with pytest.raises(ValueError, match=str(out)):
    pipeline.sample(finished, num=3, seed=2, out=out)
  # A draw that was cut off, and another one after it.
  shutil.move(out / 'log.lmdb', tmp_path / 'log.lmdb')
  for name in ('shards', 'records.jsonl', 'records.parquet', 'manifest.json'):
    path = out / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
  shutil.move(tmp_path / 'log.lmdb', out / 'log.lmdb')
  for num, seed in ((3, 2), (2, 1)):
    with pytest.raises(ValueError, match='another config'):
      pipeline.sample(finished, num=num, seed=seed, out=out)
  assert len(store.Zoo.open(pipeline.sample(finished, num=3, seed=1, out=out))) == 3
  assert runs.listing(finished) == before


def test_sampling_trains_nothing(finished, tmp_path):
  copy = shutil.copytree(finished, tmp_path / 'run')
  shutil.rmtree(copy / 'train')
  before = runs.listing(copy)
  with pytest.raises(ValueError, match='no checkpoint of a finished training'):
    pipeline.sample(copy, num=2, seed=0, out=tmp_path / 'out')
  assert runs.listing(copy) == before
  shutil.rmtree(copy / 'zoo')
  with pytest.raises(ValueError, match='The zoo that the run in'):
    pipeline.sample(copy, num=2, seed=0, out=tmp_path / 'out')
  assert not (copy / 'zoo').exists() and not (tmp_path / 'out').exists()


def test_the_zoo_of_a_run_json_is_never_written_to(finished, tmp_path):
  copy = shutil.copytree(finished, tmp_path / 'run')
  thesis = tmp_path / 'thesis'
  thesis.mkdir()
  run = files.read_sealed(copy / 'run.json')
  run['config']['zoo']['path'] = str(thesis)
  files.replace(copy / 'run.json', files.seal(run))
  with pytest.raises(ValueError, match=str(thesis)):
    pipeline.sample(copy, num=2, seed=0, out=tmp_path / 'out')
  assert not os.listdir(thesis)


def test_what_a_zoo_cost_is_kept_with_it(finished):
  seconds = build.seconds_per_network(finished / 'zoo')
  fresh = model.load(finished).tables['methods'].rows['fresh runs']
  assert fresh.value('seconds_per_net') == pytest.approx(seconds)


@pytest.mark.parametrize('seeds', ['(0,0)', '(-1,)', '()', '(4294967296,)', '(0.5,)', "('0',)"])
def test_seeds_are_checked_before_anything_runs(seeds, tmp_path):
  with pytest.raises(ValueError, match=r'train\.seeds'):
    pipeline.run(smoke('digits_flow', f'--config.train.seeds={seeds}'), tmp_path / 'x')
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize('seed', [-1, 1 << 32])
def test_the_seed_of_a_draw_is_checked_first(seed, tmp_path):
  with pytest.raises(ValueError, match='seed'):
    pipeline.sample(tmp_path, num=1, seed=seed, out=tmp_path / 'out')


def test_a_config_is_read_back_as_it_was(finished):
  assert manifest.load_config(finished).to_dict() == smoke().to_dict()


def test_numbers_that_are_not_finite_are_refused_with_their_field(tmp_path):
  with pytest.raises(ValueError, match=r'train\.learning_rate is inf'):
    pipeline.run(smoke('digits_flow', '--config.train.learning_rate=inf'), tmp_path)


@pytest.mark.parametrize('path', ['gs://bucket/run', 's3:/bucket', '', 'a\\b', '~nobody_at_all/x'])
def test_paths_that_libraries_read_differently_are_refused(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match='workdir'):
    pipeline.run(smoke(), path)
  with pytest.raises(ValueError, match=r'zoo\.path'):
    pipeline.run(smoke('digits_flow', f'--config.zoo.path={path}'), 'x') if path else files.folder(
      '', 'zoo.path'
    )
  assert set(os.listdir(tmp_path)) <= {'x'}


def test_a_home_is_expanded(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert files.folder('~/r:1/ü', 'workdir') == tmp_path / 'r:1/ü'


@pytest.mark.slow
def test_a_stopped_run_ends_where_it_would_have_ended(finished, tmp_path, monkeypatch):
  save = checkpoint.Checkpoints.save

  def save_and_stop(self, *args, **kwargs):
    save(self, *args, **kwargs)
    monkeypatch.setattr(checkpoint.Checkpoints, 'save', save)
    os.kill(os.getpid(), signal.SIGTERM)

  shutil.copytree(finished / 'zoo', tmp_path / 'zoo')
  monkeypatch.setattr(checkpoint.Checkpoints, 'save', save_and_stop)
  with pytest.raises(loop.Interrupted):
    pipeline.run(smoke(), tmp_path, progress=False)
  pipeline.run(smoke(), tmp_path, progress=False)
  whole = store.Zoo.open(finished / 'samples/seed0')
  stopped = store.Zoo.open(tmp_path / 'samples/seed0')
  assert whole.content_digest == stopped.content_digest


def test_networks_of_many_tasks_are_not_judged_as_of_one(tmp_path):
  config = smoke()
  with config.unlocked():
    config.zoo.dataset.labels = 'subsets'
    config.zoo.architecture.widths = (64, 6, 2)
  with pytest.raises(ValueError, match='for a config with a section tasks'):
    pipeline.run(config, tmp_path, progress=False)


@pytest.mark.parametrize(
  ('name', 'metrics', 'match'),
  [
    ('digits_flow', "('colour',)", 'colour'),
    ('inr_generation', "('barriers',)", 'for classifiers'),
  ],
)
def test_metrics_are_checked_before_anything_is_trained(tmp_path, name, metrics, match):
  config = smoke(name, f'--config.evaluate.metrics={metrics}')
  with pytest.raises(ValueError, match=match):
    pipeline.run(config, tmp_path, progress=False)
  assert not (tmp_path / 'train').exists()


@pytest.mark.slow
def test_a_run_that_lost_patience_can_be_drawn_from(tmp_path):
  changes = ('patience=1', 'keep_best=1', 'steps=8')
  changes = [f'--config.train.{change}' for change in changes]
  small = [f'--config.generator.{change}' for change in ('num_layers=2', 'width=16')]
  config = smoke('digits_normalizing_flow', *changes, *small)
  report = pipeline.run(config, tmp_path / 'run', progress=False)
  (auc,) = report.facts['Membership'].values()
  assert 0 <= auc <= 1
  assert any('log-density' in note for note in report.notes)
  out = pipeline.sample(tmp_path / 'run', num=2, seed=0, out=tmp_path / 'new')
  assert len(store.Zoo.open(out)) == 2


def test_membership_of_what_has_no_density_is_refused_before_training(tmp_path):
  config = smoke()
  with config.unlocked():
    config.evaluate.membership = True
    config.generator = dict(name='hypernetwork', width=8, noise_size=2)
  with pytest.raises(ValueError, match='generator with log_prob'):
    pipeline.run(config, tmp_path, progress=False)
  assert not (tmp_path / 'train').exists()


@pytest.mark.slow
def test_trajectories_are_learned_from_behind_the_ends_of_runs(tmp_path):
  config = smoke()
  with config.unlocked():
    config.zoo.recipe.snapshots = (5, 10)
    config.strategy.trajectory = True
  zoo = base.open_zoo(config, tmp_path, progress=False)
  prepared = generation.prepare.prepare(config, zoo)
  ends = {key: value[:16] for key, value in prepared.train.items()}
  assert prepared.num_train == 16 and len(prepared.latents) == 3 * 16
  with config.unlocked():
    config.strategy.trajectory = False
  plain = generation.prepare.prepare(config, zoo)
  # Components are those of all that is shown.
  np.testing.assert_allclose(prepared.latents.mean(0), 0, atol=1e-4)
  for path, value in ends.items():
    np.testing.assert_array_equal(value, plain.train[path])
  # Every snapshot has weights that no end has.
  gaps = np.abs(prepared.latents[16:, None] - prepared.latents[None, :16])
  assert gaps.max((2, 3)).min() > 1e-3


@pytest.mark.slow
def test_snapshots_are_what_a_sample_may_be_a_copy_of(tmp_path):
  config = smoke()
  with config.unlocked():
    config.zoo.recipe.snapshots = (5, 10)
    config.strategy.trajectory = True
  experiment = generation.Generation(config, base.open_zoo(config, tmp_path, progress=False))
  data = experiment.data
  copier = methods.Method('copier', 'model', networks.take(data.snapshots, slice(8)), 0.0, 0)
  rates = []
  for experiment.data in (data, dataclasses.replace(data, snapshots=None)):
    report = experiment.compare([copier])
    rates.append(report.tables['methods'].rows['copier'].value('copy_rate'))
  # Of so short a run half the snapshots are copies of its end anyway.
  assert rates[0] == 1 and rates[1] < 0.6


@pytest.mark.slow
def test_rivals_stand_in_the_same_report(finished, tmp_path):
  config = smoke('digits_flow', f'--config.zoo.path={finished / "zoo"}')
  with config.unlocked():
    config.rivals = dict(kde=dict(generator=dict(name='kde')))
  report = pipeline.run(config, tmp_path, progress=False)
  rows = report.tables['methods'].rows
  assert rows['kde'].kind == rows['flow_matching'].kind == 'model' and rows['kde'].n == 8
  assert any('kde' in topic for topic in report.findings)


@pytest.mark.slow
def test_the_checkpoints_of_one_run_are_a_population(tmp_path):
  config = smoke()
  with config.unlocked():
    config.zoo.recipe.snapshots = (5, 10, 15)
    config.strategy.update(trajectory=True, num_train=1)
    config.codec.rank = 2
  zoo = base.open_zoo(config, tmp_path, progress=False)
  prepared = generation.prepare.prepare(config, zoo)
  assert prepared.num_train == 4 and prepared.snapshots is None
  end = zoo.params(zoo.select(split='train', final=True)[:1])
  for path, value in end.items():
    np.testing.assert_array_equal(prepared.train[path][:1], value)


def test_trajectories_of_a_zoo_without_snapshots_are_an_error(tmp_path):
  config = smoke()
  with config.unlocked():
    config.strategy.trajectory = True
  with pytest.raises(ValueError, match='zoo.recipe.snapshots is empty'):
    pipeline.run(config, tmp_path, progress=False)


def test_data_that_changed_are_refused_before_anything_is_trained(finished, tmp_path, monkeypatch):
  digits = datasets.load('digits')
  changed = dataclasses.replace(digits, sha256='0' * 64)
  monkeypatch.setattr(datasets, 'load', lambda *args, **kwargs: changed)
  config = smoke('digits_flow', f'--config.zoo.path={finished / "zoo"}')
  with pytest.raises(ValueError, match='not what the networks of the zoo learned from'):
    pipeline.run(config, tmp_path / 'run', progress=False)
  assert not (tmp_path / 'run/train').exists()


@pytest.mark.slow
def test_a_batch_that_was_cut_is_told_in_the_report(finished):
  (note,) = [note for note in model.load(finished).notes if 'batch_size' in note]
  assert note == loop.batch_note(64, 16) and loop.batch_note(16, 16) == ''
