"""Data sets that networks of a zoo are trained on, as arrays in memory."""

import dataclasses
import hashlib
import math
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np

from wsjax import config, files
from wsjax.zoo import losses

if TYPE_CHECKING:
  from wsjax.models import model as model_lib

Pair: TypeAlias = tuple[Any, Any]  # Inputs and targets.


UNLICENSED = 'NOASSERTION'  # Of data whose licence nobody has told.


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """Inputs and targets, split three ways: labelled images, or those of the user's own task.

  Attributes:
    name: of `load`.
    version: of the source.
    sha256: digest of every image and label, before splitting.
    license: SPDX expression of the source.
    train_x: [n, height, width, channels] float32 in [0, 1].
    train_y: [n] int32.
    val_x: taken out of the source's training part.
    val_y: labels of val_x.
    test_x: never for training or selection.
    test_y: labels of test_x.
    train_index: [n] places of the training examples in the source's training part, increasing.
    codes: [num_networks, num_classes] int32, the label that network i learns for every class; None
      where labels are the classes themselves.
    loss: (model, params, (x, y)) -> loss of one network on a batch, or a pair of it and metrics;
      None is the cross-entropy of classes, with all inputs and labels as above. With a loss they
      have the shapes and types that it takes.
  """

  name: str
  version: str
  sha256: str
  license: str
  train_x: np.ndarray
  train_y: np.ndarray
  val_x: np.ndarray
  val_y: np.ndarray
  test_x: np.ndarray
  test_y: np.ndarray
  train_index: np.ndarray
  codes: np.ndarray | None = None
  loss: Callable[..., Any] | None = None

  @classmethod
  def of(
    cls,
    train: Pair | None = None,
    val: Pair | None = None,
    test: Pair | None = None,
    *,
    name: str = 'own',
    license: str = UNLICENSED,
    loss: Callable[..., Any] | None = None,
  ) -> 'Dataset':
    """Makes a data set of arrays.

    Args:
      train: inputs [n, ...] and targets [n, ...] that networks learn, or None.
      val: those of the validation split, or None.
      test: those of the test split, or None.
      name: of the data.
      license: SPDX expression.
      loss: see `Dataset`; by default cross-entropy for integer or boolean targets [n], and the mean
        squared error for others.

    Raises:
      ValueError: if there is no split, inputs and targets of a split differ in number, or they are
        no numbers or not finite.
    """
    given = {'train': train, 'val': val, 'test': test}
    pairs = {
      split: (_inputs(pair[0], loss is None), _targets(pair[1]))
      for split, pair in given.items()
      if pair is not None
    }
    if not pairs:
      raise ValueError('A data set needs at least one of train, val and test.')
    digest = hashlib.sha256()
    for split, (x, y) in pairs.items():
      if len(x) != len(y) or not len(x):
        raise ValueError(f'{name}: {split} has {len(x)} inputs and {len(y)} targets.')
      for what, array in (('inputs', x), ('targets', y)):
        is_number = array.dtype.kind in 'biufc'
        if not is_number or not np.isfinite(array).all():
          wrong = (array[~np.isfinite(array)] if is_number else array).ravel()[:1].tolist()
          raise ValueError(f'{name}: {what} of {split} have to be finite numbers; got {wrong}.')
      digest.update(x.tobytes() + np.ascontiguousarray(y).tobytes())
    x, y = next(iter(pairs.values()))
    arrays = {}
    for split in given:
      arrays[f'{split}_x'], arrays[f'{split}_y'] = pairs.get(split, (x[:0], y[:0]))
    if loss is None and (y.dtype.kind not in 'iu' or y.ndim > 1):
      loss = losses.squared_error
    return cls(
      name=name, version='', sha256=digest.hexdigest(), license=license, loss=loss,
      train_index=np.arange(len(arrays['train_y'])), **arrays,
    )  # fmt: skip

  def check(self, model: 'model_lib.Model', *splits: str) -> None:
    """Compares inputs and targets of splits with what a model takes and gives.

    A loss of the user's own may do with them what it wants, and is not looked into.

    Raises:
      ValueError: if the model does not take such inputs, its outputs are no classes [b, c], a
        label is none of them, or targets of a squared error differ from the outputs in size.
    """
    if self.loss not in (None, losses.squared_error):
      return
    for split in splits:
      x, y = getattr(self, f'{split}_x'), getattr(self, f'{split}_y')
      if not len(y):
        continue
      where = f'{self.name}: {model.name} with {split} data'
      try:
        outputs = jax.eval_shape(
          model.apply, model.shapes, jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
        )
      except Exception as error:
        raise ValueError(
          f'{where}: it does not take inputs {x.shape[1:]} of {x.dtype}; its own are '
          f'{model.input_shape}. {str(error).strip().splitlines()[0][:200]}'
        ) from error
      own = getattr(outputs, 'shape', None)
      if own is None or (self.loss is None and len(own) != 2):
        raise ValueError(
          f'{where}: its outputs are {outputs}, not [b, classes]; give a loss of your own.'
        )
      if self.loss is not None:
        if math.prod(own[1:]) != math.prod(y.shape[1:]):
          raise ValueError(
            f'{where}: outputs are {own[1:]} and targets {y.shape[1:]} of {y.dtype}. Classes are '
            'integers [n]; give a loss of your own for anything else.'
          )
      elif own[1] < 2:
        raise ValueError(
          f'{where}: targets are classes, and it has one output. Give targets as floats for the '
          'squared error, or a loss of your own: wsjax.Dataset.of(train=..., test=..., loss=...).'
        )
      elif y.min() < 0 or y.max() >= own[1]:
        raise ValueError(
          f'{where}: labels are {y.min()} to {y.max()}; allowed with {own[1]} outputs: '
          f'0 to {own[1] - 1}.'
        )

  @property
  def num_classes(self) -> int:
    """Number of classes: one more than the largest label."""
    return 1 + int(max(y.max(initial=-1) for y in (self.train_y, self.val_y, self.test_y)))


