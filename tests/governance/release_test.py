"""Releases: signed bytes, how they were made, and cards made from records."""

import base64
import json
import shutil
import subprocess
import sys

import pytest

from wsjax import files
from wsjax.cli import main
from wsjax.zoo.store import store

KINDS = ('p256', 'ed25519')


@pytest.fixture
def verify(signing):
  from wsjax.governance import verify

  return verify.verify


@pytest.mark.parametrize('kind', KINDS)
def test_a_release_verifies_with_the_key_of_its_publisher_alone(kind, releases, keys, verify):
  found = verify(releases[kind], [keys['other'][1], keys[kind][1]])
  assert 'README.md' in found.files and ('model.sig' in found.files) == (kind == 'p256')
  with pytest.raises(ValueError, match='is not trusted here'):
    verify(releases[kind], [keys['other'][1]])
  with pytest.raises(ValueError, match='No trusted key'):
    verify(releases[kind], [])


def test_the_networks_are_those_of_the_zoo(releases, zoo):
  released = store.Zoo.open(releases['ed25519'] / 'zoo')
  assert released.digest == zoo.digest and released.records == zoo.records


def test_it_says_how_it_was_made(releases, zoo, keys, verify):
  from wsjax.governance import verify as verify_lib

  found = verify(releases['ed25519'], [keys['ed25519'][1]])
  sources = {source['name']: source['digest'] for source in found.build['resolvedDependencies']}
  ids = [record['record_id'] for record in zoo.records]
  assert sources[f'zoo:{zoo.digest}'] == {'sha256': verify_lib.merkle_root(ids)}
  assert 'lock:requirements-cpu.txt' in sources
  assert verify_lib.merkle_root(ids[1:]) != verify_lib.merkle_root(ids)


def test_model_signing_itself_accepts_the_bytes_and_refuses_a_changed_one(releases, keys, tmp_path):
  hashing = pytest.importorskip('model_signing.hashing')
  verifying = pytest.importorskip('model_signing.verifying')
  copy = tmp_path / 'p256'
  shutil.copytree(releases['p256'], copy)

  def check():
    ignored = ['model.sig', 'provenance.intoto.jsonl']
    config = hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)
    made = verifying.Config().use_elliptic_key_verifier(public_key=keys['p256'][1])
    made.set_hashing_config(config).verify(copy, copy / 'model.sig')

  check()
  (copy / 'README.md').write_text('better')
  with pytest.raises(ValueError, match='Signature mismatch'):
    check()


def test_securesystemslib_itself_accepts_the_attestation(releases, signing, keys):
  from securesystemslib import dsse

  value = json.loads((releases['ed25519'] / 'provenance.intoto.jsonl').read_text())
  envelope = dsse.Envelope.from_dict(value)
  assert envelope.verify([signing.public_key(keys['ed25519'][1])], 1)
  statement = json.loads(envelope.payload)
  assert statement['predicateType'] == 'https://slsa.dev/provenance/v1'


def test_keys_of_openssl_are_keys(publish, zoo, tmp_path, verify):
  if shutil.which('openssl') is None:
    pytest.skip('openssl is not installed')
  key, public = tmp_path / 'key.pem', tmp_path / 'key.pub'
  make = ['openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out']
  subprocess.run([*make, key], check=True, capture_output=True)
  show = ['openssl', 'pkey', '-in', key, '-pubout', '-out', public]
  subprocess.run(show, check=True, capture_output=True)
  assert verify(publish(zoo, key, tmp_path / 'out'), [public]).num_bytes > 1000


def test_a_key_is_private_and_never_overwritten(keys, signing):
  private, public = keys['p256']
  assert private.stat().st_mode & 0o077 == 0
  with pytest.raises(ValueError, match='never overwritten'):
    signing.new_key(private)
  with pytest.raises(ValueError, match='not an unencrypted private key'):
    signing.private_key(public)
  with pytest.raises(ValueError, match='not a public key'):
    signing.public_key(private)


