"""Layers that are one tensor in PyTorch and several in Flax: gates, and attention projections."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wsjax
from wsjax.interop import checkpoint, safetensors
from wsjax.symmetry import spec as spec_lib

RNG = np.random.default_rng(0)


def draw(*shape):
  return RNG.normal(size=shape).astype(np.float32)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


class Recurrent(nn.Module):
  """A recurrent layer and a head."""

  cell: type

  @nn.compact
  def __call__(self, x):
    return nn.Dense(2, name='head')(nn.RNN(self.cell(4, name='rnn'))(x)[:, -1])


class Attention(nn.Module):
  """Attention over tokens and a head."""

  @nn.compact
  def __call__(self, x):
    x = nn.MultiHeadDotProductAttention(num_heads=2, name='attn')(x, x)
    return nn.Dense(2, name='head')(x.mean(1))


def torch_lstm(t, x):
  """Source: torch.nn.LSTM, gates i, f, g, o."""
  h = c = np.zeros((len(x), 4), np.float32)
  for step in np.moveaxis(x, 1, 0):
    gates = step @ t['rnn.weight_ih_l0'].T + t['rnn.bias_ih_l0']
    gates = gates + h @ t['rnn.weight_hh_l0'].T + t['rnn.bias_hh_l0']
    i, f, g, o = np.split(gates, 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
  return h


def torch_gru(t, x):
  """Source: torch.nn.GRU, gates r, z, n."""
  h = np.zeros((len(x), 4), np.float32)
  for step in np.moveaxis(x, 1, 0):
    a = np.split(step @ t['rnn.weight_ih_l0'].T + t['rnn.bias_ih_l0'], 3, 1)
    b = np.split(h @ t['rnn.weight_hh_l0'].T + t['rnn.bias_hh_l0'], 3, 1)
    r, z = sigmoid(a[0] + b[0]), sigmoid(a[1] + b[1])
    h = (1 - z) * np.tanh(a[2] + r * b[2]) + z * h
  return h


def torch_rnn(t, x):
  """Source: torch.nn.RNN."""
  h = np.zeros((len(x), 4), np.float32)
  for step in np.moveaxis(x, 1, 0):
    h = step @ t['rnn.weight_ih_l0'].T + t['rnn.bias_ih_l0'] + h @ t['rnn.weight_hh_l0'].T
    h = np.tanh(h + t['rnn.bias_hh_l0'])
  return h


def torch_attention(t, x):
  """Source: torch.nn.MultiheadAttention(4, 2, batch_first=True)."""
  q, k, v = np.split(x @ t['attn.in_proj_weight'].T + t['attn.in_proj_bias'], 3, -1)
  q, k, v = (a.reshape(*a.shape[:2], 2, 2) for a in (q, k, v))
  scores = np.einsum('bihd,bjhd->bhij', q, k) / np.sqrt(2)
  weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
  mixed = np.einsum('bhij,bjhd->bihd', weights, v).reshape(x.shape)
  return (mixed @ t['attn.out_proj.weight'].T + t['attn.out_proj.bias']).mean(1)


def recurrent_tensors(gates):
  return {
    'rnn.weight_ih_l0': draw(gates * 4, 4), 'rnn.weight_hh_l0': draw(gates * 4, 4),
    'rnn.bias_ih_l0': draw(gates * 4), 'rnn.bias_hh_l0': draw(gates * 4),
  }  # fmt: skip


CASES = {
  'lstm': (lambda: Recurrent(nn.OptimizedLSTMCell), torch_lstm, lambda: recurrent_tensors(4)),
  'gru': (lambda: Recurrent(nn.GRUCell), torch_gru, lambda: recurrent_tensors(3)),
  'rnn': (lambda: Recurrent(nn.SimpleCell), torch_rnn, lambda: recurrent_tensors(1)),
  'attention': (
    Attention,
    torch_attention,
    lambda: {
      'attn.in_proj_weight': draw(12, 4), 'attn.in_proj_bias': draw(12),
      'attn.out_proj.weight': draw(4, 4), 'attn.out_proj.bias': draw(4),
    },
  ),
}  # fmt: skip


@pytest.mark.parametrize('name', CASES)
def test_layers_of_pytorch_compute_in_flax_what_they_did(name, tmp_path):
  module, run, draw_tensors = CASES[name]
  tensors = draw_tensors() | {'head.weight': draw(2, 4), 'head.bias': draw(2)}
  inputs = draw(3, 5, 4)
  given = wsjax.Model.from_flax(module(), jnp.zeros((1, 5, 4)))
  # Layouts need no symmetry, and to infer one takes longer than this test.
  leaves = tuple(
    spec_lib.Leaf(path, x.shape, tuple(spec_lib.Axis() for _ in x.shape))
    for path, x in given.shapes.items()
  )
  model = wsjax.Model.from_flax(module(), jnp.zeros((1, 5, 4)), spec=spec_lib.Spec((), leaves))
  zoo = wsjax.import_checkpoints(model, {'net': tensors})
  expected = run(tensors, inputs) @ tensors['head.weight'].T + tensors['head.bias']
  found = jax.jit(model.apply)(zoo.networks()[0], inputs)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  safetensors.write(tmp_path / 'net.safetensors', tensors, {'format': 'pt'})
  wsjax.export(zoo, 'torch', tmp_path / 'out.safetensors', like=tmp_path / 'net.safetensors')
  back = checkpoint.read(tmp_path / 'out.safetensors')
  assert back.keys() == tensors.keys()
  np.testing.assert_allclose(
    run(back, inputs) @ back['head.weight'].T + back['head.bias'], expected, atol=1e-5
  )
  for tensor in tensors:
    if 'bias_' not in tensor:  # The two biases of a gate were added.
      np.testing.assert_array_equal(back[tensor], tensors[tensor])
