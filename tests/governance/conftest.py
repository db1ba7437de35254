"""Keys, a small zoo with lineage, and releases of it."""

import numpy as np
import pytest

import wsjax


@pytest.fixture(scope='session')
def signing():
  """The module, where the extra that it needs is installed."""
  reason = "signing needs the extra provenance: pip install 'wsjax[provenance]'"
  for module in ('securesystemslib', 'cryptography', 'model_signing', 'in_toto_attestation'):
    pytest.importorskip(module, reason=reason)
  from wsjax.governance import signing

  return signing


@pytest.fixture(scope='session')
def keys(signing, tmp_path_factory):
  """Kind -> private and public key; 'other' is of somebody else."""
  folder = tmp_path_factory.mktemp('keys')
  made = {kind: signing.new_key(folder / f'{kind}.pem', kind) for kind in signing.KINDS}
  return made | {'other': signing.new_key(folder / 'other.pem')}


DATA = {
  'name': 'digits', 'version': '1.0.0', 'sha256': 'ab' * 32, 'license': 'CC-BY-4.0',
}  # fmt: skip


def records(count, **fields):
  """Facts about networks that learned from `DATA`."""
  shared = {'license': 'MIT', 'redistributable': True, 'datasets': [DATA]} | fields
  return [{'run_id': f'run{i}', **shared} for i in range(count)]


@pytest.fixture(scope='session')
def zoo(tmp_path_factory):
  """Six networks with licences."""
  model = wsjax.mlp((4, 3, 2))
  rng = np.random.default_rng(0)
  nets = [
    {leaf.path: rng.normal(size=leaf.shape).astype('float32') for leaf in model.spec.leaves}
    for _ in range(6)
  ]
  made = wsjax.Zoo.of(model, nets, records(6, accuracy=0.5))
  return made.save(tmp_path_factory.mktemp('zoos') / 'small')


@pytest.fixture(scope='session')
def publish(signing, tmp_path_factory):
  """Function (zoo, private key, folder) -> release, with all that a gate wants of a zoo."""
  from wsjax.governance import release, revocation

  folder = tmp_path_factory.mktemp('lists')

  def publish(zoo, key, out, **options):
    revoked = folder / signing.private_key(key).public_key.keyid
    if not revoked.exists():
      revocation.revoke([], '', key, revoked)
    options = {'contact': 'us@lab.org', 'revoked': revoked} | options
    return release.release(zoo.path, key, out, **options)

  return publish


@pytest.fixture(scope='session')
def releases(zoo, keys, publish, tmp_path_factory):
  """Kind of key -> release of the zoo."""
  folder = tmp_path_factory.mktemp('releases')
  return {kind: publish(zoo, keys[kind][0], folder / kind) for kind in ('p256', 'ed25519')}
