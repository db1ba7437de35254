"""Networks in files, for commands that take them without a config."""

import jax
import numpy as np
import pytest
import safetensors.numpy

import wsjax

NET = """
import flax.linen as nn
import jax.numpy as jnp
import wsjax

def net():
  module = nn.Sequential([nn.Dense(12), nn.tanh, nn.Dense(3)])
  return wsjax.Model.from_flax(module, jnp.zeros((1, 5)))
"""


@pytest.fixture
def undone(monkeypatch):
  """What `main.main` changes in the environment is undone."""
  for name in ('JAX_COMPILATION_CACHE_DIR', 'NPROC',
               'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'):  # fmt: skip
    monkeypatch.setenv(name, 'set')


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """a, b = a moved by its symmetry, and c, in the layout of PyTorch."""
  (tmp_path / 'net.py').write_text(NET)
  monkeypatch.chdir(tmp_path)
  model = wsjax.mlp((5, 12, 3), 'tanh')
  a, c = (model.init(jax.random.key(seed)) for seed in (0, 1))
  b = model.spec.act(model.spec.random(jax.random.key(2)), a)
  for name, params in (('a', a), ('b', b), ('c', c)):
    tensors = {}
    for i in (0, 1):
      kernel, bias = params[f'layer{i}/kernel'], params[f'layer{i}/bias']
      tensors[f'{2 * i}.weight'] = np.ascontiguousarray(np.asarray(kernel).T)
      tensors[f'{2 * i}.bias'] = np.asarray(bias)
    safetensors.numpy.save_file(tensors, f'{name}.safetensors', {'format': 'pt'})
  np.savez('inputs.npz', x=np.random.default_rng(0).normal(size=(64, 5)).astype('f'))
  return tmp_path
