"""Model: a JAX function with named parameters, and the symmetries of its parameters."""

import abc
import contextlib
import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from wsjax import config as config_lib
from wsjax import typing
from wsjax.symmetry import spec as spec_lib

_PARAMS = 'params/'  # Flax's collection of parameters; paths leave it out.
# Key, and share of the hidden activations that are set to 0.
Dropout: TypeAlias = tuple[jax.Array, jax.Array] | None


class Model(abc.ABC):
  """A function of named parameters and inputs, with the symmetries of its parameters.

  A subclass is a frozen dataclass whose fields are its config section. Models with equal fields are
  equal, so that a function that takes one as a static argument is compiled once for all of them.
  Models of other libraries are made by `from_flax`, `from_nnx`, `from_equinox`, `from_haiku` and
  `from_function`. Their parameters keep the names of their library, as paths: 'Dense_0/kernel',
  'layers/0/weight'. Running statistics and other floating-point state of a network
  ('batch_stats/BatchNorm_0/mean') are parameters too, and so are, as floats, the counters beside
  them in the state of Equinox and Haiku; everything else (random state, integers) is the module's
  own and the same for all networks.

  Attributes:
    activation: name of the non-linearity behind hidden units; '' where it is not known.
    task: 'classification' of inputs, 'image_fitting' from coordinates to values, or a name of the
      user's own.
  """

  activation: str = ''
  task: str = 'classification'
  DTYPE: ClassVar[str] = 'float32'

  @property
  @abc.abstractmethod
  def spec(self) -> spec_lib.Spec:
    """Shapes of the parameters in forward order, and their symmetries."""

  @property
  @abc.abstractmethod
  def input_shape(self) -> tuple[int, ...]:
    """Shape of one input, without the batch axis."""

  @property
  def can_init(self) -> bool:
    """Whether `init` draws networks."""
    return True

  @abc.abstractmethod
  def init(self, key: jax.Array) -> typing.Params:
    """Draws the parameters of one network."""

  @abc.abstractmethod
  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b ...'], dropout: Dropout = None
  ) -> tuple[Float[Array, 'b d'], dict[str, Float[Array, 'b n']]]:
    """Runs one network; dropout is for training.

    Returns:
      The outputs, and the activations of hidden units by the id of their group: behind the
      non-linearity, means over pixels for channels. Groups whose activations are not known are
      left out.
    """

  def apply(
    self, params: typing.Params, inputs: Float[Array, 'b ...'], dropout: Dropout = None
  ) -> Float[Array, 'b d']:
    """Runs one network and returns its outputs; arguments are those of `forward`."""
    return self.forward(params, inputs, dropout)[0]

  @property
  def name(self) -> str:
    """The plug-in that a config names: a file of `wsjax.models`, or 'module:Class'."""
    module, own = type(self).__module__, __name__.rpartition('.')[0]
    if module.startswith(f'{own}.'):
      return module.removeprefix(f'{own}.')
    return f'{module}:{type(self).__qualname__}'

  @property
  def config(self) -> dict[str, Any]:
    """The fields as JSON values."""
    fields: Any = self  # Subclasses are dataclasses.
    return json.loads(json.dumps(dataclasses.asdict(fields)))

  @property
  def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Path -> shape and dtype of every parameter."""
    return {
      leaf.path: jax.ShapeDtypeStruct(leaf.shape, jnp.dtype(self.DTYPE))
      for leaf in self.spec.leaves
    }

  def num_outputs(self, inputs: Any) -> int:
    """Number of outputs for inputs [b, ...]; nothing is computed."""
    return jax.eval_shape(self.apply, self.shapes, inputs).shape[-1]

  def flatten(self, tree: typing.PyTree) -> typing.Params:
    """Names the parameters of the library's own form by their paths."""
    return dict(tree)

  def unflatten(self, params: typing.Params) -> typing.PyTree:
    """Gives parameters the form that the model's own library takes."""
    return dict(params)

  @staticmethod
  def from_function(
    apply: Callable[..., Any],
    params: typing.PyTree,
    example: Any,
    *,
    init: Callable[[jax.Array], typing.PyTree] | None = None,
    name: str | None = None,
    **options: Any,
  ) -> 'Converted':
    """Wraps a function of a tree of parameters.

    Args:
      apply: (params, inputs [b, ...]) -> outputs [b, d]; traceable.
      params: tree of arrays or ShapeDtypeStructs.
      example: a batch of inputs, or its ShapeDtypeStruct.
      init: key -> params.
      name: of the model in records; by default that of `apply`.
      **options: `spec` in place of the inferred one, `task` and `activation`; see `Model`.

    Raises:
      ValueError: if there are no parameters, two have the same path, or `spec` does not fit them.
    """
    pairs, treedef = jax.tree_util.tree_flatten_with_path(params)
    paths = [_path(keys) for keys, _ in pairs]
    if not paths or len(set(paths)) < len(paths):
      raise ValueError(f'Parameters need different paths, at least one; got {paths}.')
    structs = {path: _struct(leaf) for path, (_, leaf) in zip(paths, pairs, strict=True)}

    def from_native(tree: typing.PyTree) -> typing.Params:
      found = {_path(keys): leaf for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)}
      if found.keys() != structs.keys():
        raise ValueError(f'A network needs the parameters {paths}; got {sorted(found)}.')
      return {path: found[path] for path in paths}

    return Converted(
      run=apply,
      to_native=lambda params: jax.tree.unflatten(treedef, [params[path] for path in paths]),
      from_native=from_native,
      structs=structs,
      example=example,
      draw=init,
      source=name or _name(apply),
      **_options(options),
    )

  @staticmethod
  def from_flax(
    module: Any, example: Any, *, call: Mapping[str, Any] | None = None, **options: Any
  ) -> 'Converted':
    """Wraps a Flax linen module; see `from_function`.

    `call` has further arguments of `module.__call__`, such as `{'train': False}`.
    """
    call = dict(call or {})
    return _from_init(
      lambda key, inputs: module.init(key, inputs, **call),
      lambda variables, inputs: module.apply(variables, inputs, **call),
      example,
      {'name': _name(type(module)), **options},
    )

  @staticmethod
  def from_haiku(
    transformed: Any,
    example: Any,
    *,
    call: Mapping[str, Any] | None = None,
    init_call: Mapping[str, Any] | None = None,
    **options: Any,
  ) -> 'Converted':
    """Wraps functions of `haiku.transform`, which run without randomness; see `from_function`.

    The native form of a network of `haiku.transform_with_state` is (params, state). `call` has
    further arguments of the function, such as `{'is_training': False}`, and `init_call` those that
    it takes instead when a network is drawn: batch norm wants `{'is_training': True}` there.
    """
    call = dict(call or {})
    init_call = call if init_call is None else dict(init_call)
    takes = inspect.signature(transformed.apply).parameters
    rng = (None,) if 'rng' in takes else ()
    options = {'name': 'haiku', **options}
    if 'state' not in takes:
      return _from_init(
        lambda key, inputs: transformed.init(key, inputs, **init_call),
        lambda params, inputs: transformed.apply(params, *rng, inputs, **call),
        example,
        options,
      )

    def init(key: jax.Array, inputs: jax.Array) -> dict[str, Any]:
      params, state = transformed.init(key, inputs, **init_call)
      return {'params': params, 'state': jax.tree.map(_as_float, state)}

    base = _from_init(init, lambda net, inputs: None, example, options)
    blank = jnp.zeros(example.shape, example.dtype)
    like = jax.eval_shape(lambda key: transformed.init(key, blank, **init_call), jax.random.key(0))
    own = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like[1])

    def to_native(params: typing.Params) -> Any:
      net = base.to_native(params)
      return net['params'], jax.tree.map(_as_before, own, net['state'])

    def from_native(net: Any) -> typing.Params:
      return base.from_native({'params': net[0], 'state': jax.tree.map(_as_float, net[1])})

    return dataclasses.replace(
      base,
      run=lambda net, inputs: transformed.apply(*net, *rng, inputs, **call)[0],
      to_native=to_native,
      from_native=from_native,
      draw=lambda key: to_native(base.init(key)),
    )

  @staticmethod
  def from_nnx(module: Any, example: Any, **options: Any) -> 'Converted':
    """Wraps a Flax nnx module, in evaluation mode; see `from_function`, without `init`.

    A function `rngs -> module` in its place also tells how networks are drawn.
    """
    from flax import nnx  # Slow to import.

    def is_weight(path: tuple[Any, ...], variable: Any) -> bool:
      del path
      is_random = isinstance(variable, nnx.RngState)
      return not is_random and jnp.issubdtype(variable.dtype, jnp.inexact)

    draw = None if isinstance(module, nnx.Module) else module
    # A copy, so that the user's own module stays in training mode.
    made = nnx.merge(*nnx.split(draw(nnx.Rngs(0)) if draw else module))
    made.eval()
    graphdef, *states = nnx.split(made, is_weight, ...)
    weights, rest = states
    variables = {'/'.join(map(str, path)): (path, x) for path, x in nnx.to_flat_state(weights)}

    def from_native(net: Any) -> typing.Params:
      found = nnx.to_flat_state(nnx.split(net, is_weight, ...)[1])
      return {'/'.join(map(str, path)): x.get_value() for path, x in found}

    def to_native(params: typing.Params) -> Any:
      state = nnx.from_flat_state(
        [(path, x.replace(params[name])) for name, (path, x) in variables.items()]
      )
      return nnx.merge(graphdef, state, rest)

    return Converted(
      run=lambda net, inputs: net(inputs),
      to_native=to_native,
      from_native=from_native,
      structs={name: _struct(x.get_value()) for name, (_, x) in variables.items()},
      example=example,
      draw=draw and (lambda key: draw(nnx.Rngs(key))),
      source=options.pop('name', None) or _name(type(made)),
      **_options(options),
    )

  @staticmethod
  def from_equinox(
    module: Any, example: Any, *, batched: bool = False, **options: Any
  ) -> 'Converted':
    """Wraps an Equinox module, in inference mode; see `from_function`, without `init`.

    A function `key -> module` in its place also tells how networks are drawn. A `batched` module
    takes a batch, and not one input. A module with state is the pair (module, state) that
    `equinox.nn.make_with_state` gives, and takes (input, state).
    """
    import equinox as eqx  # Slow to import.

    def is_index(x: Any) -> bool:
      return isinstance(x, eqx.nn.StateIndex)

    draw = None if isinstance(module, eqx.Module | tuple) else module
    native = draw(jax.random.key(0)) if draw else module
    made, state = native if isinstance(native, tuple) else (native, None)
    made = eqx.nn.inference_mode(made)
    weights, static = eqx.partition(made, eqx.is_inexact_array)
    leaves = jax.tree_util.tree_leaves_with_path(made, is_leaf=is_index)
    indices = {} if state is None else {_path(k): x for k, x in leaves if is_index(x)}

    def tree(net: Any) -> Any:
      weights = eqx.filter(net[0] if indices else net, eqx.is_inexact_array)
      if not indices:
        return weights
      carried = {path: jax.tree.map(_as_float, net[1].get(x)) for path, x in indices.items()}
      return {'params': weights, 'state': carried}

    base = Model.from_function(
      made, tree(native), example, **{'name': _name(type(made)), **options}
    )

    def to_native(params: typing.Params) -> Any:
      given = base.to_native(params)
      if not indices:
        net = eqx.combine(given, static)
        return net if state is None else (net, state)
      paths = {x.marker: path for path, x in indices.items()}
      values, markers = state.tree_flatten()  # `State.set` wants weak types to stay weak.
      values = [
        jax.tree.map(_as_before, value, given['state'][paths[marker]])
        for marker, value in zip(markers, values, strict=True)
      ]
      filled = state.tree_unflatten(markers, values)
      return eqx.combine(given['params'], static), filled

    def run(net: Any, inputs: Any) -> Any:
      if state is None:
        return (net if batched else jax.vmap(net))(inputs)
      net, own = net
      return (net if batched else jax.vmap(net, in_axes=(0, None), out_axes=(0, None)))(
        inputs, own
      )[0]

    return dataclasses.replace(
      base,
      run=run,
      to_native=to_native,
      from_native=lambda net: base.from_native(tree(net)),
      draw=draw,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Converted(Model):
  """A model of another library.

  Attributes:
    run: (native form of one network, inputs [b, ...]) -> outputs.
    to_native: params -> the form that the library takes.
    from_native: its inverse.
    structs: path -> shape and dtype of every parameter.
    example: a batch of inputs, or its shape and dtype.
    draw: key -> native form of a new network; None where the library cannot say.
    source: name of the model in records, 'module:Class' of the original.
    given_spec: None infers the spec.
  """

  run: Callable[[Any, Any], Any]
  to_native: Callable[[typing.Params], Any]
  from_native: Callable[[Any], typing.Params]
  structs: Mapping[str, Any]
  example: Any
  draw: Callable[[jax.Array], Any] | None = None
  source: str = 'function'
  given_spec: spec_lib.Spec | None = None
  activation: str = ''
  task: str = 'classification'

  def __post_init__(self) -> None:
    if self.given_spec is not None:
      self.given_spec.check(dict(self.structs))

  @functools.cached_property
  def spec(self) -> spec_lib.Spec:
    """The spec that was given, or else the one inferred from the function's trace."""
    if self.given_spec is not None:
      return self.given_spec
    from wsjax.symmetry.inference import infer  # Slow to import.

    # What the function computes once and keeps, such as weights of a base, must not be a tracer.
    with contextlib.suppress(Exception), jax.ensure_compile_time_eval():
      jax.eval_shape(self.apply, dict(self.structs), self.example)
    return infer.infer(self.apply, dict(self.structs), self.example).spec

  @property
  def input_shape(self) -> tuple[int, ...]:
    """Shape of the example, without its first axis."""
    return tuple(self.example.shape[1:])

  @property
  def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Path -> shape and dtype of every parameter."""
    return dict(self.structs)

  @property
  def name(self) -> str:
    """The source."""
    return self.source

  @property
  def can_init(self) -> bool:
    """Whether the library says how networks are drawn."""
    return self.draw is not None

  @property
  def config(self) -> dict[str, Any]:
    """Empty: the original is not rebuilt from a record."""
    return {}

  def init(self, key: jax.Array) -> typing.Params:
    """Draws a network as its library does.

    Raises:
      ValueError: if the model was made from a network and not from a way to draw one.
    """
    if self.draw is None:
      raise ValueError(f'{self.source} was made from one network, which does not say how to draw.')
    return self.from_native(self.draw(key))

  def forward(
    self, params: typing.Params, inputs: Float[Array, 'b ...'], dropout: Dropout = None
  ) -> tuple[Float[Array, 'b d'], dict[str, Float[Array, 'b n']]]:
    """Runs one network; activations of hidden units are not known.

    Raises:
      ValueError: for dropout, which is the module's own.
    """
    if dropout is not None:
      raise ValueError(f'{self.source} takes no dropout of ours; leave it out of the recipe.')
    return self.run(self.to_native(params), jnp.asarray(inputs)), {}

  def flatten(self, tree: typing.PyTree) -> typing.Params:
    """Names the parameters of a native network by their paths."""
    return self.from_native(tree)

  def unflatten(self, params: typing.Params) -> typing.PyTree:
    """Gives a network its native form: variables, a module, a tree."""
    return self.to_native(params)


def from_record(name: str, config: Mapping[str, Any]) -> Model:
  """Builds the model that a checkpoint record names.

  Only models of this package are built: a record of a stranger must not choose what is imported.

  Raises:
    ValueError: if there is no such model or it takes other fields.
  """
  try:
    return config_lib.build('models', {**dict(config), 'name': name}, foreign=False)
  except (TypeError, OverflowError) as error:
    raise ValueError(f'Model {name!r} does not take {dict(config)}: {error}.') from error


def load(name: str, where: str, **fields: Any) -> Any:
  """A model of the user's own, or a function that makes one from the tensors of a network.

  Args:
    name: 'path/to/file.py:NAME' or 'module:NAME' of a `Model`; of a function that returns one, or a
      module of a JAX library and an example of its inputs, or (apply, params, inputs); or of a
      function of one more argument, name -> array.
    where: option or section that names it, for errors.
    **fields: arguments of the function.

  Raises:
    ValueError: if it is none of these.
  """
  if where.startswith('--') and ':' not in name and name not in config_lib.plugins('models'):
    raise ValueError(f'{where} is {name!r}; write FILE.py:NAME, such as net.py:net.')
  if not isinstance(name, str) or ':' not in name:
    made = config_lib.find('models', name, where)
  else:
    made = config_lib.foreign(name, where)[1]
  if isinstance(made, Model) and fields:
    raise ValueError(f'{where}: {name} is a Model, which takes no {sorted(fields)[0]!r}.')
  if callable(made) and not isinstance(made, Model) and not libraries(made):
    needed = [
      parameter
      for parameter in inspect.signature(made).parameters.values()
      if parameter.default is parameter.empty
      and parameter.name not in fields
      and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    try:
      if len(needed) == 1:
        return functools.partial(made, **fields) if fields else made
      made = made(**fields)
    except TypeError as error:
      raise ValueError(f'{where}: {name} does not take {fields}: {error}.') from error
  if isinstance(made, Model):
    return made
  if isinstance(made, tuple) and len(made) == 3 and callable(made[0]):
    return Model.from_function(*made)
  if isinstance(made, tuple) and len(made) == 2 and hasattr(made[1], 'shape'):
    of_state = isinstance(made[0], tuple) and made[0]  # (module, state)
    kinds = libraries(made[0][0] if of_state else made[0])
    if 'equinox' in kinds:
      return Model.from_equinox(*made)
    if 'flax' in kinds:
      is_linen = any(x.__module__.startswith('flax.linen') for x in type(made[0]).__mro__)
      return (Model.from_flax if is_linen else Model.from_nnx)(*made)
    if hasattr(made[0], 'init') and hasattr(made[0], 'apply'):
      return Model.from_haiku(*made)
    if callable(made[0]):
      draws_nnx = 'rngs' in inspect.signature(made[0]).parameters
      return (Model.from_nnx if draws_nnx else Model.from_equinox)(*made)
  raise ValueError(
    f'{where}: {name} gave {type(made).__name__}; needed: a wsjax.Model, (a Flax, Equinox or Haiku '
    'module, an example of its inputs), (a function of rngs that makes an nnx module or of a key '
    'that makes an Equinox module, inputs), or (apply, params, inputs).'
  )


def load_one(name: str, where: str) -> Model:
  """`load` where one model is needed; ValueError for a function of the tensors of a network."""
  made = load(name, where)
  if not isinstance(made, Model):
    raise ValueError(
      f'{where}: {name} makes a model of the tensors of each network; one model of all is needed '
      'here.'
    )
  return made


def libraries(value: Any) -> set[str]:
  """Which of Flax and Equinox an object, not a class, is a module of."""
  kinds = {kind.__module__.partition('.')[0] for kind in type(value).__mro__}
  return kinds & {'flax', 'equinox'}


def _from_init(
  init: Callable[..., typing.PyTree],
  apply: Callable[..., Any],
  example: Any,
  options: dict[str, Any],
) -> Converted:
  """Wraps a function whose parameters are drawn by (key, inputs) -> params."""

  @jax.jit  # Operation by operation, a first network takes seconds.
  def draw(key: jax.Array) -> typing.PyTree:
    return init(key, jnp.zeros(example.shape, example.dtype))

  structs = jax.eval_shape(draw, jax.random.key(0))
  return Model.from_function(apply, structs, example, **{'init': draw, **options})


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
  """Fields of `Converted` from options of a constructor."""
  allowed = {'spec': 'given_spec', 'task': 'task', 'activation': 'activation'}
  if unknown := sorted(set(options) - set(allowed)):
    raise ValueError(f'Unknown option {unknown[0]!r} of a model; allowed: {", ".join(allowed)}.')
  return {allowed[key]: value for key, value in options.items()}


def _path(keys: tuple[Any, ...]) -> str:
  return jax.tree_util.keystr(keys, simple=True, separator='/').removeprefix(_PARAMS)


def _as_float(leaf: Any) -> jax.Array | None:
  """State of a network as all can read it that reads weights; None for what is no number."""
  kind = jnp.result_type(leaf)
  if not jnp.issubdtype(kind, jnp.number):
    return None
  return leaf if jnp.issubdtype(kind, jnp.inexact) else jnp.asarray(leaf, jnp.float32)


def _as_before(own: jax.Array, leaf: jax.Array | None) -> jax.Array:
  """The inverse of `_as_float`; `own` is the state of the module itself."""
  if leaf is None:
    return own
  if jnp.issubdtype(own.dtype, jnp.inexact):
    return leaf
  return jnp.round(leaf).astype(own.dtype)


def _struct(leaf: Any) -> jax.ShapeDtypeStruct:
  return jax.ShapeDtypeStruct(np.shape(leaf), jnp.result_type(leaf))


def _name(thing: Any) -> str:
  return f'{thing.__module__}:{getattr(thing, "__qualname__", "function")}'
