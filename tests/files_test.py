"""Files of others are read within bounds; files of ours never go through a link."""

import json
import os

import pytest

from wsjax import files


@pytest.fixture
def victim(tmp_path):
  """A file of the user outside the folder of a stranger."""
  path = tmp_path / 'victim'
  path.write_text('precious')
  yield path
  assert path.read_text() == 'precious'


@pytest.fixture
def folder(tmp_path):
  path = tmp_path / 'folder'
  path.mkdir()
  return path


@pytest.mark.parametrize('name', ['.report.json.tmp', 'report.json'])
def test_a_write_replaces_a_link_and_not_the_file_behind_it(folder, victim, name):
  (folder / name).symlink_to(victim)
  files.replace(folder / 'report.json', 'new')
  assert (folder / 'report.json').read_text() == 'new'
  assert os.listdir(folder) == ['report.json']


def test_a_write_replaces_what_a_killed_process_left(folder):
  (folder / '.a.tmp').write_text('half')
  files.replace(folder / 'a', b'whole')
  assert os.listdir(folder) == ['a']


def test_a_write_that_fails_leaves_the_older_file_and_its_own_error(folder):
  files.replace(folder / 'a', 'old')
  with pytest.raises(OSError, match='disk'):
    with files.replacing(folder / 'a') as file:
      file.write(b'new')
      os.unlink(file.name)  # Then the clean-up fails too.
      raise OSError(28, 'disk')
  assert (folder / 'a').read_text() == 'old'


def test_a_log_and_a_lock_are_not_opened_through_a_link(folder, victim):
  (folder / '.lock').symlink_to(victim)
  (folder / 'log').symlink_to(victim)
  with pytest.raises(ValueError, match='symbolic link'):
    files.update(folder / 'log')
  with pytest.raises(ValueError, match='symbolic link'), files.hold(folder):
    pytest.fail('held through a link')


def fifo(path):
  os.mkfifo(path)


SPECIAL = {
  'fifo': fifo,
  'folder': lambda path: path.mkdir(),
  'device': lambda path: path.symlink_to('/dev/zero'),
  'loop': lambda path: path.symlink_to(path),
  'absent': lambda path: None,
  'sparse': lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 1 << 36),
}


@pytest.mark.parametrize('kind', SPECIAL)
def test_what_is_no_file_of_a_sane_size_is_an_error_that_names_it(tmp_path, kind):
  path = tmp_path / 'report.json'
  SPECIAL[kind](path)
  with pytest.raises((ValueError, OSError), match='report.json'):
    files.read_json(path)


def test_a_link_to_a_file_is_read(tmp_path):
  (tmp_path / 'file').write_text('[1]')
  (tmp_path / 'link').symlink_to('file')
  assert files.read_json(tmp_path / 'link') == [1]


@pytest.mark.parametrize(
  'text',
  [
    '[' * 100_000,
    '[' * 65 + ']' * 65,
    '{"a": 1, "a": 2}',
    '[{"b": {"a": 1, "a": 2}}]',
    '1' + '0' * 400,
    '[18446744073709551616]',
    '1e999',
    '-' + '1' * 5000,
    '1' * 400 + '.5',
    'NaN',
    '-Infinity',
    r'"\ud800"',
    '',
    '{"a"',
    b'\xff',
    '1 2',
  ],
)
def test_json_that_two_readers_understand_differently_is_refused(text):
  with pytest.raises(ValueError, match='some/file'):
    files.parse_json(text, 'some/file')


@pytest.mark.parametrize(
  'value', [{'a': [1, -2.5, None, True, 'ü\n\U0001f600']}, 2**64 - 1, -(2**63), 1e300, 10**15, 1e17]
)
def test_json_of_ours_is_read_back(value):
  for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
    assert files.parse_json(text, 'x') == value


def test_a_schema_names_the_place(tmp_path):
  schema = {'properties': {'a': {'type': 'array', 'items': {'type': 'integer'}}}}
  assert files.parse_json('{"a": [1]}', 'x', schema=schema) == {'a': [1]}
  with pytest.raises(ValueError, match='a/1'):
    files.parse_json('{"a": [1, "b"]}', 'x', schema=schema)


def test_a_log_gives_its_entries_and_the_numbers_of_its_broken_lines(tmp_path):
  path = tmp_path / 'log'
  path.write_bytes(b'{"a": 1}\n\nnothing\n[]\r\n{"a": 1, "a": 2}\n{"a": ')
  entries, broken = files.read_json_lines(path)
  assert [line.value for line in entries] == [{'a': 1}, []]
  assert broken == [3, 5]
  assert files.read_json_lines(path, is_valid=lambda v: isinstance(v, dict))[1] == [3, 4, 5]


def test_a_sealed_file_is_read_only_as_it_was_written(tmp_path):
  path, value = tmp_path / 'report.json', {'b': [1.5, 'ü'], 'a': None, 'n': 1e22}
  files.replace(path, files.seal(value))
  assert files.read_sealed(path) == value
  text = path.read_text()
  assert files.seal(files.read_json(path)) == text
  for changed in (text.replace('1.5', '1.6'), '{}', '[]', text.replace('"sha256"', '"sha255"')):
    path.write_text(changed)
    with pytest.raises(ValueError, match='report.json'):
      files.read_sealed(path)


def test_a_damaged_log_is_set_aside_and_never_lost(tmp_path, caplog):
  for _ in range(2):
    (tmp_path / 'log').write_text('?')
    files.set_aside(tmp_path / 'log', 'no JSON')
  assert sorted(os.listdir(tmp_path)) == ['log.corrupt', 'log.corrupt1']
  assert 'no JSON' in caplog.text


def test_a_linked_folder_inside_a_folder_is_not_written_to(folder, tmp_path):
  (tmp_path / 'thesis').mkdir()
  (folder / 'train').mkdir()
  (folder / 'train/seed0').symlink_to(tmp_path / 'thesis')
  with pytest.raises(ValueError, match='seed0 is a symbolic link to a folder'):
    with files.hold(folder):
      pytest.fail('held')
  (folder / 'train/seed0').unlink()
  (tmp_path / 'own').symlink_to(folder)  # The folder itself is one that the user has named.
  with files.hold(tmp_path / 'own'):
    pass


def test_no_more_memory_is_taken_than_a_file_is_long(folder):
  (folder / 'a').write_bytes(b'abc')
  assert files.read_bytes(folder / 'a', max_bytes=1 << 50) == b'abc'
