"""A published zoo, which tests only read."""

import shutil

import pytest

from tests.zoo import zoo_samples


@pytest.fixture(scope='session')
def published(tmp_path_factory):
  path = tmp_path_factory.mktemp('zoo')
  zoo_samples.zoo(path, 5)
  shutil.rmtree(path / 'log.lmdb')
  return path
