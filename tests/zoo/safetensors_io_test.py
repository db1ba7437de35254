import errno
import os
import struct

import hypothesis
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import strategies as st

from wsjax.zoo.store import digest, safetensors_io

RNG = np.random.default_rng(0)
TENSORS = {
  'layer0/kernel': RNG.standard_normal((3, 5)).astype(np.float32),
  'layer0/bias': RNG.standard_normal(5).astype(np.float32),
  'step': np.int64(7),
  'mask': np.array([True, False, True]),
  'empty': np.zeros((0, 4), np.float16),
}


def to_bytes(tensors, metadata):
  return safetensors_io.pack(tensors, digest.canonical_json(metadata).decode())


def assert_same(tensors, expected):
  assert tensors.keys() == expected.keys()
  for name, array in expected.items():
    array = np.asarray(array)
    assert tensors[name].shape == array.shape, name
    assert tensors[name].dtype == array.dtype.newbyteorder('<'), name
    assert np.array_equal(tensors[name], array, equal_nan=array.dtype.kind == 'f')


def test_round_trip_through_a_file(tmp_path):
  metadata = {'b': [1, None, 'x'], 'a': 0.5}
  sha256 = safetensors_io.save(tmp_path / 'f', TENSORS, metadata)
  tensors, read = safetensors_io.open_mapped(tmp_path / 'f')
  assert_same(tensors, TENSORS)
  assert read == metadata
  assert sha256 == digest.of_file(tmp_path / 'f')
  assert os.listdir(tmp_path) == ['f']


@pytest.mark.parametrize('dtype', safetensors_io.DTYPES.values(), ids=str)
def test_every_dtype_round_trips_as_the_library_reads_it(tmp_path, dtype):
  a = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
  safetensors_io.save(tmp_path / 'f', {'a': a})
  assert_same(safetensors_io.open_mapped(tmp_path / 'f')[0], {'a': a})
  if dtype.itemsize == 1 and dtype.kind not in 'iub':
    return  # The library's NumPy reader has no 8-bit floats.
  library = safetensors.numpy.load_file(tmp_path / 'f')['a']
  assert library.astype(np.float64).tolist() == a.astype(np.float64).tolist()


A = RNG.standard_normal((6, 4)).astype(np.float32)
VIEWS = {
  'transposed': A.T,
  'Fortran': np.asfortranarray(A),
  'strided': A[::2, 1::2],
  'reversed': A[::-1],
  'broadcast': np.broadcast_to(A[0], (5, 4)),
  'broadcast scalar': np.broadcast_to(np.float32(3), (5, 4)),
  'permuted': A.reshape(2, 3, 4).transpose(1, 2, 0),
  'big-endian': A.astype('>f4'),
  'diagonal': np.lib.stride_tricks.as_strided(A, (4,), (5 * 4,)),
}


@pytest.mark.parametrize('name', VIEWS)
def test_any_memory_order_round_trips_exactly(tmp_path, name):
  safetensors_io.save(tmp_path / 'f', {'a': VIEWS[name]})
  (written,) = safetensors_io.open_mapped(tmp_path / 'f')[0].values()
  assert written.tolist() == VIEWS[name].tolist()


@hypothesis.given(
  names=st.lists(st.from_regex(r'[a-z]{1,3}', fullmatch=True), unique=True), seed=st.integers(0, 99)
)
def test_repeated_saves_give_the_same_bytes(names, seed):
  rng = np.random.default_rng(seed)
  tensors = {name: rng.standard_normal(rng.integers(4)) for name in names}
  metadata = {name: i for i, name in enumerate(names)}
  first = to_bytes(tensors, metadata)
  for _ in range(3):
    assert to_bytes(
      dict(reversed(tensors.items())), dict(reversed(metadata.items()))
    ) == first  # fmt: skip


def test_nan_is_allowed_at_this_level(tmp_path):
  tensors = {'a': np.array([np.nan, np.inf, -0.0], np.float32)}
  safetensors_io.save(tmp_path / 'f', tensors)
  assert_same(safetensors_io.open_mapped(tmp_path / 'f')[0], tensors)


def test_slices_are_read_through_a_memory_map(tmp_path):
  safetensors_io.save(tmp_path / 'f', TENSORS)
  tensors, _ = safetensors_io.open_mapped(tmp_path / 'f')
  kernel = tensors['layer0/kernel']
  assert isinstance(kernel.base, np.memmap) or isinstance(kernel, np.memmap)
  assert not kernel.flags.writeable
  np.testing.assert_array_equal(kernel[[2, 0]], TENSORS['layer0/kernel'][[2, 0]])


def raw(fields, data=b'', length=None):
  """Bytes of a file with the given header text."""
  text = fields.encode() if isinstance(fields, str) else fields
  return struct.pack('<Q', len(text) if length is None else length) + text + data


def tensor(start=0, stop=8, shape='[2]', dtype='"F32"'):
  return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":[{start},{stop}]}}'


