import hashlib

import numpy as np
import pytest

from wsjax.zoo.data import datasets


def test_digits_splits_are_fixed_and_disjoint():
  one, two = datasets.load('digits'), datasets.load('digits')
  sizes = [len(one.train_y), len(one.val_y), len(one.test_y)]
  assert sizes == [1257, 180, 360]
  assert one.sha256 == two.sha256
  np.testing.assert_array_equal(one.train_x, two.train_x)
  rows = [
    hashlib.sha256(image.tobytes()).hexdigest()
    for x in (one.train_x, one.val_x, one.test_x)
    for image in x
  ]
  # The source itself holds no image twice, so no split leaks into another.
  assert len(set(rows)) == 1797


def test_arrays_are_unit_float_images_with_int_labels():
  data = datasets.load('digits')
  assert data.train_x.shape == (1257, 8, 8, 1)
  assert data.train_x.dtype == np.float32 and data.train_y.dtype == np.int32
  assert data.train_x.min() == 0.0 and data.train_x.max() == 1.0
  assert data.num_classes == 10
  assert set(np.bincount(data.train_y) > 100) == {True}


def test_val_comes_out_of_train_only():
  all_of_it = datasets.load('digits', val_fraction=0)
  with_val = datasets.load('digits')
  assert len(all_of_it.train_y) == 1437 and len(all_of_it.val_y) == 0
  np.testing.assert_array_equal(all_of_it.test_x, with_val.test_x)
  assert all_of_it.sha256 == with_val.sha256
  digests = {datasets.index_digest(data.train_index) for data in (all_of_it, with_val)}
  assert len(digests) == 2


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (dict(name='cifar'), 'allowed: digits'),
    (dict(name='digits', val_fraction=1.0), r'\[0, 1\)'),
    (dict(name='mnist', root='/nonexistent'), 'wsjax data prepare mnist'),
  ],
)
def test_bad_requests_end_in_one_sentence(arguments, words):
  with pytest.raises(ValueError, match=words):
    datasets.load(**arguments)


def test_a_data_set_that_was_changed_is_refused_for_its_networks():
  digits = datasets.load('digits')
  record = {'datasets': [{'name': 'digits', 'sha256': digits.sha256}]}
  assert datasets.load_for([record], name='digits').sha256 == digits.sha256
  record['datasets'][0]['sha256'] = '0' * 64
  with pytest.raises(ValueError, match='digits'):
    datasets.load_for([record], name='digits')


def test_data_of_ones_own_are_compared_whatever_they_are_called(tmp_path):
  code = 'import numpy as np\ndef load():\n  x = np.{}((4, 3))\n  return dict(train=(x, x))\n'
  (tmp_path / 'a.py').write_text(code.format('zeros'))
  (tmp_path / 'b.py').write_text(code.format('ones'))
  learned = datasets.load(f'{tmp_path}/a.py:load')
  record = {'datasets': [{'name': 'moved/a.py:load', 'sha256': learned.sha256}]}
  assert datasets.load_for([record], name=f'{tmp_path}/a.py:load').sha256 == learned.sha256
  with pytest.raises(ValueError, match="not what the networks .*'moved/a.py:load'"):
    datasets.load_for([record], name=f'{tmp_path}/b.py:load')
