"""Networks in files are aligned and compared, without a config."""

import jax
import numpy as np
import safetensors.numpy

import wsjax
from wsjax.cli import main


def test_a_moved_copy_is_at_distance_0_and_is_moved_back(folder, capsys):
  words = ['a.safetensors', 'b.safetensors', 'c.safetensors', '--model', 'net.py:net']
  assert main.main(['distance', *words]) == 0
  lines = capsys.readouterr().out.splitlines()
  shares = [float(line.split('(')[1].split()[0]) for line in lines]
  assert shares[0] < 0.1 < 10 < shares[1]
  words = ['align', 'a.safetensors', 'b.safetensors', '--model', 'net.py:net', '--format', 'torch']
  assert main.main([*words, '--out', 'moved.safetensors']) == 0
  found = safetensors.numpy.load_file('moved.safetensors')
  wanted = safetensors.numpy.load_file('a.safetensors')
  for name, value in wanted.items():
    np.testing.assert_allclose(found[name], value, atol=1e-6)


def test_zoos_are_taken_too(folder, capsys):
  model = wsjax.mlp((5, 12, 3), 'tanh')
  networks = [model.init(jax.random.key(seed)) for seed in range(4)]
  wsjax.Zoo.of(model, networks[:1]).save('one')
  wsjax.Zoo.of(model, networks).save('four')
  assert main.main(['align', 'one', 'four', '--out', 'aligned']) == 0
  assert len(list((folder / 'aligned').iterdir())) == 4
  assert main.main(['align', 'four', 'one', '--out', 'x']) == 2
  assert '4 networks' in capsys.readouterr().err
  assert main.main(['distance', 'a.safetensors', 'one']) == 2
  assert '--model' in capsys.readouterr().err
