import struct

import pytest

from wsjax.zoo.store import safetensors_io


def raw(fields, data=b'', length=None):
  """Bytes of a file with the given header text."""
  text = fields.encode() if isinstance(fields, str) else fields
  return struct.pack('<Q', len(text) if length is None else length) + text + data


def tensor(start=0, stop=8, shape='[2]', dtype='"F32"'):
  return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":[{start},{stop}]}}'


FOUR = 1 << 62
BAD = {
  'empty': (b'', 'too short'),
  'short length': (b'\1\0\0', 'too short'),
  'huge length': (raw('{}', length=1 << 63), 'announces a header'),
  'length past the end': (raw('{}', length=3), 'announces a header'),
  'header over 1 MiB': (raw(' ' * (1 << 20) + '{}'), 'announces a header'),
  'not JSON': (raw('{"a"'), 'is not JSON'),
  'not UTF-8': (raw(b'{"\xff":1}'), 'is not JSON'),
  'deeply nested': (raw('[' * 100_000), 'is not JSON'),
  'a long number': (raw('{"a":' + '9' * 5000 + '}'), 'is not JSON'),
  'not an object': (raw('[]'), 'not a JSON object'),
  'NaN in the header': (raw('{"a":NaN}'), 'NaN'),
  'duplicate name': (
    raw(f'{{"a":{tensor()},"a":{tensor()}}}', bytes(8)),
    "'a' is there twice",
  ),
  'duplicate field': (
    raw('{"a":{"dtype":"F32","dtype":"I32"}}'),
    "'dtype' is there twice",
  ),
  'name that leads out': (raw(f'{{"../a":{tensor()}}}', bytes(8)), 'name'),
  'dots inside': (raw(f'{{"a/../b":{tensor()}}}', bytes(8)), 'name'),
  'absolute name': (raw(f'{{"/etc/a":{tensor()}}}', bytes(8)), 'name'),
  'name with a space': (raw(f'{{"a b":{tensor()}}}', bytes(8)), 'name'),
  'name with a newline': (raw(f'{{"a\\n":{tensor()}}}', bytes(8)), 'name'),
  'empty name': (raw(f'{{"":{tensor()}}}', bytes(8)), 'name'),
  'long name': (raw(f'{{"{"a" * 257}":{tensor()}}}', bytes(8)), 'name'),
  'unknown dtype': (raw(f'{{"a":{tensor(dtype=repr("Q"))}}}'.replace("'", '"'),
                        bytes(8)), 'has dtype'),
  'dtype that is no text': (
    raw(f'{{"a":{tensor(dtype="[1]")}}}', bytes(8)), 'has dtype'),
  'shape and bytes disagree': (
    raw(f'{{"a":{tensor(shape="[3]")}}}', bytes(8)), 'not its shape'),
  'overflowing shape': (
    raw(f'{{"a":{tensor(shape=f"[{FOUR},4,2]", stop=0)}}}'), 'not its shape'),
  'negative shape': (
    raw(f'{{"a":{tensor(shape="[-2]")}}}', bytes(8)), 'list of sizes'),
  'boolean shape': (
    raw(f'{{"a":{tensor(shape="[true,2]")}}}', bytes(8)), 'list of sizes'),
  'fractional offsets': (
    raw(f'{{"a":{tensor(stop=8.0)}}}', bytes(8)), 'list of sizes'),
  'overlap': (
    raw(f'{{"a":{tensor()},"b":{tensor(4, 12)}}}', bytes(12)), 'begin at 8'),
  'gap': (
    raw(f'{{"a":{tensor()},"b":{tensor(12, 20)}}}', bytes(20)), 'begin at 8'),
  'unsorted': (
    raw(f'{{"a":{tensor(8, 16)},"b":{tensor()}}}', bytes(16)), 'begin at 0'),
  'backwards': (
    raw(f'{{"a":{tensor(0, 8)},"b":{tensor(8, 0)}}}', bytes(8)), 'not its'),
  'truncated': (raw(f'{{"a":{tensor()}}}', bytes(7)), 'truncated'),
  'trailing bytes': (raw(f'{{"a":{tensor()}}}', bytes(9)), 'added to'),
  'extra field': (raw('{"a":{"dtype":"F32","shape":[],"more":1}}'), 'only'),
  'no field': (raw('{"a":{}}'), 'only'),
  'tensor that is no object': (raw('{"a":[]}'), 'only'),
  'metadata that are no text': (raw('{"__metadata__":{"a":1}}'), 'not text'),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD)
def test_a_bad_file_is_one_clear_sentence(tmp_path, name):
  content, message = BAD[name]
  (tmp_path / 'bad.safetensors').write_bytes(content)
  for read in (safetensors_io.check_header, safetensors_io.open_mapped):
    with pytest.raises(ValueError, match=message) as caught:
      read(tmp_path / 'bad.safetensors')
    assert 'bad.safetensors' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_plain_file_of_another_writer_is_read(tmp_path):
  content = raw(f'{{"__metadata__":{{"format":"pt"}},"a.b":{tensor()}}}  ')
  (tmp_path / 'f').write_bytes(content + bytes(8))
  header = safetensors_io.check_header(tmp_path / 'f')
  assert header.metadata == {'format': 'pt'}
  a = header.tensors['a.b']
  assert (a.dtype, a.shape, a.stop - a.start) == ('float32', (2,), 8)
  assert a.start == len(content)
