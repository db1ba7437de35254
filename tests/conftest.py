"""What every test runs under: one CPU backend, strict shapes, no network."""

import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib.metadata
import os
import pathlib
import signal

# Before jax starts. A test that simulates devices does so in a subprocess, and sets NPROC there:
# see wsjax/cli/main.py.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('MPLBACKEND', 'agg')
# Programs run once or twice here, so the least compilation is the fastest.
flags = ['--xla_backend_optimization_level=0', '--xla_cpu_parallel_codegen_split_count=1']
if importlib.metadata.version('jax').startswith('0.10.'):  # Others abort on it.
  flags.append('--xla_cpu_use_fusion_emitters=false')
os.environ.setdefault('XLA_FLAGS', ' '.join(flags))
# And most programs recur: between workers, in subprocesses and in the next run.
os.environ.setdefault(
  'JAX_COMPILATION_CACHE_DIR', str(pathlib.Path(__file__).parents[1] / 'build/jax')
)
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0')
os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', '-1')

# A shell starts what runs in the background with Ctrl-C ignored, and children would inherit that:
# programs under test could not be stopped by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update('jax_numpy_rank_promotion', 'raise')

hypothesis.settings.register_profile('wsjax', deadline=None, max_examples=10, derandomize=True)
hypothesis.settings.load_profile('wsjax')


# What takes longest begins first, so that no worker waits for another one in the end.
_FIRST = (
  'evaluation',
  'golden_test.py',
  'contracts/generators_test.py',
  'run_test.py',
  'train/checkpoint_damage_test.py',
  'docs_test.py',
  'devices/parallel_test.py',
  'contracts/encoders_test.py',
  'encoders/graph_net_test.py',
)
# Folders that stay with one worker, for their files share a fixture of the session.
_TOGETHER = ('tests/evaluation/',)
# Bytes of a worker above which it forgets its compiled programs.
_MEMORY = 2 << 30


def pytest_collection_modifyitems(items):
  folder = pathlib.Path(__file__).parent
  order = {folder / name: -len(_FIRST) + place for place, name in enumerate(_FIRST)}
  items.sort(key=lambda item: order.get(item.path, order.get(item.path.parent, 0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
  """A file goes to a worker as a whole, whatever `--dist` says, in the order above."""
  from xdist.scheduler import LoadScopeScheduling  # Absent from a run without xdist.

  class Files(LoadScopeScheduling):
    def _split_scope(self, nodeid):
      file = nodeid.split('::', 1)[0]
      return next((folder for folder in _TOGETHER if file.startswith(folder)), file)

  config.option.loadscopereorder = False
  return Files(config, log)


def pytest_collection_finish():
  """Modules stay, so that no later collection of garbage walks through them: 0.5 s each."""
  gc.collect()
  gc.freeze()


@pytest.fixture(scope='module', autouse=True)
def _programs_end_before_memory_does():
  """Files share programs, but a worker that kept all of them would take 6 GiB."""
  gc.freeze()  # What earlier files left is not walked through by every collection of this one.
  yield
  try:
    resident = int(pathlib.Path('/proc/self/statm').read_text().split()[1])
  except OSError:  # Not on Linux.
    resident = _MEMORY
  if resident * os.sysconf('SC_PAGE_SIZE') >= _MEMORY:
    jax.clear_caches()
    gc.unfreeze()
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
      # Freed memory that stays with the process would be counted again after the next file.
      ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def fresh_programs():
  """For a test that replaces code which others may have compiled, under an equal name."""
  jax.clear_caches()
  yield
  jax.clear_caches()


@pytest.fixture(scope='session')
def shared_data() -> pathlib.Path:
  """Folder of real data; a test that asks for it skips where it is absent."""
  root = pathlib.Path(__file__).parents[1]
  path = pathlib.Path(os.environ.get('WSJAX_DATA', root / '../shared/data'))
  if not path.is_dir():
    pytest.skip(f'no data folder at {path}; set WSJAX_DATA to run this test')
  return path


@pytest.fixture(scope='session')
def smoke_run(tmp_path_factory):
  """A function: name of a config -> report, workdir and config of its smoke run.

  A config runs once per session, whichever worker asks first. Copy the workdir to change it.
  """
  from wsjax import pipeline
  from wsjax.experiments import configs

  root = tmp_path_factory.getbasetemp()
  if os.environ.get('PYTEST_XDIST_WORKER'):
    root = root.parent  # Common to all workers.

  @functools.cache
  def once(name):
    file = pathlib.Path(__file__).parents[1] / f'configs/{name}.py:smoke'
    config, overrides = configs.load(str(file))
    workdir = root / f'smoke_{name}'
    with open(root / f'{name}.lock', 'w') as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      report = pipeline.run(config, workdir, overrides=overrides, progress=False)
    return report, workdir, config

  return once
