import subprocess

import pytest

from wsjax.models import cnn, mlp, siren
from wsjax.models import model as model_lib
from wsjax.zoo.store import record as record_lib

COMMIT = '0123456789abcdef0123456789abcdef01234567'


@pytest.mark.parametrize(
  'architecture',
  [mlp.MLP(activation='tanh'), cnn.CNN(image=(8, 8, 1), channels=(4,), dense=(5,)), siren.SIREN()],
  ids=lambda a: a.name,
)
def test_a_record_carries_the_whole_spec(architecture):
  fields = record_lib.describe_model(architecture)
  assert record_lib.spec(fields) == architecture.spec
  again = model_lib.from_record(fields['arch_id'], fields['arch_config'])
  assert again == architecture
  assert {leaf['role'] for leaf in fields['param_tree']} == {'kernel', 'bias'}


def test_environment_fills_fields_of_a_record():
  fields = record_lib.environment()
  assert fields['packages']['jax'] and fields['accelerator']['count'] >= 1
  for name, value in fields.items():
    record_lib.canonical(name, value)


@pytest.mark.parametrize('layout', ['loose', 'packed', 'detached', 'worktree'])
def test_the_commit_is_read_without_git(tmp_path, monkeypatch, layout):
  monkeypatch.setattr(record_lib.shutil, 'which', lambda name: None)
  git = tmp_path / '.git'
  if layout == 'worktree':
    (tmp_path / 'main/worktrees/w').mkdir(parents=True)
    git.write_text('gitdir: main/worktrees/w\n')
    git = tmp_path / 'main/worktrees/w'
    (git / 'commondir').write_text('../..\n')
  refs = git / '../..' if layout == 'worktree' else git
  refs.mkdir(exist_ok=True)
  (git / 'HEAD').write_text('ref: refs/heads/main\n')
  if layout in ('loose', 'worktree'):
    (refs / 'refs/heads').mkdir(parents=True)
    (refs / 'refs/heads/main').write_text(f'{COMMIT}\n')
  elif layout == 'packed':
    (git / 'packed-refs').write_text(f'# pack\n{COMMIT} refs/heads/main\n')
  else:
    (git / 'HEAD').write_text(f'{COMMIT}\n')
  assert record_lib.code(tmp_path) == {'repo': 'wsjax', 'commit': COMMIT, 'dirty': None}


def test_outside_a_checkout_the_code_is_not_known(tmp_path):
  assert record_lib.code(tmp_path) is None
  (tmp_path / '.git').mkdir()
  assert record_lib.code(tmp_path) is None
  (tmp_path / '.git/HEAD').write_text('ref: refs/heads/none\n')
  assert record_lib.code(tmp_path) is None


def test_git_says_whether_the_checkout_is_dirty(tmp_path):
  if record_lib.shutil.which('git') is None:
    pytest.skip('no git program here')

  def git(*arguments):
    subprocess.run(
      ['git', '-c', 'user.name=n', '-c', 'user.email=e', *arguments],
      cwd=tmp_path,
      check=True,
      capture_output=True,
    )

  git('init')
  (tmp_path / 'file').write_text('1')
  git('add', 'file')
  git('commit', '-m', 'm')
  assert record_lib.code(tmp_path)['dirty'] is False
  (tmp_path / 'file').write_text('2')
  assert record_lib.code(tmp_path)['dirty'] is True