@pytest.mark.parametrize(
  'metadata, message',
  [
    ('', 'metadata'),
    ('"__metadata__":{"format":"pt"},', 'metadata'),
    ('"__metadata__":{"wsjax":"{}","more":""},', 'metadata'),
    ('"__metadata__":{"wsjax":"{"},', 'broken metadata'),
    ('"__metadata__":{"wsjax":"[]"},', 'canonical'),
    ('"__metadata__":{"wsjax":"{ }"},', 'canonical'),
    ('"__metadata__":{"wsjax":"{\\"a\\":1,\\"a\\":1}"},', "'a' is there twice"),
  ],
)
def test_metadata_are_one_key_of_canonical_json(tmp_path, metadata, message):
  (tmp_path / 'f').write_bytes(raw(f'{{{metadata}"a":{tensor()}}}', bytes(8)))
  safetensors_io.check_header(tmp_path / 'f')
  with pytest.raises(ValueError, match=message):
    safetensors_io.open_mapped(tmp_path / 'f')


@hypothesis.given(data=st.data())
def test_any_flipped_bit_of_the_header_is_an_error_or_changes_nothing(data):
  content = bytearray(to_bytes({'a': A, 'b': A[0]}, {'x': 1}))
  (length,) = struct.unpack('<Q', content[:8])
  place = data.draw(st.integers(0, 8 + length - 1))
  content[place] ^= 1 << data.draw(st.integers(0, 7))
  try:
    tensors, text = safetensors_io.unpack(bytes(content), 'it')
  except ValueError:
    return
  # What passes is another name, type of equal size, or text: the digests of the record, over name,
  # dtype, shape and bytes, catch these.
  changed = digest.of_tensors(tensors) != digest.of_tensors({'a': A, 'b': A[0]})
  assert changed or text != '{"x":1}'


@pytest.mark.parametrize(
  'tensors, message',
  [
    ({'../a': A}, 'name'),
    ({'a b': A}, 'name'),
    ({'a': np.array(['text'])}, 'dtype'),
    ({'a': np.array([object()])}, 'dtype'),
    ({'a': A.astype(complex)}, 'dtype'),
    ({f'{i:0200d}': A[0] for i in range(5000)}, 'announces a header'),
  ],
  ids=range(6),
)
def test_what_cannot_be_read_back_is_not_written(tmp_path, tensors, message):
  safetensors_io.save(tmp_path / 'f', {'old': A})
  with pytest.raises(ValueError, match=message):
    safetensors_io.save(tmp_path / 'f', tensors)
  assert_same(safetensors_io.open_mapped(tmp_path / 'f')[0], {'old': A})
  assert os.listdir(tmp_path) == ['f']


def test_values_written_wrongly_are_noticed_and_nothing_is_replaced(tmp_path, monkeypatch):
  safetensors_io.save(tmp_path / 'f', {'old': A})
  # Planted: the fault of version 0.8.0, which ignores the strides.
  monkeypatch.setattr(safetensors_io.digest, 'contiguous', lambda a: a.T.copy().reshape(a.shape))
  monkeypatch.setattr(
    safetensors_io.digest,
    'of_tensors',
    lambda tensors: str({k: v.tolist() for k, v in tensors.items()}),
  )
  with pytest.raises(OSError, match='other values'):
    safetensors_io.save(tmp_path / 'f', {'new': A})
  monkeypatch.undo()
  assert_same(safetensors_io.open_mapped(tmp_path / 'f')[0], {'old': A})
  assert os.listdir(tmp_path) == ['f']


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
  safetensors_io.save(tmp_path / 'f', {'old': A})

  def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(safetensors_io.os, 'fsync', full)
  with pytest.raises(OSError, match='No space left') as caught:
    safetensors_io.save(tmp_path / 'f', {'new': A})
  assert caught.value.errno == errno.ENOSPC
  assert_same(safetensors_io.open_mapped(tmp_path / 'f')[0], {'old': A})
  assert os.listdir(tmp_path) == ['f']


def test_half_precision_is_exact(tmp_path):
  a = np.arange(-4, 4).astype(ml_dtypes.bfloat16)
  safetensors_io.save(tmp_path / 'f', {'a': a})
  read = safetensors_io.open_mapped(tmp_path / 'f')[0]['a']
  assert read.dtype == ml_dtypes.bfloat16
  assert read.tobytes() == a.tobytes()


def test_files_are_those_of_the_library_for_every_dtype():
  rng = np.random.default_rng(0)
  arrays = {}
  for i, (name, dtype) in enumerate(safetensors_io.DTYPES.items()):
    arrays[f'z{99 - i}/{name}'] = rng.integers(0, 2, size=(3, i % 3)).astype(dtype)
    arrays[f'a~{i}.{name}'] = rng.integers(0, 2, size=()).astype(dtype)
  for text in ('{}', '{"a\\n":"\u00fc\u2028\x7f"}'):
    expected = safetensors.numpy.save(arrays, {safetensors_io.METADATA_KEY: text})
    assert safetensors_io.pack(arrays, text) == expected
