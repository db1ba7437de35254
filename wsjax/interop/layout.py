"""Layouts: how tensors of a file become parameters of a model, and back.

PyTorch stores the weight of a dense layer as [out, in] and that of a convolution as [out, in, h,
w], Flax stores them as [in, out] and [h, w, in, out]. Names are compared layer by layer, with dots
or slashes, without prefixes that all have in common, and with `weight`, `kernel`, `scale`, `w` as
one role. Where neither names nor shapes decide, nothing is guessed.
"""

import dataclasses
import fnmatch
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from wsjax.symmetry import spec as spec_lib

# 'torch': [out, in]; 'jax': [in, out]; 'same': as the model has it.
LAYOUTS = ('torch', 'jax', 'same')
# A layout of all tensors, of each tensor by its name, or unknown.
Layout: TypeAlias = str | Mapping[str, str] | None
_ROLES = {
  **dict.fromkeys(('weight', 'kernel', 'w', 'embedding', 'scale', 'gamma'), 'weight'),
  **dict.fromkeys(('bias', 'b', 'beta', 'offset'), 'bias'),
  **dict.fromkeys(('mean', 'running_mean', 'moving_mean'), 'mean'),
  **dict.fromkeys(('var', 'running_var', 'moving_variance'), 'var'),
}
_NUMBERED = re.compile(r'(w|b|weight|kernel|bias)_?([0-9]+)')
# Parts of names that say how a network is wrapped, not which layer it is.
_WRAPPERS = {'params', 'batch_stats', '~', 'module', '_orig_mod', ''}
_TABLES = re.compile(r'emb|wte|wpe')
_TRANSPOSED = re.compile(r'transpose|deconv')
# Counters that PyTorch keeps beside a network.
UNUSED = ('*num_batches_tracked',)

_Layer: TypeAlias = tuple[str, ...]
_Roles: TypeAlias = dict[str, str]  # Role -> full name.


@dataclasses.dataclass(frozen=True)
class Move:
  """How one tensor becomes one parameter: transpose, then flip, then reorder pixels.

  Attributes:
    name: of the tensor in the file.
    path: of the parameter.
    axes: the tensor's axes in the order of the parameter's.
    flip: axes of the parameter that run backwards; windows of transposed convolutions.
    pixels: (axis, channels, pixels, to_last): an axis of the parameter behind the flatten of an
      image goes from channels x pixels to pixels x channels, or back where `to_last` is False.
    shape: of the parameter, where the heads of attention have an axis of their own in it.
    is_ambiguous: whether the shape fits with the first two axes swapped, too.
  """

  name: str
  path: str
  axes: tuple[int, ...]
  flip: tuple[int, ...] = ()
  pixels: tuple[int, int, int, bool] | None = None
  shape: tuple[int, ...] | None = None
  is_ambiguous: bool = dataclasses.field(default=False, compare=False)

  def apply(self, tensor: np.ndarray) -> np.ndarray:
    """The parameter of a tensor, which may have an axis over networks before its own."""
    first = tensor.ndim - len(self.axes)
    turned = tensor.transpose(*range(first), *(first + axis for axis in self.axes))
    flip = tuple(first + axis for axis in self.flip)
    made = self._reorder(np.flip(turned, flip) if flip else turned, first, forward=True)
    return made if self.shape is None else made.reshape(*made.shape[:first], *self.shape)

  def invert(self, parameter: np.ndarray) -> np.ndarray:
    """The tensor of a parameter."""
    parameter = np.asarray(parameter)
    if self.shape is not None:
      parameter = parameter.reshape(_without_heads(self.path, self.shape))
    flipped = np.flip(self._reorder(parameter, 0, forward=False), self.flip)
    return np.ascontiguousarray(flipped.transpose(np.argsort(self.axes)))

  def _reorder(self, array: np.ndarray, first: int, *, forward: bool) -> np.ndarray:
    if self.pixels is not None:
      axis, channels, pixels, to_last = self.pixels
      axis += first
      blocks = (channels, pixels) if to_last == forward else (pixels, channels)
      split = array.reshape(*array.shape[:axis], *blocks, *array.shape[axis + 1 :])
      array = split.swapaxes(axis, axis + 1).reshape(array.shape)
    # Not ascontiguousarray: that gives a scalar an axis.
    return np.asarray(array, order='C')


