"""One run in one process or in many: joining, writing once, agreeing.

Every process runs the same program on the same config. Stages that are not spread over devices are
computed by each of them, and only process 0 writes.
"""

import os
import sys
import traceback
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

from wsjax import typing

EXPLICIT = ('WSJAX_COORDINATOR', 'WSJAX_NUM_PROCESSES', 'WSJAX_PROCESS_ID')


def source(environment: Mapping[str, str]) -> str:
  """Which variables of an environment name the processes of a run: the first that applies.

  'explicit', all of `EXPLICIT`; 'slurm', a step of several tasks; 'tpu', a slice of several hosts;
  else 'none'. Raises ValueError if only some of `EXPLICIT` are set, or they make no sense.
  """
  given = [name for name in EXPLICIT if environment.get(name)]
  if given:
    if missing := sorted(set(EXPLICIT) - set(given)):
      raise ValueError(
        f'{", ".join(given)} is set but not {", ".join(missing)}; a run of several processes '
        'needs all three.'
      )
    count, number = environment[EXPLICIT[1]], environment[EXPLICIT[2]]
    if not (count.isdigit() and number.isdigit() and int(number) < int(count)):
      raise ValueError(
        f'{EXPLICIT[2]} is {number!r} and {EXPLICIT[1]} {count!r}; allowed are '
        'numbers from 0 to one less than the number of processes.'
      )
    return 'explicit'
  tasks = environment.get('SLURM_STEP_NUM_TASKS', '1')
  if 'SLURM_PROCID' in environment and int(tasks) > 1:
    return 'slurm'
  if ',' in environment.get('TPU_WORKER_HOSTNAMES', ''):
    return 'tpu'
  return 'none'


def initialize() -> None:
  """Joins the processes of this run, before any computation; raises ValueError as `source`."""
  found = source(os.environ)
  if found == 'none' or jax.distributed.is_initialized():
    return
  if found == 'explicit':
    address, count, number = (os.environ[name] for name in EXPLICIT)
    jax.distributed.initialize(address, int(count), int(number))
  else:
    jax.distributed.initialize()
  # Now that all are here: on CPU the first collective does not wait for long.
  barrier('start')


def devices() -> list[jax.Device]:
  """Devices of all processes; raises ValueError if JAX_PLATFORMS names one that is not here."""
  try:
    return jax.devices()
  except (RuntimeError, AssertionError) as error:
    wanted = os.environ.get('JAX_PLATFORMS')
    raise ValueError(f'JAX finds no device; JAX_PLATFORMS is {wanted!r}: {error}') from error


def leave(status: int, error: BaseException | None = None) -> None:
  """Ends this process at once, with the traceback of an error, if it is one of several.

  At a regular exit it would wait for the others, which wait for it in the middle of a computation.
  """
  if jax.distributed.is_initialized() and jax.process_count() > 1:
    if error is not None:
      traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def is_writer() -> bool:
  """Whether this process writes what all of them computed."""
  return jax.process_index() == 0


def barrier(name: str) -> None:
  """Waits until every process is here, such as after process 0 has written."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def largest(value: int) -> int:
  """The largest value that any process gives; all must call this."""
  if jax.process_count() == 1:
    return value
  return int(multihost_utils.process_allgather(np.int32(value)).max())


def of_writer(value: typing.PyTree) -> typing.PyTree:
  """Arrays of process 0 on all of them; the shapes must be the same."""
  if jax.process_count() == 1:
    return value
  return multihost_utils.broadcast_one_to_all(value)


def everywhere(tree: typing.PyTree) -> typing.PyTree:
  """Whole arrays on the host of every process, however they are sharded."""
  if jax.process_count() == 1:
    return jax.device_get(tree)
  return multihost_utils.process_allgather(tree, tiled=True)


# The random numbers of a seed depend on the first two, and strict promotion refuses programs.
_JAX_DEFAULTS = {
  'jax_default_prng_impl': 'threefry2x32',
  'jax_threefry_partitionable': True,
  'jax_numpy_dtype_promotion': 'standard',
}


def require_jax_defaults() -> None:
  """Raises ValueError for settings of JAX under which equal seeds give other numbers, or none."""
  if jax.config.jax_enable_x64:
    raise ValueError('wsjax computes in float32: unset JAX_ENABLE_X64 (jax_enable_x64).')
  for name, wanted in _JAX_DEFAULTS.items():
    found = getattr(jax.config, name)
    if found != wanted:
      raise ValueError(
        f'{name} is {getattr(found, "value", found)!r}; allowed: {wanted!r}. Unset {name.upper()}, '
        'or equal seeds would not give equal numbers.'
      )
