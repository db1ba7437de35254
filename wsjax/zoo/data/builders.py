"""MNIST and Fashion-MNIST through TFDS, without TensorFlow.

Gzip files are read and images encoded here. The result is an ordinary TFDS folder of array_record
files, beside which the decoded arrays are kept.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import pathlib
import socket
import tempfile
import urllib.parse
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

from wsjax import files, terminal

SPLITS = {
  'train': ('train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz'),
  'test': ('t10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'),
}
_BUILDERS = {
  'mnist': (tfds.image_classification.MNIST, 'CC-BY-SA-3.0'),
  'fashion_mnist': (tfds.image_classification.FashionMNIST, 'MIT'),
}
NAMES = tuple(_BUILDERS)


class _WithoutTensorFlow:
  """The two methods of a builder that would call TensorFlow."""

  def _split_generators(
    self, dl_manager: tfds.download.DownloadManager
  ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
    urls = {
      split: [urllib.parse.urljoin(self.URL, name) for name in names]
      for split, names in SPLITS.items()
    }
    # `download` and not `download_and_extract`, which hangs on gzip files.
    paths = dl_manager.download(urls)
    return {split: self._generate_examples(*files) for split, files in paths.items()}

  def _generate_examples(
    self, images: os.PathLike[str], labels: os.PathLike[str]
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    pairs = list(zip(_read_idx(images, 3), _read_idx(labels, 1), strict=True))
    for number, (image, label) in enumerate(terminal.track(pairs, f'prepare {self.name}')):
      yield number, {'image': PIL.Image.fromarray(image), 'label': int(label)}


def prepare(name: str, source: pathlib.Path | str | None, root: pathlib.Path | str) -> pathlib.Path:
  """Makes a data set ready for `datasets.load`, unless it is there already.

  Args:
    name: 'mnist' or 'fashion_mnist'.
    source: folder with the four original idx files, gzipped, under their original names; None
      leaves the download to TFDS.
    root: folder of prepared data sets, in which that of this one appears at once when all is done.

  Raises:
    ValueError: if the name is unknown, a file is missing or is not the original one, or the
      download fails.
  """
  root = pathlib.Path(root)
  builder = _builder(name, root)
  folder = pathlib.Path(builder.data_dir)
  if not folder.exists():
    if source is not None:
      source = pathlib.Path(source).absolute()
      _check_files(name, source, builder.url_infos)
    _build(name, builder, source, root)
  _decode(name, builder, root)
  return folder


def read(
  name: str, root: pathlib.Path | str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, str]]:
  """Reads a prepared data set, in the order in which TFDS stores it; arguments as in `prepare`.

  Returns:
    Training images [n, 28, 28, 1] uint8 and labels [n] int32, test images and labels, and version
    and licence.

  Raises:
    ValueError: if it has not been prepared, or was changed on the disk.
  """
  builder = _builder(name, pathlib.Path(root))
  if not pathlib.Path(builder.data_dir).exists():
    command = f'`wsjax data prepare {name} --from DIR`, DIR holding the original idx files'
    raise ValueError(f'Data set {name!r} is not in {root}; prepare it with {command}.')
  file = _decode(name, builder, pathlib.Path(root))
  data = files.read_bytes(file, max_bytes=1 << 33)
  facts = files.read_json(file.with_suffix('.json'), schema={'required': ['sha256']})
  if hashlib.sha256(data).hexdigest() != facts['sha256']:
    raise ValueError(f'{file} was changed on the disk; delete it and it is decoded anew.')
  facts = {'version': str(builder.version), 'license': _BUILDERS[name][1]}
  with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
    return *(arrays[part] for part in ('train_x', 'train_y', 'test_x', 'test_y')), facts


def _builder(name: str, root: pathlib.Path) -> tfds.core.GeneratorBasedBuilder:
  """The TFDS builder of a data set, made to work without TensorFlow."""
  if name not in _BUILDERS:
    raise ValueError(f'No builder for data set {name!r}; allowed: {", ".join(_BUILDERS)}.')
  base = _BUILDERS[name][0]
  bases, own = (_WithoutTensorFlow, base), {'name': base.name, 'url_infos': base.url_infos}
  without = type(base.__name__, bases, own, skip_registration=True)
  return without(data_dir=str(root), file_format='array_record')


def _check_files(name: str, source: pathlib.Path, url_infos: dict[str, Any]) -> None:
  """Raises ValueError unless every original file is there and intact."""
  sums = {url.rpartition('/')[-1]: info for url, info in url_infos.items()}
  for file in (source / name for names in SPLITS.values() for name in names):
    if not file.is_file():
      four = f'the four files are {", ".join(sorted(sums))}'
      raise ValueError(f'{name} needs {file.name}, which is not in {source}; {four}.')
    digest, original = hashlib.sha256(file.read_bytes()).hexdigest(), sums[file.name].checksum
    if digest != original:
      found = f'its SHA-256 is {digest}, not {original}'
      raise ValueError(f'{file} is not the original file of {name}: {found}.')


def _build(
  name: str,
  builder: tfds.core.GeneratorBasedBuilder,
  source: pathlib.Path | None,
  root: pathlib.Path,
) -> None:
  """Writes the TFDS folder; TFDS renames it into place when complete."""
  if source is None:
    _check_network(name, builder.URL)
  root.mkdir(parents=True, exist_ok=True)
  tfds.disable_progress_bar()
  with tempfile.TemporaryDirectory(prefix='.download-', dir=root) as downloads:
    config = tfds.download.DownloadConfig(manual_dir=source, try_download_gcs=False)
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints.
      builder.download_and_prepare(download_dir=downloads, download_config=config)


def _check_network(name: str, url: str) -> None:
  """Raises ValueError unless the server answers; TFDS retries for minutes."""
  address = urllib.parse.urlsplit(url)
  port = address.port or {'http': 80, 'https': 443}[address.scheme]
  try:
    socket.create_connection((address.hostname, port), timeout=20).close()
  except OSError as error:
    command = f'`wsjax data prepare {name} --from DIR`'
    problem = f'{name} cannot be downloaded from {address.hostname} ({error})'
    raise ValueError(f'{problem}; give the original files: {command}.') from error


def _decode(
  name: str, builder: tfds.core.GeneratorBasedBuilder, root: pathlib.Path
) -> pathlib.Path:
  """The file of decoded arrays, made first if it is not there.

  Decoding PNG images takes seconds; the digest is written last, so an interrupted call leaves
  nothing that looks complete.
  """
  file = root / 'decoded' / f'{name}-{builder.version}.npz'
  if file.exists() and file.with_suffix('.json').exists():
    return file
  arrays = {}
  for split in SPLITS:
    examples = builder.as_data_source(split)
    images, labels = [], []
    for example in terminal.track(examples, f'decode {name}, {split}'):
      images.append(example['image'])
      labels.append(example['label'])
    arrays[f'{split}_x'] = np.stack(images)
    arrays[f'{split}_y'] = np.array(labels, np.int32)
  buffer = io.BytesIO()
  np.savez(buffer, **arrays)
  data = buffer.getvalue()
  file.parent.mkdir(exist_ok=True)
  facts = {'sha256': hashlib.sha256(data).hexdigest()}
  with files.hold(file.parent, wait=True):  # Many runs share the folder.
    files.replace(file, data)
    files.replace(file.with_suffix('.json'), json.dumps(facts))
  return file


def _read_idx(path: os.PathLike[str], num_axes: int) -> np.ndarray:
  """A gzipped idx file of bytes.

  Source: the format is described on the MNIST page: two zero bytes, type 8 (unsigned byte), number
    of axes, then big-endian lengths and the data.
  """
  with gzip.open(path) as stream:
    data = stream.read()
  header = 4 + 4 * num_axes
  shape = np.frombuffer(data[4:header], '>u4')
  if data[:4] != bytes((0, 0, 8, num_axes)) or len(data) != header + shape.prod(dtype=np.int64):
    raise ValueError(f'{path} is not an idx file of bytes with {num_axes} axes.')
  return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
