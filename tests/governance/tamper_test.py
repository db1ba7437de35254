"""Every change of a release is noticed, and an untouched release never refused."""

import json
import os
import random
import shutil

import pytest

ATTESTATION = 'provenance.intoto.jsonl'


def names(folder):
  return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


def flip(rng, folder, other):
  """One bit of one file, the signatures as often as the others."""
  name = rng.choice([rng.choice(names(folder)), ATTESTATION])
  content = bytearray((folder / name).read_bytes())
  content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  (folder / name).write_bytes(content)


def truncate(rng, folder, other):
  path = folder / rng.choice(names(folder))
  path.write_bytes(path.read_bytes()[: -rng.randint(1, 9)])


def extend(rng, folder, other):
  path = folder / rng.choice(names(folder))
  path.write_bytes(path.read_bytes() + rng.randbytes(rng.randint(1, 9)))


def add(rng, folder, other):
  name = rng.choice(['x.py', '.git/config', 'zoo/.hidden', 'zoo/shards/1.safetensors', 'README'])
  (folder / name).parent.mkdir(exist_ok=True)
  (folder / name).write_bytes(rng.randbytes(rng.randint(0, 9)))


def add_folder(rng, folder, other):
  (folder / rng.choice(['empty', 'zoo/empty', '.git'])).mkdir()


def remove(rng, folder, other):
  (folder / rng.choice(names(folder))).unlink()


def rename(rng, folder, other):
  path = folder / rng.choice(names(folder))
  path.rename(path.with_name(rng.choice([path.name + '~', path.name.upper() + 'x', 'x'])))


def exchange(rng, folder, other):
  a, b = rng.sample(names(folder), 2)
  first, second = (folder / a).read_bytes(), (folder / b).read_bytes()
  (folder / a).write_bytes(second)
  (folder / b).write_bytes(first)


def link(rng, folder, other):
  """A file becomes a link to an equal one, or links are added."""
  name = rng.choice(names(folder))
  if rng.random() < 0.5:
    (folder / name).unlink()
    (folder / name).symlink_to(other / name)
  else:
    (folder / 'link').symlink_to(rng.choice([folder / name, folder, '/etc/passwd', 'nowhere']))


def bury(rng, folder, other):
  place = folder
  for _ in range(60):
    place = place / 'x'
  place.mkdir(parents=True)


def pipe(rng, folder, other):
  os.mkfifo(folder / 'pipe')


def stale(rng, folder, other):
  """The attestation of another release of the publisher."""
  shutil.copyfile(other / ATTESTATION, folder / ATTESTATION)


def mix(rng, folder, other):
  """A file of another release of the publisher."""
  different = [n for n in names(folder) if (folder / n).read_bytes() != (other / n).read_bytes()]
  name = rng.choice(different)
  shutil.copyfile(other / name, folder / name)


def edit(rng, folder, other):
  """What is signed is edited, in its envelope."""
  import base64

  value = json.loads((folder / ATTESTATION).read_text())
  statement = json.loads(base64.b64decode(value['payload']))
  build = statement['predicate']['buildDefinition']
  change = rng.randrange(5)
  if change == 0:
    statement['subject'].pop(rng.randrange(len(statement['subject'])))
  elif change == 1:
    rng.choice(statement['subject'])['digest']['sha256'] = f'{rng.getrandbits(256):064x}'
  elif change == 2:
    build['externalParameters']['name'] = 'another'
  elif change == 3:
    build['resolvedDependencies'][0]['digest']['sha256'] = f'{rng.getrandbits(256):064x}'
  else:
    statement['predicateType'] = 'https://slsa.dev/provenance/v0.2'
  value['payload'] = base64.b64encode(json.dumps(statement).encode()).decode()
  text = json.dumps(value, sort_keys=True, separators=(',', ':'))
  (folder / ATTESTATION).write_text(text + '\n')


def unsign(rng, folder, other):
  value = json.loads((folder / ATTESTATION).read_text())
  value['signatures'] = rng.choice([[], value['signatures'] * 2, None])
  (folder / ATTESTATION).write_text(json.dumps(value))


TAMPERED = (
  flip, flip, flip, flip, truncate, extend, add, add_folder, remove, rename, exchange, link, bury,
  pipe, stale, mix, edit, unsign,
)  # fmt: skip
PER_CASE = ('another key', 'revoked')


@pytest.fixture
def suite(releases, publish, zoo, keys, tmp_path):
  """Function (number of cases, seed) -> what was not noticed."""
  from wsjax.governance import revocation, verify

  kinds = ('p256', 'ed25519')
  others = {
    kind: publish(zoo, keys[kind][0], tmp_path / f'other-{kind}', contact='x') for kind in kinds
  }
  revoked = {}
  for kind in kinds:
    revoked[kind] = tmp_path / f'revoked-{kind}'
    id = zoo.records[0]['record_id']
    revocation.revoke([id], 'a test', keys[kind][0], revoked[kind])

  def run(count, seed=0):
    rng = random.Random(seed)
    missed = []
    for case in range(count):
      kind = kinds[case % 2]
      what = [*TAMPERED, *PER_CASE][case // 2 % (len(TAMPERED) + len(PER_CASE))]
      folder = tmp_path / 'case'
      shutil.copytree(releases[kind], folder)
      trusted, lists = keys[kind][1], []
      if what == 'another key':
        trusted = keys['other'][1]
      elif what == 'revoked':
        lists = [revoked[kind]]
      else:
        what(rng, folder, others[kind])
      try:
        verify.verify(folder, [trusted], revocations=lists)
        missed.append((case, getattr(what, '__name__', what)))
      except ValueError:  # Nothing else: a traceback is no answer.
        pass
      shutil.rmtree(folder)
    return missed

  return run


def test_every_kind_of_change_is_noticed(suite):
  assert not suite(2 * (len(TAMPERED) + len(PER_CASE)))


def test_every_bit_of_the_attestation_counts(releases, keys, tmp_path):
  from wsjax.governance import verify

  folder = tmp_path / 'case'
  shutil.copytree(releases['p256'], folder)
  path = folder / ATTESTATION
  content = path.read_bytes()
  rng = random.Random(1)
  # The end of the text is where base64 has bits to spare.
  places = [*rng.sample(range(len(content)), 40), *range(len(content) - 40, len(content))]
  for place in places:
    changed = bytearray(content)
    changed[place] ^= 1 << rng.randrange(8)
    path.write_bytes(changed)
    with pytest.raises(ValueError):
      verify.verify(folder, [keys['p256'][1]])


@pytest.mark.slow
def test_twelve_hundred_changes_are_noticed(suite):
  assert not suite(1200, seed=1)


@pytest.mark.slow
def test_two_hundred_untouched_releases_verify(keys, publish, tmp_path):
  import numpy as np

  import wsjax
  from wsjax.governance import verify

  model, rng = wsjax.mlp((4, 3, 2)), np.random.default_rng(0)
  for case in range(200):
    kind = ('p256', 'ed25519')[case % 2]
    count = int(rng.integers(1, 9))
    nets = [
      {leaf.path: rng.normal(size=leaf.shape).astype('float32') for leaf in model.spec.leaves}
      for _ in range(count)
    ]
    facts = {'license': ['MIT'] * count, 'redistributable': [True] * count}
    zoo = wsjax.Zoo.of(model, nets, facts).save(tmp_path / f'zoo{case}')
    out = publish(zoo, keys[kind][0], tmp_path / f'release{case}')
    copy = tmp_path / 'elsewhere' / f'release{case}'
    shutil.copytree(out, copy)
    assert len(verify.verify(copy, [keys[kind][1]]).files) >= 7
