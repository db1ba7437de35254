"""The how-to of releases runs as a reader follows it, its commands among its Python."""

import pathlib
import re
import shlex

from wsjax.cli import main

PAGE = pathlib.Path(__file__).parents[2] / 'docs/how-to/release.md'
BLOCK = re.compile(r'^```(python|sh)\n(.*?)^```', re.M | re.S)


def test_every_block_runs_in_turn(signing, tmp_path, monkeypatch):
  text = PAGE.read_text()
  monkeypatch.chdir(tmp_path)
  names = {'__name__': 'docs'}
  blocks = list(BLOCK.finditer(text))
  assert {block[1] for block in blocks} == {'python', 'sh'}
  for block in blocks:
    if block[1] == 'python':
      above = '\n' * text.count('\n', 0, block.start(2))
      exec(compile(above + block[2], str(PAGE), 'exec'), names)
      continue
    for line in block[2].splitlines():
      line = line.replace('$RECORD', names['zoo'].records[0]['record_id'])
      program, *words = shlex.split(line)
      assert program == 'wsjax' and main.main(words) == 0, line
