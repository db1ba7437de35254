"""Imported networks that fail a screen are put aside, with the reason."""

import json

import numpy as np
import pytest
import safetensors.numpy

import wsjax
from wsjax.cli import main
from wsjax.governance import quarantine

MODEL = wsjax.mlp((6, 8, 3))


@pytest.fixture
def folder(tmp_path):
  """Thirty networks in files; two of them are not as they should be."""
  rng = np.random.default_rng(0)
  (tmp_path / 'ckpts').mkdir()
  for i in range(30):
    net = {leaf.path: rng.normal(size=leaf.shape).astype('float32') for leaf in MODEL.spec.leaves}
    if i == 3:
      net['layer0/kernel'][0, 0] = np.nan
    if i == 5:
      net['layer1/kernel'] *= 40
    safetensors.numpy.save_file(net, tmp_path / f'ckpts/net{i}.safetensors')
  return tmp_path


def test_networks_are_put_aside_with_the_reason(folder):
  zoo, aside = quarantine.import_checkpoints(MODEL, folder / 'ckpts', out=folder / 'zoo')
  assert len(zoo) == 28 and zoo.model == MODEL
  assert {reason.id: reason.screen for reason in aside} == {'net3': 'finite', 'net5': 'outlier'}
  lines = (folder / 'zoo.quarantine/reasons.jsonl').read_text().splitlines()
  assert [json.loads(line)['id'] for line in lines] == [reason.id for reason in aside]
  kept = wsjax.Zoo.open(folder / 'zoo.quarantine/zoo')
  assert kept.keys == ['net3', 'net5'] and not (folder / 'zoo.incoming').exists()
  (folder / 'file').touch()
  for taken in ('zoo', 'file'):
    with pytest.raises(ValueError, match='holds something already'):
      quarantine.import_checkpoints(MODEL, folder / 'ckpts', out=folder / taken)


def test_a_sound_folder_makes_no_quarantine(folder):
  for i in (3, 5):
    (folder / f'ckpts/net{i}.safetensors').unlink()
  zoo, aside = quarantine.import_checkpoints(MODEL, folder / 'ckpts', out=folder / 'zoo')
  assert len(zoo) == 28 and not aside
  assert sorted(path.name for path in folder.iterdir()) == ['ckpts', 'zoo']


def test_a_file_that_cannot_be_read_leaves_nothing_behind(folder):
  with pytest.raises(ValueError, match='net0'):
    quarantine.import_checkpoints(wsjax.mlp((6, 9, 3)), folder / 'ckpts', out=folder / 'zoo')
  assert sorted(path.name for path in folder.iterdir()) == ['ckpts']


def test_broken_files_and_other_models_are_put_aside_alone(folder):
  (folder / 'ckpts/net7.safetensors').write_bytes(b'no safetensors')
  content = (folder / 'ckpts/net8.safetensors').read_bytes()
  (folder / 'ckpts/net8.safetensors').write_bytes(content[: len(content) // 2])
  other = {'layer0/kernel': np.zeros((2, 2), 'f')}
  safetensors.numpy.save_file(other, folder / 'ckpts/net9.safetensors')
  zoo, aside = quarantine.import_checkpoints(MODEL, folder / 'ckpts', out=folder / 'zoo')
  assert len(zoo) == 25 and 'net10' in zoo.keys
  assert {reason.id: reason.screen for reason in aside} == {
    'net3': 'finite', 'net5': 'outlier', 'net7': 'unreadable', 'net8': 'unreadable',
    'net9': 'unreadable',
  }  # fmt: skip
  assert all('net' in r.detail for r in aside if r.screen == 'unreadable')
  lines = (folder / 'zoo.quarantine/reasons.jsonl').read_text().splitlines()
  assert len(lines) == 5 and (folder / 'ckpts/net7.safetensors').exists()
  # A mistake in what is known is no fault of a file.
  with pytest.raises(ValueError, match='licen'):
    quarantine.import_checkpoints(
      MODEL, folder / 'ckpts', [{'id': f'net{i}', 'license': 3} for i in range(30)],
      out=folder / 'zoo2',
    )  # fmt: skip


def test_the_command_says_what_it_put_aside(folder, capsys, monkeypatch):
  monkeypatch.chdir(folder)
  (folder / 'my.py').write_text('import wsjax\ndef net():\n  return wsjax.mlp((6, 8, 3))\n')
  words = 'zoo import --model my.py:net --from ckpts --out zoo'
  assert main.main(words.split()) == 0
  said = capsys.readouterr().out
  assert 'put aside net3: finite' in said and '2 networks in zoo.quarantine' in said
