"""Weights for a model of the user's own, by the hypernetwork of a finished run."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from wsjax import config as config_lib
from wsjax import files, typing
from wsjax.experiments.architect import hypernetwork, space
from wsjax.interop import safetensors
from wsjax.models import model as model_lib
from wsjax.zoo.store import store

_FILE, _KEY = 'hypernetwork.safetensors', 'wsjax.architect'
_SCHEMA = {
  'type': 'object',
  'required': ['network', 'record', 'middle', 'size', 'pool'],
  'properties': {
    'network': {'type': 'object'},
    'record': {'type': 'object'},
    'middle': {'type': 'array', 'items': {'type': 'number'}},
    'size': {'type': 'number', 'exclusiveMinimum': 0},
    'pool': {'type': 'integer', 'minimum': 1},
  },
}
_FIELDS = ('inputs', 'outputs', 'units', 'width', 'depth', 'num_heads', 'rank', 'code')


def save(
  folder: pathlib.Path,
  network: hypernetwork.GraphHypernetwork,
  params: typing.PyTree,
  facts: Mapping[str, Any],
) -> None:
  """Writes a hypernetwork and what belongs to it."""
  folder.mkdir(parents=True, exist_ok=True)
  tensors = {_name(keys): np.asarray(x) for keys, x in jax.tree_util.tree_leaves_with_path(params)}
  section = {name: getattr(network, name) for name in _FIELDS}
  text = json.dumps({'network': section, **facts}, sort_keys=True)
  safetensors.write(folder / _FILE, tensors, {_KEY: text})


def load(
  workdir: pathlib.Path, seed: int
) -> tuple[hypernetwork.GraphHypernetwork, typing.PyTree, dict[str, Any]]:
  """Reads what `save` wrote in a run.

  Raises:
    ValueError: if the run has none, or its parts do not fit each other.
  """
  path = workdir / f'seed{seed}' / _FILE
  if not path.exists():
    raise ValueError(f'{workdir} has no hypernetwork of seed {seed}; `wsjax run` trains one.')
  (found,) = safetensors.read(path, 'hypernetwork')
  if (text := safetensors.metadata(path).get(_KEY)) is None:
    raise ValueError(f'{path} is no hypernetwork of wsjax.')
  facts = files.parse_json(text, f'{_KEY} of {path}', schema=_SCHEMA)
  try:
    network = hypernetwork.GraphHypernetwork(**facts['network'])
  except (TypeError, ValueError) as error:
    raise ValueError(f'{path} is no hypernetwork of wsjax: {error}.') from error
  shape = np.zeros((2, hypernetwork.NUM_FEATURES), np.float32)
  like = jax.eval_shape(
    lambda key: network.init(key, shape, np.eye(2, dtype=int), np.ones(2, bool), network.units),
    jax.random.key(0),
  )
  # A chain of two layers has no inner one, which makes no difference: layers share all maps.
  pairs, structure = jax.tree_util.tree_flatten_with_path(like)
  shapes = {_name(keys): leaf.shape for keys, leaf in pairs}
  if {name: x.shape for name, x in found.tensors.items()} != shapes:
    raise ValueError(f'{path} does not hold the hypernetwork that it describes.')
  params = jax.tree.unflatten(structure, [np.asarray(found.tensors[name]) for name in shapes])
  facts['sha256'] = hashlib.sha256(files.read_bytes(path)).hexdigest()
  return network, params, facts


def predict_weights(
  model: model_lib.Model, workdir: pathlib.Path | str, *, seed: int = 0
) -> store.Zoo:
  """Makes weights for a dense network of any JAX library, in one pass.

  The model is one of inputs as the run had them: `prepare` makes them of images.

  Args:
    model: whose spec is given or inferred.
    workdir: a finished run of the experiment 'architect'.
    seed: training seed of the hypernetwork.

  Returns:
    A zoo of one network, whose record names the hypernetwork. `zoo.networks()[0]` are its weights,
    and `model.unflatten` gives them the form of the model's library.

  Raises:
    ValueError: if the run has no hypernetwork, or the model is no dense network of its data.
  """
  workdir = files.folder(workdir, 'workdir')
  config_lib.check_seed(seed, 'seed')
  network, params, facts = load(workdir, seed)
  made = hypernetwork.predict(network, params, model.spec)
  name = (
    f'architect-{facts["sha256"][:8]}-{hashlib.sha256(repr(model.spec).encode()).hexdigest()[:8]}'
  )
  source = f'architect:{facts["sha256"]}'
  record = {
    **{key: value for key, value in facts['record'].items() if value is not None},
    'parents': [{'record_id': None, 'external_ref': source, 'relation': 'generated_by'}],
    'generated': {
      'generator_record_id': source, 'sampler': 'graph hypernetwork, one pass', 'seed': None,
      'condition': {'graph': [list(layer.shape) for layer in hypernetwork.layers_of(model.spec)]},
    },
    'run_id': name,
    'split_group': name,
    'split': 'test',  # Nothing generated slips into a training split unnoticed.
  }  # fmt: skip
  return store.Zoo.of(model, [made], [record])


def prepare(images: Any, workdir: pathlib.Path | str, *, seed: int = 0) -> np.ndarray:
  """Images [n, h, w, c] in [0, 1] as the networks of a run take them: [n, inputs]."""
  facts = load(files.folder(workdir, 'workdir'), seed)[2]
  pooled = space.pooled(np.asarray(images), facts['pool'])
  return ((pooled - np.asarray(facts['middle'], np.float32)) / facts['size']).astype(np.float32)


def _name(keys: tuple[Any, ...]) -> str:
  return jax.tree_util.keystr(keys, simple=True, separator='.')
