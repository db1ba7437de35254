"""The benchmark of imports runs and compares both ways."""

import argparse

import pytest

from benchmarks import import_zoo


def options(**changes):
  return argparse.Namespace(**{'networks': 20, 'widths': '4,3,2', 'repeats': 2, **changes})


def test_an_import_is_compared_with_reading_and_hashing():
  result = import_zoo.run(options())
  assert [row['what'] for row in result['rows']] == ['read and hash', 'import', 'import and screen']
  assert min(row['cpu_ratio'] for row in result['rows']) > 0 and '20 files' in result['notes'][0]


def test_what_makes_no_sense_is_refused():
  with pytest.raises(ValueError, match='needs networks'):
    import_zoo.run(options(widths='4'))
