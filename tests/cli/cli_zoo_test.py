import pytest
from rich import console

from wsjax.cli import inspect_zoo


def _record(index, **changes):
  return {
    'arch_id': 'mlp',
    'arch_config': {'widths': [64, 16, 10]},
    'split': 'train' if index < 8 else 'holdout_audit',
    'step': 400,
    'steps': 400,
    'diverged': False,
    'final': [{'split': 'val', 'metric': 'accuracy', 'value': 0.9 + 0.005 * index}],
    'datasets': [{'name': 'digits', 'license': 'CC-BY-4.0'}],
    'parents': [],
    'generated': None,
    'license': None,
    'run_id': f'run{index}',
  } | changes


class _Zoo:
  path, digest = 'zoo', '0123abcd'

  def __init__(self, records, broken=None):
    self.records, self.broken = records, broken

  def check(self):
    if self.broken is not None:
      raise ValueError(f'Digest of network {self.broken} does not match.')


def _shown(zoo, width=100):
  terminal = console.Console(width=width, color_system=None)
  with terminal.capture() as capture:
    for part in inspect_zoo.describe(zoo, width):
      terminal.print(part)
  return capture.get()


def test_inspect_shows_counts_accuracy_and_lineage():
  records = [_record(i) for i in range(10)]
  records.append(_record(2, step=100, arch_config={'widths': [64, 16, 10]}))
  records.append(_record(3, diverged=True, final=[]))
  records.append(_record(0, arch_id='cnn', parents=[{'relation': 'finetune'}]))
  shown = _shown(_Zoo(records))
  row = next(line for line in shown.splitlines() if ' train ' in line)
  assert row.split()[:4] == ['train', '9', '1', '1']
  for text in ('holdout_audit', 'cnn', 'digits (CC-BY-4.0)', 'finetune',
               '0123abcd', 'digests of 13 networks checked'):  # fmt: skip
    assert text in shown
  assert max(map(len, shown.splitlines())) <= 100


def test_inspect_stops_at_a_wrong_digest():
  with pytest.raises(ValueError, match='network 5'):
    _shown(_Zoo([_record(i) for i in range(9)], broken=5))


def test_inspect_copes_with_a_zoo_without_accuracies():
  assert ' - ' in _shown(_Zoo([_record(0, final=None, steps=None)]))


@pytest.mark.parametrize('width', [40, 80, 100])
def test_inspect_cuts_no_number_at_any_width(width):
  records = [_record(i) for i in range(10)] + [_record(i, split='train') for i in range(10, 1200)]
  shown = _shown(_Zoo(records), width)
  assert '…' not in shown and max(map(len, shown.splitlines())) <= width
  for text in (
    'split',
    'final',
    'earlier',
    'diverged',
    'p5',
    'p50',
    'p95',
    'holdout_audit',
    '1198',
  ):
    assert text in shown
  assert ('█' in shown) == (width > 40)
