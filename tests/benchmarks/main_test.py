"""`python -m benchmarks NAME` finds benchmarks by file name."""

import sys
import types

import pytest

from benchmarks import __main__ as bench


def test_benches_are_found_by_file_name(tmp_path, monkeypatch, capsys):
  assert 'timing' not in bench.benches()
  fake = types.ModuleType('benchmarks.nap', 'Sleep.')
  fake.add_arguments = lambda parser: parser.add_argument('--hours', type=int)
  fake.run = lambda args: {
    'notes': ['machine: here'],
    'rows': [{'name': 'nap', 'hours': args.hours, 'ratio': 1.23456}],
  }
  monkeypatch.setitem(sys.modules, 'benchmarks.nap', fake)
  monkeypatch.setattr(bench, 'benches', lambda: {'nap': 'Sleep.'})
  out = tmp_path / 'nap.json'
  words = ['nap', '--hours', '8', '--out', str(out)]
  assert bench.main(words) == 0
  shown = capsys.readouterr().out
  assert '1.235' in shown and 'machine: here' in shown
  assert '"hours": 8' in out.read_text()
  with pytest.raises(ValueError, match='see python -m benchmarks nap --help'):
    bench.main(['nap', '--days', '1'])