def test_a_release_is_never_overwritten_and_needs_a_run_or_a_zoo(zoo, keys, tmp_path):
  from wsjax.governance import release

  (tmp_path / 'there').mkdir()
  with pytest.raises(ValueError, match='there already'):
    release.release(zoo.path, keys['p256'][0], tmp_path / 'there')
  with pytest.raises(ValueError, match='not a published zoo'):
    release.release(tmp_path / 'there', keys['p256'][0], tmp_path / 'out')
  assert sorted(path.name for path in tmp_path.iterdir()) == ['there']


@pytest.mark.slow
def test_a_run_is_released_without_paths_of_the_machine(smoke_run, keys, verify, tmp_path):
  from wsjax.governance import gates, release

  workdir = smoke_run('hypernetwork')[1]
  private, public = keys['ed25519']
  given = [gates.Override(gate, 'A. Turing', 'a test', '2999-12-31') for gate in gates.GATES]
  out = release.release(workdir, private, tmp_path / 'out', contact='me@lab.org', overrides=given)
  found = verify(out, [public])
  assert 'report.html' in found.files and 'generator/seed0.safetensors' in found.files
  for path in out.rglob('*'):
    if path.is_file():
      assert str(workdir.parent).encode() not in path.read_bytes(), path
  assert str(workdir.parent) in (workdir / 'report.json').read_text()  # Or nothing was tested.
  report = files.read_sealed(out / 'report.json')
  assert report['facts']['Zoo']['path'] == 'zoo'
  path = out / 'report.json'
  path.write_text(path.read_text().replace('"zoo"', '"zoq"', 1))
  with pytest.raises(ValueError, match=r'report\.json'):
    verify(out, [public])


def test_what_is_revoked_is_refused_without_a_network(releases, zoo, keys, verify, tmp_path):
  from wsjax.governance import revocation

  private, public = keys['ed25519']
  release, revoked = releases['ed25519'], tmp_path / 'revoked.jsonl'
  record = zoo.records[2]
  revocation.revoke(['wsr1:' + '0' * 64], 'not ours', private, revoked)
  assert verify(release, [public], revocations=[revoked]).revocation_lists == (1, 1)
  for id in (record['record_id'], record['tensor_digest'], f'zoo:{zoo.digest}', 'ab' * 32):
    taken = tmp_path / 'taken.jsonl'
    revocation.revoke([id], 'withdrawn consent', private, taken)
    with pytest.raises(ValueError, match='was revoked on .*: withdrawn consent'):
      verify(release, [public], revocations=[revoked, taken])
    taken.unlink()


def test_a_list_that_is_not_to_be_trusted_is_no_empty_list(releases, keys, verify, tmp_path):
  from wsjax.governance import revocation

  private, public = keys['ed25519']
  revoked = tmp_path / 'revoked.jsonl'
  revocation.revoke(['ab' * 32], 'a mistake', keys['other'][0], revoked)
  for content in (revoked.read_bytes(), b'', b'{}', b'[' * 10_000):
    revoked.write_bytes(content)
    with pytest.raises(ValueError, match=r'revoked\.jsonl'):
      verify(releases['ed25519'], [public], revocations=[revoked])
  with pytest.raises(OSError):
    verify(releases['ed25519'], [public], revocations=[tmp_path / 'nothing'])
  with pytest.raises(ValueError, match='not to be trusted'):
    revoked.unlink()
    revocation.revoke(['ab' * 32], 'a mistake', keys['other'][0], revoked)
    revocation.revoke(['cd' * 32], 'another', private, revoked)


def test_a_list_grows_and_needs_ids_and_reasons(keys, tmp_path):
  from wsjax.governance import revocation, signing

  private, public = keys['p256']
  path = tmp_path / 'list'
  revocation.revoke(['ab' * 32], 'one', private, path)
  value = revocation.revoke(['zoo:' + 'ab' * 32, 'cd' * 32], 'two', private, path)
  assert value['number'] == 2 and len(value['revoked']) == 2
  assert revocation.read(path, [signing.public_key(public)]) == value
  for id, reason, problem in (('x', 'why', 'no id'), ('ab' * 32, ' ', 'needs a reason')):
    with pytest.raises(ValueError, match=problem):
      revocation.revoke([id], reason, private, path)


