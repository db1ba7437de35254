from wsjax.symmetry import fold, plot
from wsjax.symmetry import spec as spec_lib


def test_paths_share_prefixes_and_numbers():
  names = [f'block_{i}/mlp/{leaf}' for i in range(3) for leaf in ('kernel:0', 'bias:0')]
  assert fold.fold([*names, 'head:1']) == 'block_{0..2}/mlp/{kernel:0, bias:0}, head:1'
  assert fold.fold(['a_0/x', 'a_2/x', 'a_2/y']) == 'a_{0,2}/x, a_2/y'
  assert fold.fold([]) == ''


def test_rows_of_equal_blocks_are_one():
  rows = [(f'net/up{i}', '7 units', f'net/up{i}/w:1, net/down{i}/w:0, head/w2:0') for i in range(4)]
  other = ('net/up4', '8 units', 'net/up4/w:1, net/down4/w:0, head/w2:0')
  text = 'net/up{i}/w:1, net/down{i}/w:0, head/w2:0'
  assert fold.merge([*rows, other]) == [
    (('net/up{0..3}', '7 units', text), [0, 1, 2, 3]),
    (other, [4]),
  ]


def test_rows_that_differ_elsewhere_stay():
  rows = [('a0', 'a0/w:0, b1/w:0'), ('a1', 'a1/w:0, b1/w:0')]
  assert [members for _, members in fold.merge(rows)] == [[0], [1]]


def test_a_chain_is_drawn_as_one_box():
  widths = (3, *(4,) * 9, 2)
  groups = tuple(spec_lib.Group(f'layer{i}', 4) for i in range(9))
  leaves = []
  for i in range(10):
    reads, feeds = (f'layer{i - 1}' if i else None), (f'layer{i}' if i < 9 else None)
    leaves += spec_lib.dense(f'layer{i}', widths[i], widths[i + 1], reads=reads, feeds=feeds)
  spec = spec_lib.Spec(groups, tuple(leaves))
  assert list(plot.blocks(spec)) == ['layer{0..8}']
  assert set(plot.edges(spec)) == {
    ('input', 'layer{0..8}'), ('layer{0..8}', 'layer{0..8}'), ('layer{0..8}', 'output')
  }  # fmt: skip


def test_a_name_with_dollar_signs_is_drawn_as_it_is_spelled(tmp_path):
  name = r'$\frac{$'
  groups = (spec_lib.Group(name, 4),)
  leaves = spec_lib.dense(name, 3, 4, reads=None, feeds=name)
  leaves += spec_lib.dense('$_{', 4, 2, reads=name, feeds=None)
  plot.save(spec_lib.Spec(groups, tuple(leaves)), tmp_path / 'x.svg')
  assert (tmp_path / 'x.svg').stat().st_size > 1000
