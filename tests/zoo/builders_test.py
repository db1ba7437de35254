import dataclasses
import gzip
import hashlib
import os
import pathlib
import types

import numpy as np
import pytest

from wsjax.zoo.data import builders, datasets

SIZES = {'train': 40, 'test': 20}


def _idx(array: np.ndarray) -> bytes:
  shape = np.array(array.shape, '>u4').tobytes()
  return gzip.compress(bytes((0, 0, 8, array.ndim)) + shape + array.tobytes())


@pytest.fixture
def small(tmp_path, monkeypatch):
  """A folder of small idx files that the builder takes for the originals."""
  source = tmp_path / 'raw'
  source.mkdir()
  rng = np.random.default_rng(0)
  arrays = {}
  for split, (images, labels) in builders.SPLITS.items():
    x = rng.integers(0, 256, (SIZES[split], 28, 28), np.uint8)
    y = rng.integers(0, 10, SIZES[split]).astype(np.uint8)
    (source / images).write_bytes(_idx(x))
    (source / labels).write_bytes(_idx(y))
    arrays[split] = (x, y)
  make = builders._builder

  def with_checksums(name, root):
    builder = make(name, root)
    sums = {}
    for file in source.iterdir():
      data = file.read_bytes()
      sums[f'{builder.URL}{file.name}'] = dataclasses.replace(
        builder.url_infos[f'{builder.URL}{file.name}'],
        size=len(data),
        checksum=hashlib.sha256(data).hexdigest(),
      )
    monkeypatch.setattr(type(builder), 'url_infos', sums)
    return builder

  monkeypatch.setattr(builders, '_builder', with_checksums)
  return types.SimpleNamespace(source=source, root=tmp_path / 'root', arrays=arrays)


def _rows(images: np.ndarray, labels: np.ndarray) -> set[bytes]:
  return {
    image.tobytes() + bytes([int(label)]) for image, label in zip(images, labels, strict=True)
  }


@pytest.mark.parametrize('name', builders.NAMES)
def test_prepared_images_are_those_of_the_idx_files(small, name):
  folder = builders.prepare(name, small.source, small.root)
  assert list(folder.glob('*.array_record*'))
  data = datasets.load(name, small.root, val_fraction=0.25)
  assert (len(data.train_y), len(data.val_y)) == (30, 10)
  x = np.concatenate([data.train_x, data.val_x])
  y = np.concatenate([data.train_y, data.val_y])
  bytes_x = (x * 255).round().astype(np.uint8)
  assert _rows(bytes_x, y) == _rows(*small.arrays['train'])
  assert _rows((data.test_x * 255).round().astype(np.uint8), data.test_y) == (
    _rows(*small.arrays['test'])
  )
  again = datasets.load(name, small.root, val_fraction=0.25)
  np.testing.assert_array_equal(data.val_x, again.val_x)
  assert data.sha256 == again.sha256 and data.version.count('.') == 2


def test_a_wrong_file_ends_in_one_sentence_and_leaves_nothing(small, monkeypatch):
  file = small.source / builders.SPLITS['test'][0]
  builder = builders._builder('mnist', small.root)
  monkeypatch.setattr(builders, '_builder', lambda name, root: builder)
  content = bytearray(file.read_bytes())
  content[-9] ^= 1
  file.write_bytes(bytes(content))
  with pytest.raises(ValueError, match='not the original file of mnist'):
    builders.prepare('mnist', small.source, small.root)
  file.unlink()
  with pytest.raises(ValueError, match='needs t10k-images'):
    builders.prepare('mnist', small.source, small.root)
  assert not (small.root / 'mnist').exists()


def test_an_interrupted_preparation_does_not_look_complete(small, monkeypatch):
  read_idx = builders._read_idx

  def interrupt(path, num_axes):
    if 'label' in os.fspath(path) or num_axes == 1:
      raise KeyboardInterrupt
    return read_idx(path, num_axes)

  monkeypatch.setattr(builders, '_read_idx', interrupt)
  with pytest.raises(KeyboardInterrupt):
    builders.prepare('mnist', small.source, small.root)
  with pytest.raises(ValueError, match='wsjax data prepare mnist'):
    datasets.load('mnist', small.root)
  monkeypatch.setattr(builders, '_read_idx', read_idx)
  builders.prepare('mnist', small.source, small.root)
  assert len(datasets.load('mnist', small.root).test_y) == SIZES['test']


def test_decoded_arrays_are_checked_and_can_be_made_again(small):
  builders.prepare('mnist', small.source, small.root)
  before = datasets.load('mnist', small.root)
  (file,) = (small.root / 'decoded').glob('*.npz')
  content = bytearray(file.read_bytes())
  content[5000] ^= 1
  file.write_bytes(bytes(content))
  with pytest.raises(ValueError, match='was changed on the disk'):
    datasets.load('mnist', small.root)
  file.unlink()
  np.testing.assert_array_equal(datasets.load('mnist', small.root).train_x, before.train_x)


def test_idx_files_of_another_form_are_refused(tmp_path):
  file = tmp_path / 'labels.gz'
  file.write_bytes(_idx(np.zeros((3, 2), np.uint8)))
  with pytest.raises(ValueError, match='1 axes'):
    builders._read_idx(file, 1)


def test_unknown_names_are_refused(tmp_path):
  with pytest.raises(ValueError, match='allowed: mnist'):
    builders.prepare('cifar10', tmp_path, tmp_path)


def test_no_network_ends_in_one_sentence(tmp_path, monkeypatch):
  def fail(address, timeout):
    raise OSError('no route')

  monkeypatch.setattr(builders.socket, 'create_connection', fail)
  with pytest.raises(ValueError, match='data prepare mnist --from DIR'):
    builders.prepare('mnist', None, tmp_path)


@pytest.mark.parametrize('name', builders.NAMES)
def test_checksums_of_the_originals_are_known(name, tmp_path):
  sums = builders._builder(name, tmp_path).url_infos
  files = sorted(url.rpartition('/')[-1] for url in sums)
  assert files == sorted(sum(builders.SPLITS.values(), ()))


@pytest.mark.slow
@pytest.mark.parametrize('name', builders.NAMES)
def test_original_files_prepare(shared_data, tmp_path, name):
  builders.prepare(name, pathlib.Path(shared_data) / name, tmp_path)
  data = datasets.load(name, tmp_path)
  assert len(data.train_y) == 54_000 and len(data.val_y) == 6000
  subset = np.load(shared_data / name / 'subset.npz', allow_pickle=False)
  images = subset['test_images'].reshape(-1, 784)
  have = {image.tobytes() for image in (data.test_x * 255).round().astype('u1')}
  assert all(image.tobytes() in have for image in images)