@dataclasses.dataclass(frozen=True)
class Piece:
  """A part of tensors that PyTorch keeps as one, such as a gate of a recurrent layer.

  Attributes:
    name: of the part, as if the file had it.
    sources: (tensor, place among its equal parts along the first axis); they are added.
    count: number of parts of each tensor.
    ndim: of the tensors.
  """

  name: str
  sources: tuple[tuple[str, int], ...]
  count: int
  ndim: int

  def apply(self, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    """The part; tensors may have an axis over networks before their own."""
    parts = []
    for name, place in self.sources:
      tensor = tensors[name]
      axis = tensor.ndim - self.ndim
      parts.append(np.split(tensor, self.count, axis)[place])
    return functools.reduce(np.add, parts)


@dataclasses.dataclass(frozen=True)
class Plan:
  """How a file becomes a network.

  Attributes:
    moves: one for each parameter, in the order of the model.
    unused: tensors that no parameter takes, and that nobody misses.
    layout: that was found, for people.
    pieces: parts of tensors, which moves take by their names.
  """

  moves: tuple[Move, ...]
  unused: tuple[str, ...]
  layout: str
  pieces: tuple[Piece, ...] = ()

  def apply(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Parameters of the model, of one network or of n; dtypes stay as they are."""
    tensors = {**tensors, **{piece.name: piece.apply(tensors) for piece in self.pieces}}
    return {move.path: move.apply(tensors[move.name]) for move in self.moves}

  def invert(self, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Tensors of the file, but the unused ones; of tensors that were added, the others are 0."""
    tensors = {move.name: move.invert(params[move.path]) for move in self.moves}
    whole: dict[str, list[np.ndarray]] = {}
    for piece in self.pieces:
      part = tensors.pop(piece.name)
      for number, (name, place) in enumerate(piece.sources):
        parts = whole.setdefault(name, [np.zeros_like(part)] * piece.count)
        parts[place] = part if not number else np.zeros_like(part)
    return tensors | {name: np.concatenate(parts) for name, parts in whole.items()}

  @property
  def notes(self) -> list[str]:
    """What was done besides renaming, for people."""
    texts = [f'layout {self.layout}']
    for move in self.moves:
      if move.pixels:
        texts.append(f'{move.path}: pixels reordered behind the flatten of an image')
      if move.flip:
        texts.append(f'{move.path}: window of a transposed convolution flipped')
    return texts


def plans(
  shapes: Mapping[str, tuple[int, ...]],
  spec: spec_lib.Spec,
  *,
  layout: Layout = None,
  names: Mapping[str, str] | None = None,
  ignore: Sequence[str] = (),
  flatten: str | None = None,
  by_order: bool = False,
) -> list[Plan]:
  """Finds every way in which a file may be read; one is best.

  Args:
    shapes: of the tensors, by name.
    spec: of the model whose parameters are wanted.
    layout: of the tensors; None decides by names, and else by shapes.
    names: tensor -> parameter, for those whose names do not tell.
    ignore: patterns of names, such as '*value_net*', of tensors that are left out.
    flatten: 'channels_first' or 'channels_last', the order in which the file's network flattens an
      image; None is that of its layout.
    by_order: whether layers that neither names nor shapes tell apart are taken in their order,
      which has to be compared with what the network computes.

  Raises:
    ValueError: if there is none: a tensor or a parameter is left over, or several fit.
  """
  if flatten not in (None, 'channels_first', 'channels_last'):
    raise ValueError(f'flatten is {flatten!r}; allowed: channels_first, channels_last.')
  unused = tuple(n for n in shapes if any(fnmatch.fnmatchcase(n, p) for p in (*UNUSED, *ignore)))
  shapes = {name: shape for name, shape in shapes.items() if name not in unused}
  pieces = _pieces(shapes, spec)
  if pieces:
    whole = {name for piece in pieces for name, _ in piece.sources}
    parts = {
      piece.name: (shapes[name][0] // piece.count, *shapes[name][1:])
      for piece in pieces
      for name, _ in piece.sources[:1]
    }
    shapes = {name: shape for name, shape in shapes.items() if name not in whole} | parts
    options: dict[str, Any] = {'layout': layout or 'torch', 'names': names, 'flatten': flatten}
    options['by_order'] = by_order
    found = plans(shapes, spec, **options)
    return [dataclasses.replace(plan, unused=unused, pieces=pieces) for plan in found]
  make = functools.partial(_plan, shapes, spec, by_order=by_order)
  if layout is not None:
    return [make(layout, names or {}, flatten, unused)]
  guess = _by_names(shapes, spec)
  found: dict[tuple[Move, ...], Plan] = {}
  errors: dict[str, ValueError] = {}
  for kind in dict.fromkeys([guess or 'same', *LAYOUTS]):
    try:
      plan = make(kind, names or {}, flatten, unused)
    except ValueError as error:
      errors[kind] = error
      continue
    if kind == guess:
      return [plan]
    found.setdefault(plan.moves, plan)
  if not found:
    raise errors[guess or 'torch']
  if guess and any(move.is_ambiguous for plan in found.values() for move in plan.moves):
    raise ValueError(
      f'by its names the file has the layout {guess!r}, which its shapes contradict, so that its '
      f'square matrices are ambiguous; say which layout it has ({", ".join(LAYOUTS)}).'
    )
  return list(found.values())


# Gates in the order of PyTorch, by the names of Flax.
_LSTM, _GRU, _SIMPLE = ('i', 'f', 'g', 'o'), ('r', 'z', 'n'), ('',)
_HEADS = ('query', 'key', 'value')
_RECURRENT = re.compile(r'(?:(.*)\.)?(weight|bias)_(ih|hh)(?:_(l[0-9]+(?:_reverse)?))?')
_ATTENTION = re.compile(r'(?:(.*)\.)?(?:in_proj_(weight|bias)|out_proj\.(weight|bias))')


def _pieces(shapes: Mapping[str, tuple[int, ...]], spec: spec_lib.Spec) -> tuple[Piece, ...]:
  """Parts of the recurrent and attention layers of PyTorch that Flax has as layers."""
  layers = {leaf.path.split('/')[-2] for leaf in spec.leaves if '/' in leaf.path}
  gates: tuple[str, ...] = ()
  for kind, cell in ((_LSTM, {'ig', 'hg'}), (_GRU, {'ir', 'hr'}), (_SIMPLE, {'i', 'h'})):
    gates = gates or (kind if cell <= layers else ())
  found: list[Piece] = []
  recurrent: dict[str, dict[tuple[str, str], str]] = {}
  for name, shape in shapes.items():
    if gates and (match := _RECURRENT.fullmatch(name)) and shape[0] % len(gates) == 0:
      place = '.'.join(filter(None, (match[1], match[4])))
      recurrent.setdefault(f'{place}.' if place else '', {})[match[2], match[3]] = name
  for place, names in recurrent.items():
    for number, gate in enumerate(gates):
      for side in ('i', 'h'):
        if name := names.get(('weight', f'{side}h')):
          found.append(Piece(f'{place}{side}{gate}.weight', ((name, number),), len(gates), 2))
      biases = [(name, number) for (role, _), name in names.items() if role == 'bias']
      biases.sort(key=lambda pair: '_hh' in pair[0])
      if gates == _GRU and gate == 'n':  # Its two biases are used apart.
        for side, source in zip('ih', biases, strict=False):
          found.append(Piece(f'{place}{side}n.bias', (source,), len(gates), 1))
      elif biases:
        side = 'h' if gates == _LSTM else 'i'
        found.append(Piece(f'{place}{side}{gate}.bias', tuple(biases), len(gates), 1))
  if set(_HEADS) <= layers:
    for name, shape in shapes.items():
      match = _ATTENTION.fullmatch(name)
      if not match or not shape:
        continue
      place = f'{match[1]}.' if match[1] else ''
      role, parts = (match[2], _HEADS) if match[2] else (match[3], ('out',))
      for number, part in enumerate(parts):
        found.append(Piece(f'{place}{part}.{role}', ((name, number),), len(parts), len(shape)))
  return tuple(found)


def _without_heads(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape of a parameter of attention in Flax, with its heads side by side."""
  layer, _, role = path.rpartition('/')
  layer = layer.rpartition('/')[2]
  if layer in _HEADS and len(shape) == (3 if role == 'kernel' else 2):
    return (*shape[:-2], shape[-2] * shape[-1])
  if layer == 'out' and role == 'kernel' and len(shape) == 3:
    return shape[0] * shape[1], shape[2]
  return shape


def choose(found: Sequence[Plan]) -> Plan:
  """The only plan; raises ValueError if there are several."""
  if len(found) == 1:
    return found[0]
  move = next(m for m in found[0].moves if m not in found[1].moves)
  raise ValueError(
    f'{move.name!r} is ambiguous: nothing says whether it is [out, in], as PyTorch has it, or '
    f'[in, out]; say which layout the file has ({", ".join(LAYOUTS)}), or give inputs and outputs '
    'to check.'
  )


def torch_names(paths: Iterable[str]) -> dict[str, str]:
  """Names of parameters as PyTorch would have them: path -> name."""
  roles = {'weight': 'weight', 'bias': 'bias', 'mean': 'running_mean', 'var': 'running_var'}
  made = {}
  for path in paths:
    layer, role = _split(path)
    made[path] = '.'.join((*layer, roles[role]) if role in roles else layer)
  return made if len(set(made.values())) == len(made) else {p: p.replace('/', '.') for p in made}


def to_torch(spec: spec_lib.Spec) -> Plan:
  """The plan by which a PyTorch file with names of `torch_names` would be read."""
  leaves = {leaf.path: leaf for leaf in spec.leaves}
  moves = []
  for path, name in torch_names(leaves).items():
    shape = _without_heads(path, leaves[path].shape)
    spatial = tuple(range(2, len(shape)))
    stored = shape
    if _convention(path) == 'jax' and len(shape) > 1 and not _is_table(name, path):
      pair = (shape[-2], shape[-1]) if _is_transposed(name, path) else (shape[-1], shape[-2])
      stored = (*pair, *(shape[axis - 2] for axis in spatial))
    # Of a square matrix there are two; the first is that of the layout.
    moves.append(_moves(name, stored, leaves[path], 'torch', None, _images(spec))[0])
  return Plan(tuple(moves), (), 'torch')


def _plan(
  shapes: Mapping[str, tuple[int, ...]],
  spec: spec_lib.Spec,
  layout: str | Mapping[str, str],
  names: Mapping[str, str],
  flatten: str | None,
  unused: tuple[str, ...],
  by_order: bool,
) -> Plan:
  if isinstance(layout, str) and layout not in LAYOUTS:
    raise ValueError(f'layout is {layout!r}; allowed: {", ".join(LAYOUTS)}.')
  leaves = {leaf.path: leaf for leaf in spec.leaves}
  images = _images(spec)

  def moves(name: str, path: str) -> list[Move]:
    kind = layout if isinstance(layout, str) else layout.get(name, 'torch')
    return _moves(name, shapes[name], leaves[path], kind, flatten, images)

  pairs = {}
  for name, path in names.items():
    if name in shapes:
      if path not in leaves:
        raise ValueError(f'{name!r} is to be {path!r}; the model has {", ".join(leaves)}.')
      pairs[name] = path
  rest = _pair(
    _layers([name for name in shapes if name not in pairs]),
    _layers([path for path in leaves if path not in pairs.values()]),
    lambda name, path: bool(moves(name, path)),
    {**shapes, **{path: leaf.shape for path, leaf in leaves.items()}},
    by_order,
  )
  by_path = {path: name for name, path in (pairs | rest).items()}
  found = []
  for path, leaf in leaves.items():
    options = moves(by_path[path], path)
    if not options:
      raise ValueError(
        f'{by_path[path]!r} has shape {list(shapes[by_path[path]])}, which does not become '
        f'{path!r} with {list(leaf.shape)}.'
      )
    if len(options) > 1:
      raise ValueError(
        f'{by_path[path]!r} is square, and the name {path!r} does not say whether it is [in, out]; '
        "give layout='same' if the file has it as the model has."
      )
    found.append(options[0])
  moves_found = _behind_pinned_images(found, list(leaves.values()), flatten)
  return Plan(moves_found, unused, layout if isinstance(layout, str) else 'by tensor')


def _behind_pinned_images(
  moves: Sequence[Move], leaves: Sequence[spec_lib.Leaf], flatten: str | None
) -> tuple[Move, ...]:
  """Reorders the first dense kernel behind convolutions whose channels the spec does not follow.

  Raises:
    ValueError: if `flatten` does not say how the image is flattened.
  """
  made, channels = list(moves), 0
  for i, (move, leaf) in enumerate(zip(moves, leaves, strict=True)):
    is_torch = _convention(leaf.path) == 'torch'
    if move.shape is not None:  # Heads of attention, no window.
      continue
    if len(leaf.shape) > 2:
      channels = leaf.shape[0 if is_torch else -1]
    elif len(leaf.shape) == 2 and channels:
      dim = int(is_torch)
      size, count, channels = leaf.shape[dim], channels, 0
      turned = move.axes != (0, 1)
      if not turned or leaf.axes[dim].group is not None or size == count or size % count:
        continue
      if flatten is None:
        raise ValueError(
          f'{move.name!r} may be behind the flatten of an image, whose order nothing tells; say '
          'whether it flattens channels_first, as PyTorch does, or channels_last.'
        )
      if (flatten == 'channels_last') == is_torch:
        made[i] = dataclasses.replace(move, pixels=(dim, count, size // count, not is_torch))
  return tuple(made)


def _moves(
  name: str,
  shape: tuple[int, ...],
  leaf: spec_lib.Leaf,
  layout: str,
  flatten: str | None,
  images: frozenset[str],
) -> list[Move]:
  """Ways in which a tensor becomes a parameter, in a layout; none where its shape forbids it."""
  target, ndim = _convention(leaf.path), len(shape)
  identity = tuple(range(ndim))
  flat = _without_heads(leaf.path, leaf.shape)
  if flat != leaf.shape and ndim == len(flat):
    joined = dataclasses.replace(leaf, shape=flat, axes=leaf.axes[: len(flat)])
    moves = _moves(name, shape, joined, layout, flatten, frozenset())
    return [dataclasses.replace(move, shape=leaf.shape) for move in moves]
  plain = Move(name, leaf.path, identity)
  if ndim < 2 or layout == 'same' or _is_table(name, leaf.path):
    return [plain] if shape == leaf.shape else []
  if ndim != len(leaf.shape):
    return []
  options = []
  for kind in (target,) if target else ('jax', 'torch'):
    axes, flip = identity, ()
    if layout != kind:
      is_transposed = ndim > 2 and _is_transposed(name, leaf.path)
      spatial = tuple(range(ndim - 2))
      if kind == 'jax':
        axes = (*(axis + 2 for axis in spatial), *((0, 1) if is_transposed else (1, 0)))
        flip = spatial if is_transposed else ()
      else:
        axes = (*((ndim - 2, ndim - 1) if is_transposed else (ndim - 1, ndim - 2)), *spatial)
        flip = tuple(axis + 2 for axis in spatial) if is_transposed else ()
    if tuple(shape[axis] for axis in axes) == leaf.shape:
      pixels = _pixels(leaf, kind, layout, flatten, images)
      square = shape[0] == shape[1] if ndim == 2 else False
      options.append(Move(name, leaf.path, axes, flip, pixels, is_ambiguous=square))
  return list(dict.fromkeys(options))


def _pixels(
  leaf: spec_lib.Leaf, kind: str, layout: str, flatten: str | None, images: frozenset[str]
) -> tuple[int, int, int, bool] | None:
  """`Move.pixels` of a dense kernel: the spec says how the model flattens an image."""
  if len(leaf.shape) != 2:
    return None
  dim = 0 if kind == 'jax' else 1
  axis = leaf.axes[dim]
  blocks = axis.outer * axis.inner
  if axis.group not in images or blocks == 1 or 1 not in (axis.outer, axis.inner):
    return None
  order = flatten or ('channels_first' if layout == 'torch' else 'channels_last')
  if (order == 'channels_last') == (axis.outer > 1):
    return None
  return dim, leaf.shape[dim] // blocks, blocks, axis.outer > 1


def _images(spec: spec_lib.Spec) -> frozenset[str]:
  """Groups whose units are channels of a convolution."""
  leaves = (leaf for leaf in spec.leaves if len(_without_heads(leaf.path, leaf.shape)) > 2)
  return frozenset(axis.group for leaf in leaves for axis in leaf.axes if axis.group is not None)


def _by_names(shapes: Mapping[str, tuple[int, ...]], spec: spec_lib.Spec) -> str | None:
  """The layout that names tell, if they do."""
  ends = {_last(name) for name, shape in shapes.items() if len(shape) > 1}
  if ends and ends <= {_last(leaf.path) for leaf in spec.leaves if len(leaf.shape) > 1}:
    return 'same'
  if ends and ends <= {'weight'}:
    return 'torch'
  return 'jax' if ends and ends <= {'kernel', 'embedding'} else None


def _convention(path: str) -> str | None:
  """The layout of a parameter, by its name."""
  return {'weight': 'torch', 'kernel': 'jax', 'w': 'jax', 'embedding': 'jax'}.get(_last(path))


def _is_table(name: str, path: str) -> bool:
  return _last(path) == 'embedding' or bool(_TABLES.search(f'{name} {path}'.lower()))


def _is_transposed(name: str, path: str) -> bool:
  return bool(_TRANSPOSED.search(f'{name} {path}'.lower()))


def _last(name: str) -> str:
  return re.split(r'[/.]', name)[-1]


@functools.lru_cache(maxsize=4096)
def _split(name: str) -> tuple[_Layer, str]:
  """The layer of a tensor, as parts of its name, and its role in it."""
  parts = [part for part in re.split(r'[/.]', name) if part not in _WRAPPERS]
  last = parts[-1] if parts else ''
  if last.lower() in _ROLES:
    return tuple(parts[:-1]), _ROLES[last.lower()]
  if found := _NUMBERED.fullmatch(last.lower()):
    return (*parts[:-1], found[2]), _ROLES[found[1]]
  return tuple(parts), ''


def has_role(name: str) -> bool:
  """Whether the end of a name says what the tensor is in its layer."""
  return _split(name)[1] != ''


def _layers(names: Iterable[str]) -> dict[_Layer, _Roles]:
  """Tensors by layer, without the beginning that all layers have in common."""
  found: dict[_Layer, _Roles] = {}
  for name in names:
    layer, role = _split(name)
    if role in found.setdefault(layer, {}):
      raise ValueError(f'{found[layer][role]!r} and {name!r} are the same {role} of one layer.')
    found[layer][role] = name
  while len(found) > 1 and len({layer[:1] for layer in found}) == 1 and all(found):
    found = {layer[1:]: roles for layer, roles in found.items()}
  return found


def _pair(
  sources: dict[_Layer, _Roles],
  targets: dict[_Layer, _Roles],
  fit: Callable[[str, str], bool],
  shapes: Mapping[str, tuple[int, ...]],
  by_order: bool,
) -> dict[str, str]:
  """Gives every layer of a model a layer of a file: tensor -> parameter."""

  @functools.cache
  def fits(source: _Layer, target: _Layer) -> bool:
    a, b = sources[source], targets[target]
    return a.keys() == b.keys() and all(fit(a[role], b[role]) for role in a)

  def tell(roles: Iterable[_Roles]) -> str:
    names = [name for each in roles for name in each.values()]
    shown = ', '.join(f'{name} {list(shapes[name])}' for name in names[:6])
    return shown + (f' and {len(names) - 6} more' if len(names) > 6 else '')

  pairs: dict[_Layer, _Layer] = {}  # Target -> source.
  lower = {'/'.join(layer).lower(): layer for layer in sources}
  for target in targets:
    source = lower.get('/'.join(target).lower())
    if source is not None and fits(source, target):
      pairs[target] = source
  while open_targets := [target for target in targets if target not in pairs]:
    taken = set(pairs.values())
    options = {
      target: tuple(s for s in sources if s not in taken and fits(s, target))
      for target in open_targets
    }
    if missing := [target for target, found in options.items() if not found]:
      free = tell(sources[s] for s in sources if s not in taken) or 'nothing'
      raise ValueError(
        f'no tensor becomes {tell([targets[missing[0]]])} of the model; left are {free}.'
      )
    classes: dict[tuple[_Layer, ...], list[_Layer]] = {}
    for target, found in options.items():
      classes.setdefault(found, []).append(target)
    made = {}
    for found, wanted in classes.items():
      made.update(_by_order(found, wanted))
    # Also what only one target can take.
    for source in {s for found in options.values() for s in found}:
      takers = [target for target, found in options.items() if source in found]
      if len(takers) == 1 and len(sources) == len(targets):
        made.setdefault(takers[0], source)
    if not made:
      found, wanted = next(iter(classes.items()))
      if by_order and len(found) == len(wanted):
        pairs.update(zip(wanted, _natural(found), strict=True))
        continue
      role = next(iter(sources[found[0]]))
      pair = f'{sources[found[0]][role]!r}: {targets[wanted[0]][role]!r}'
      raise ValueError(
        f'names and shapes do not tell which of {tell(sources[s] for s in found)} becomes '
        f'{tell(targets[t] for t in wanted)}; give names={{{pair}, ...}}, ignore some, or give '
        'inputs and outputs to check.'
      )
    if len(set(made.values())) < len(made):
      made = dict([next(iter(made.items()))])
    pairs.update(made)
  if left := [s for s in sources if s not in pairs.values()]:
    raise ValueError(f'no parameter takes {tell(sources[s] for s in left)}; ignore what is unused.')
  return {
    sources[source][role]: targets[target][role]
    for target, source in pairs.items()
    for role in targets[target]
  }


def _by_order(sources: Sequence[_Layer], targets: Sequence[_Layer]) -> dict[_Layer, _Layer]:
  """Pairs layers of one shape by the ends of their names, then by numbers in them."""
  if len(sources) != len(targets):
    return {}
  if len(sources) == 1:
    return {targets[0]: sources[0]}
  ends = [_by_end(layers) for layers in (sources, targets)]
  if len(ends[0]) > 1:
    if {end: len(x) for end, x in ends[0].items()} != {end: len(x) for end, x in ends[1].items()}:
      return {}
    parts = [_by_order(ends[0][end], ends[1][end]) for end in ends[0]]
    return {t: s for part in parts for t, s in part.items()} if all(parts) else {}
  for layers in (sources, targets):
    if len({re.sub('[0-9]+', '#', '/'.join(layer)) for layer in layers}) > 1:
      return {}
  return dict(zip(sorted(targets, key=_numbers), sorted(sources, key=_numbers), strict=True))


def _natural(layers: Sequence[_Layer]) -> list[_Layer]:
  """Layers in the order of numbers in their names, if these differ in nothing else."""
  is_numbered = len({re.sub('[0-9]+', '#', '/'.join(layer)) for layer in layers}) == 1
  return sorted(layers, key=_numbers) if is_numbered else list(layers)


def _by_end(layers: Sequence[_Layer]) -> dict[str, list[_Layer]]:
  """Layers by the last part of their names, without its numbers."""
  found: dict[str, list[_Layer]] = {}
  for layer in layers:
    found.setdefault(re.sub('[0-9]+', '', layer[-1] if layer else '').lower(), []).append(layer)
  return found


def _numbers(layer: _Layer) -> list[int]:
  return [int(number) for number in re.findall('[0-9]+', '/'.join(layer))]


def flat(tree: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
  """Names of the leaves of nested mappings and lists, joined by dots."""
  items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
  for key, value in items:
    if isinstance(value, Mapping | list | tuple):
      yield from flat(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value