# Name -> default share of the training part that becomes the val split. For digits an eighth, which
# makes 1257 / 180 / 360.
NAMES = {
  'digits': 0.125, 'mnist': 0.1, 'fashion_mnist': 0.1, 'lexicon': 0.02, 'lexicon_small': 0.05,
}  # fmt: skip


def load(
  name: str, root: str | os.PathLike[str] | None = None, *, val_fraction: float | None = None
) -> Dataset:
  """Loads a data set; ValueError if name or fraction is not allowed, or it has not been prepared.

  Args:
    name: 'digits' (inside scikit-learn), 'mnist', 'fashion_mnist'; 'lexicon' or 'lexicon_small',
      words of training tasks, see `lexicon`; or a function of the user's own as 'my_lab.data:load'
      or 'path/to/data.py:load', which gives a `Dataset` or the arguments of `Dataset.of`.
    root: folder of prepared data sets; None is $WSJAX_DATASETS or ~/.cache/wsjax.
    val_fraction: share of the source's training part that becomes the val split, drawn once with a
      fixed seed. None is `NAMES[name]`.
  """
  if ':' in name:
    if val_fraction is not None:
      raise ValueError(f'zoo.dataset.val_fraction is {val_fraction}; {name} makes its own splits.')
    found = config.find('zoo.data', name, 'zoo.dataset')()
    return found if isinstance(found, Dataset) else Dataset.of(**{'name': name, **found})
  check_name(name, 'The name of the data set')
  fraction = NAMES[name] if val_fraction is None else val_fraction
  if not 0 <= fraction < 1:
    raise ValueError(f'val_fraction must be in [0, 1); got {fraction}.')
  if name == 'digits':
    return _digits(fraction)
  if name.startswith('lexicon'):
    from wsjax.zoo.data import lexicon

    return lexicon.dataset(name, root, fraction)
  from wsjax.zoo.data import builders  # TFDS takes a second to import.

  x, y, test_x, test_y, facts = builders.read(name, default_root(root))
  return _split(name, x, y, test_x, test_y, fraction, **facts)


