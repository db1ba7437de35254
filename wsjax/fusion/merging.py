"""Merging of networks of one model in memory, after they are aligned."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax import networks as networks_lib
from wsjax import typing
from wsjax.fusion import align as align_lib
from wsjax.fusion import layerwise, learned, methods
from wsjax.fusion import recipe as recipe_lib
from wsjax.models import model as model_lib
from wsjax.zoo import derived
from wsjax.zoo.store import published, store

# Methods that see whole networks at work, and need data.
WITH_DATA = ('regmean', 'fisher', 'adamerging')
REFERENCES = ('first', 'barycentre')
NAMES = (*methods.METHODS, *WITH_DATA)


def merge(
  networks: Any,
  method: str = 'linear',
  *,
  model: model_lib.Model | None = None,
  base: Any = None,
  align: str = 'none',
  reference: str = 'first',
  balance: bool = False,
  data: Any = None,
  repair: bool = False,
  restarts: int = 3,
  seed: int = 0,
  parameters: Mapping[str, Any] | None = None,
  records: Sequence[Mapping[str, Any]] | None = None,
  **options: Any,
) -> store.Zoo:
  """Merges networks of one model into one.

  Args:
    networks: a `Zoo`, `Networks`, a list of networks (path -> array), or paths of files as
      `interop.checkpoints` takes them.
    method: key of `methods.METHODS`, or one of `WITH_DATA`.
    model: of the networks, where they do not say it.
    base: the network that the others were fine-tuned from, in any of these forms.
    align: 'none', 'weights' or 'activations': how units are matched before; see `align.align`.
    reference: what they are matched to: 'first' network, or 'barycentre' of all. A base counts
      before the first.
    balance: whether units that may be scaled are brought to their smallest norm before.
    data: inputs [b, ...] without labels, for activations, methods with data and repair; for these
      methods also one batch for each network, [n, b, ...] as a list.
    repair: whether the statistics of hidden units are reset to the mean of those of the networks.
    restarts: starts of matching by weights.
    seed: of everything random.
    parameters: settings as a recipe has them: option -> number, gradient along layers, or filters.
    records: of the networks, where they are not in a zoo.
    **options: of the method: a setting for all networks, or a list of n numbers, one per network.

  Returns:
    A zoo with the one merged network, whose record names its parents; `zoo.networks()[0]` are its
    weights, and `wsjax.export` and `zoo.save` write it.

  Raises:
    ValueError: if networks, model, method and options do not fit each other.
  """
  if method not in NAMES:
    raise ValueError(f'method is {method!r}; allowed: {", ".join(NAMES)}.')
  if reference not in REFERENCES:
    raise ValueError(f'reference is {reference!r}; allowed: {", ".join(REFERENCES)}.')
  zoo = read(networks, model)
  model = zoo.model if model is None else model
  params = zoo.params(np.arange(len(zoo)))
  start = None if base is None else read(base, model)
  if start is not None and len(start) != 1:
    raise ValueError(f'A base is one network; got {len(start)}.')
  first = None if start is None else {k: v[0] for k, v in start.params([0]).items()}
  apply, inputs = model.apply, _inputs(data)
  params = align_lib.align(
    params,
    model.spec,
    align,
    reference=first,
    barycentre=reference == 'barycentre',
    apply=apply,
    data=None if inputs is None else inputs[0] if len(inputs) == 1 else np.concatenate(inputs),
    balance=balance,
    restarts=restarts,
    seed=seed,
  )
  if method in WITH_DATA:
    merged = _with_data(
      method, params, first, apply, inputs, seed, {**(parameters or {}), **options}
    )
  else:
    merged = of_tensors(params, method, base=first, parameters=parameters, seed=seed, **options)
  if repair:
    if inputs is None:
      raise ValueError('repair resets statistics of units at inputs; give data.')
    merged = layerwise.repair(apply, merged, params, np.concatenate(inputs))
  how = {
    'method': method, 'align': align, 'reference': reference, 'balance': balance,
    'repair': repair, 'seed': seed, 'parameters': dict(parameters or {}), 'options': options,
  }  # fmt: skip
  return _published(merged, model, list(records or zoo.records), start, how)


def of_tensors(
  params: typing.StackedParams,
  method: str,
  *,
  base: typing.Params | None = None,
  parameters: Mapping[str, Any] | None = None,
  seed: int = 0,
  **options: Any,
) -> dict[str, np.ndarray]:
  """Merges N networks, path -> [N, ...], parameter by parameter.

  Arguments and errors are those of `merge`.
  """
  recipe_lib.check_method(method)
  names = [f'network {i}' for i in range(networks_lib.length(params))]
  recipe = recipe_lib.of_options(
    method, names, options, base=None if base is None else 'base', parameters=parameters
  )
  places: dict[str, Any] = {
    name: {path: value[i] for path, value in params.items()} for i, name in enumerate(names)
  }
  if base is not None:
    places['base'] = base
  merged = {}
  steps = recipe_lib.plan(recipe, {name: sorted(net) for name, net in places.items()})
  for number, step in enumerate(steps):
    tensors = [np.asarray(places[name][path]) for name, path in step.inputs]
    given = None if step.base is None else np.asarray(places[step.base[0]][step.base[1]])
    rng = np.random.default_rng([seed, number])
    made = methods.merge(method, tensors, given, step.each, step.shared, rng)
    merged[step.name] = made.astype(tensors[0].dtype)
  return {path: merged[path] for path in params}


def read(networks: Any, model: model_lib.Model | None) -> store.Zoo:
  """Networks in any form as a zoo.

  Raises:
    ValueError: if they need a model and none is given, or do not fit it.
  """
  if isinstance(networks, store.Zoo):
    return networks
  is_path = isinstance(networks, str | os.PathLike)
  if is_path and published.is_zoo(networks):
    return store.Zoo.open(networks, model=model)
  if model is None:
    raise ValueError('These networks do not say which model they are of; give the model.')
  if is_path or (
    isinstance(networks, Sequence)
    and networks
    and all(isinstance(x, str | os.PathLike) for x in networks)
  ):
    from wsjax.interop import importing

    return importing.import_checkpoints(model, networks)
  if isinstance(networks, Mapping):
    native = any(np.shape(x) for x in networks.values() if not isinstance(x, Mapping))
    networks = [networks] if not native or _is_one(networks, model) else networks
  return store.Zoo.of(model, networks)


def _is_one(networks: Mapping[str, Any], model: model_lib.Model) -> bool:
  """Whether parameters are of one network and not of several."""
  leaf = model.spec.leaves[0]
  return np.ndim(networks.get(leaf.path)) == len(leaf.shape)


def _inputs(data: Any) -> list[np.ndarray] | None:
  if data is None:
    return None
  if isinstance(data, list | tuple):
    return [np.asarray(x) for x in data]
  return [np.asarray(data)]


def _with_data(
  method: str,
  params: typing.StackedParams,
  base: typing.Params | None,
  apply: Any,
  inputs: list[np.ndarray] | None,
  seed: int,
  options: Mapping[str, Any],
) -> dict[str, np.ndarray]:
  if inputs is None:
    raise ValueError(f'{method} looks at networks at work; give data.')
  count = networks_lib.length(params)
  if len(inputs) not in (1, count):
    raise ValueError(f'data are {len(inputs)} batches for {count} networks; give one, or as many.')
  rows = inputs if len(inputs) == count else inputs * count
  run = {
    'regmean': layerwise.regmean, 'fisher': layerwise.fisher, 'adamerging': learned.adamerging
  }[method]  # fmt: skip
  extra: dict[str, Any] = {} if method == 'regmean' else {'seed': seed}
  if method == 'adamerging':
    if base is None:
      raise ValueError('adamerging weighs differences to a base; give the base.')
    extra['base'] = base
  try:
    return run(apply, params, rows, **extra, **options)
  except TypeError as error:
    raise ValueError(f'{method} does not take {sorted(options)}: {error}.') from error


def _published(
  merged: typing.Params,
  model: model_lib.Model,
  given: list[Mapping[str, Any]],
  base: store.Zoo | None,
  how: Mapping[str, Any],
) -> store.Zoo:
  """The merged network with its record."""
  others = base.records if base else []
  parents = [derived.edge(record, 'merge', how) for record in given]
  parents += [derived.edge(record, 'merge', {'role': 'base'}) for record in others]
  facts = derived.facts('merge', parents, [*given, *others])
  made = {path: np.asarray(value)[None] for path, value in merged.items()}
  return store.Zoo.of(model, networks_lib.Networks(made, model.spec), [facts])