def test_the_bill_of_materials_is_cyclonedx(releases):
  pytest.importorskip('cyclonedx', reason="CycloneDX is checked with: pip install 'wsjax[cards]'")
  from wsjax.governance import bom

  made = json.loads((releases['p256'] / 'bom.cdx.json').read_text())
  assert bom.check(made)
  assert made['metadata']['component']['licenses'] == [{'expression': 'CC-BY-4.0 AND MIT'}]
  made['metadata']['component']['modelCard']['modelParameters']['tasks'] = 'x'
  with pytest.raises(ValueError, match='not CycloneDX'):
    bom.check(made)


def test_croissant_gives_the_records(releases, zoo):
  reason = "Croissant is checked with: pip install 'wsjax[cards]'"
  mlcroissant = pytest.importorskip('mlcroissant', reason=reason)
  pytest.importorskip('pyarrow', reason="the table of records needs: pip install 'wsjax[zoo]'")
  dataset = mlcroissant.Dataset(jsonld=releases['p256'] / 'croissant.json')
  assert not dataset.metadata.ctx.issues.errors
  rows = list(dataset.records('zoo/records'))
  found = {row['zoo/records/record_id'].decode() for row in rows}
  assert found == {record['record_id'] for record in zoo.records}


def test_the_card_is_one_of_the_hub(releases, zoo):
  yaml = pytest.importorskip('yaml', reason='front matter is read with pyyaml')
  text = (releases['p256'] / 'README.md').read_text()
  _, head, body = text.split('---\n', 2)
  front = yaml.safe_load(head)
  assert front['license_name'] == 'CC-BY-4.0 AND MIT' and front['datasets'] == ['digits']
  assert '6 networks' in body and 'us@lab.org' in body.replace('\\', '')
  assert 'redistribution is allowed' in body and 'Intended use and misuse' in body
  hub = pytest.importorskip('huggingface_hub', reason='a card is read with huggingface_hub')
  assert hub.ModelCard(text).data.library_name == 'wsjax'


def test_commands_make_keys_release_verify_and_revoke(zoo, signing, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  record = zoo.records[0]['record_id']
  for words in (
    'key our.pem --kind ed25519',
    'revoke --key our.pem --list revoked',
    f'release {zoo.path} --key our.pem --out out --contact us@lab.org --revocations revoked',
    'verify out --key our.pem.pub',
    f'revoke {record} --reason oops --key our.pem --list revoked --zoo {zoo.path}',
  ):
    assert main.main(words.split()) == 0, capsys.readouterr().err
  said = capsys.readouterr().out
  assert 'verified: 10 files' in said and 'revocation lists: number 1' in said
  assert 'revoked: number 2, 1 entries' in said
  words = 'verify out --key our.pem.pub --revocations revoked'
  assert main.main(words.split()) == 2
  assert 'must not be used' in capsys.readouterr().err


def test_verifying_needs_neither_jax_nor_numpy(releases, keys):
  script = (
    'import sys; from wsjax.governance import verify; '
    'verify.verify(sys.argv[1], sys.argv[2:]); '
    'print(sorted({"jax", "numpy"} & set(sys.modules)))'
  )
  words = [sys.executable, '-c', script, releases['p256'], keys['p256'][1]]
  done = subprocess.run(words, capture_output=True, text=True)
  assert done.stdout == '[]\n', done.stderr


def test_without_the_extra_it_says_what_to_install(monkeypatch, releases, keys, verify):
  monkeypatch.setitem(sys.modules, 'securesystemslib.dsse', None)
  with pytest.raises(ValueError, match=r"pip install 'wsjax\[provenance\]'"):
    verify(releases['ed25519'], [keys['ed25519'][1]])


def test_another_spelling_of_a_signature_is_a_change(releases, keys, verify, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(releases['ed25519'], copy)
  path = copy / 'provenance.intoto.jsonl'
  value = json.loads(path.read_text())
  (signature,) = value['signatures']
  assert base64.b64decode(signature['sig'])
  for text in (json.dumps(value), path.read_text() + '\n', ' ' + path.read_text()):
    path.write_text(text)
    with pytest.raises(ValueError, match='not spelled as it was signed'):
      verify(copy, [keys['ed25519'][1]])