def check_name(name: str, where: str) -> None:
  """Raises ValueError for the name of no data set."""
  if name not in NAMES and ':' not in name:
    raise ValueError(
      f'{where} is {name!r}; allowed: {", ".join(NAMES)}, or a function of your own as '
      "'path/to/data.py:load'."
    )


def _inputs(x: Any, floats: bool) -> np.ndarray:
  """Inputs as float32; integers, such as tokens, stay if not `floats`."""
  x = np.asarray(x)
  return x.astype(np.float32) if floats or x.dtype.kind == 'f' else x


def _targets(y: Any) -> np.ndarray:
  """Targets as they are; yes and no are the classes 1 and 0."""
  y = np.asarray(y)
  return y.astype(np.int32) if y.dtype.kind == 'b' and y.ndim == 1 else y


def default_root(root: str | os.PathLike[str] | None = None) -> pathlib.Path:
  """Folder of prepared data sets: `root`, $WSJAX_DATASETS or ~/.cache/wsjax."""
  root = root or os.environ.get('WSJAX_DATASETS') or '~/.cache/wsjax'
  return files.folder(root, 'root')


def load_for(records: Iterable[Mapping[str, Any]], **arguments: Any) -> Dataset:
  """Reads a data set as `load`; ValueError if networks learned from other data of that name."""
  dataset = load(**arguments)
  own = dataset.sha256
  for record in records:  # Whatever they call it: a function of the user's own may have moved.
    for lineage in record.get('datasets') or ():
      if (other := lineage['sha256']) not in (None, own):
        found = f'its SHA-256 is {own}, and that of their {lineage["name"]!r} is {other}'
        what = 'is not what the networks of the zoo learned from'
        raise ValueError(f'The data set {dataset.name!r} {what}: {found}.')
  return dataset


def index_digest(index: np.ndarray) -> str:
  """SHA-256 of places of examples, as little-endian 64-bit integers."""
  return hashlib.sha256(np.asarray(index).astype('<i8').tobytes()).hexdigest()


def _digits(fraction: float) -> Dataset:
  """Optical recognition of handwritten digits (UCI), inside scikit-learn."""
  import sklearn.datasets

  digits = sklearn.datasets.load_digits()
  # Pixels count 0 to 16 set bits of a 4x4 block.
  x = (digits.images[..., None] * 255 / 16).round().astype(np.uint8)
  y = digits.target.astype(np.int32)
  order = np.random.default_rng(0).permutation(len(y))
  train, test = order[360:], order[:360]
  arrays = x[train], y[train], x[test], y[test]
  return _split('digits', *arrays, fraction, version='1.0.0', license='CC-BY-4.0')


def _split(
  name: str,
  x: np.ndarray,
  y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
  fraction: float,
  **facts: str,
) -> Dataset:
  """A Dataset from uint8 images, with a val split drawn from training."""
  digest = hashlib.sha256()
  for array in (x, y, test_x, test_y):
    digest.update(np.ascontiguousarray(array).tobytes())
  order = np.random.default_rng(1).permutation(len(y))
  num_val = round(fraction * len(y))
  val, train = np.sort(order[:num_val]), np.sort(order[num_val:])
  return Dataset(
    name=name,
    sha256=digest.hexdigest(),
    train_x=_unit(x[train]),
    train_y=y[train].astype(np.int32),
    val_x=_unit(x[val]),
    val_y=y[val].astype(np.int32),
    test_x=_unit(test_x),
    test_y=test_y.astype(np.int32),
    train_index=train,
    **facts,
  )


def _unit(images: np.ndarray) -> np.ndarray:
  """Bytes as float32 in [0, 1]."""
  return images.astype(np.float32) / np.float32(255)
