"""The documentation runs as it is written, and its numbers are those of results/*.json."""

import ast
import functools
import importlib
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

from tests import marks

ROOT = pathlib.Path(__file__).parents[1]
# A block with a title is a file that the reader saves.
BLOCK = re.compile(r'^```python(?: title="([^"]+)")?\n(.*?)^```', re.M | re.S)
NAME = re.compile(r'wsjax(\.\w+)+')
# Its commands and its Python need each other: tests/governance/howto_test.py runs both.
WITH_COMMANDS = ROOT / 'docs/how-to/release.md'
PAGES = [
  path.relative_to(ROOT).as_posix()
  for path in [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
  if path != WITH_COMMANDS and BLOCK.search(path.read_text())
]
# The README does in short what these do: fit, sample, evaluate and run a config of one's own.
LONG = (
  'docs/how-to/audit.md',
  'docs/how-to/experiment.md',
  'docs/how-to/generator.md',
  'docs/how-to/geometry.md',
  'docs/how-to/own_networks.md',
  'docs/how-to/personalize.md',
  'docs/how-to/predict_weights.md',
  'docs/tutorials/experiment.md',
  'docs/tutorials/generate.md',
  'docs/tutorials/properties.md',
)


@pytest.mark.parametrize('page', PAGES)
def test_every_name_and_keyword_of_wsjax_on_a_page_exists(page):
  blocks = BLOCK.findall((ROOT / page).read_text())
  nodes = [node for _, code in blocks for node in ast.walk(ast.parse(code))]
  for node in nodes:
    if isinstance(node, ast.ImportFrom) and node.module.split('.')[0] == 'wsjax':
      for name in node.names:
        assert _found(f'{node.module}.{name.name}'), ast.unparse(node)
    if isinstance(node, ast.Attribute) and NAME.fullmatch(name := ast.unparse(node)):
      assert _found(name), name
    if isinstance(node, ast.Call) and NAME.fullmatch(name := ast.unparse(node.func)):
      parameters = inspect.signature(_found(name)).parameters.values()
      if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        assert {word.arg for word in node.keywords} <= {x.name for x in parameters}, name


def _found(name):
  """What a dotted name stands for, None for nothing."""
  try:
    return importlib.import_module(name)
  except ImportError:
    return functools.reduce(
      lambda found, part: getattr(found, part, None),
      name.split('.')[1:],
      importlib.import_module('wsjax'),
    )


@pytest.mark.parametrize('page', marks.slow(PAGES, *LONG))
def test_every_block_of_python_runs_in_turn(page, tmp_path, monkeypatch):
  path = ROOT / page
  text = path.read_text()
  monkeypatch.chdir(tmp_path)
  monkeypatch.syspath_prepend(str(tmp_path))
  names = {'__name__': 'docs'}
  for block in BLOCK.finditer(text):
    if block[1]:
      (tmp_path / block[1]).write_text(block[2])
      continue
    # As many empty lines before it, so that an error points into the page.
    above = '\n' * text.count('\n', 0, block.start(2))
    exec(compile(above + block[2], str(path), 'exec'), names)


def test_the_layer_of_the_guide_takes_sixty_lines():
  text = (ROOT / 'docs/how-to/layer.md').read_text()
  right = text[text.index('## 3.') : text.index('## 5.')]
  code = ''.join(block[2] for block in BLOCK.finditer(right))
  assert 0 < len([line for line in code.splitlines() if line]) <= 60


def test_the_experiment_of_the_guide_takes_a_hundred_lines():
  text = (ROOT / 'docs/how-to/experiment.md').read_text()
  files = {block[1]: block[2] for block in BLOCK.finditer(text) if block[1]}
  assert len(files) == 2 and len(files['denoising.py'].splitlines()) <= 120


def test_the_readme_is_one_page():
  assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


def test_texts_and_results_files_agree():
  done = subprocess.run(
    [sys.executable, ROOT / 'docs/render.py', '--check'], capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr


def test_links_between_pages_lead_somewhere():
  broken = []
  for path in [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]:
    for target in re.findall(r'\]\(([^)#\s]+)', path.read_text()):
      made_with_the_site = target.startswith('images/')
      if '://' not in target and not made_with_the_site and not (path.parent / target).exists():
        broken.append(f'{path.relative_to(ROOT)}: {target}')
  assert not broken
