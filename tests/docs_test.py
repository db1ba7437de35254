"""The guides run as they are written."""

import pathlib
import re

import pytest

DOCS = sorted((pathlib.Path(__file__).parents[1] / 'docs').glob('*.md'))
BLOCK = re.compile(r'^```python\n(.*?)^```', re.M | re.S)


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.stem)
def test_every_block_of_python_runs_in_turn(path):
  text = path.read_text()
  names = {'__name__': 'docs'}
  for block in BLOCK.finditer(text):
    # As many empty lines before it, so that an error points into the page.
    above = '\n' * text.count('\n', 0, block.start(1))
    exec(compile(above + block[1], str(path), 'exec'), names)


def test_the_layer_of_the_guide_takes_sixty_lines():
  text = (DOCS[0].parent / 'write_a_layer.md').read_text()
  right = text[text.index('## 3.') : text.index('## 5.')]
  code = ''.join(block[1] for block in BLOCK.finditer(right))
  assert 0 < len([line for line in code.splitlines() if line]) <= 60
