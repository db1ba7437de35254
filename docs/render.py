"""Renders the measured results into the README and the documentation pages.

  python docs/render.py           # writes the README, docs/*.md and their pictures
  python docs/render.py --check   # exits with 1 where a text and its results file disagree

A result is a file results/NAME.json: title, command, commit, hardware, seeds, columns and rows. A
cell is a number, [value, low, high] with a 95 % interval, or text. results/ledger.json compares
published claims with cells of these files.
"""

import argparse
import ast
import json
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parents[1]
BEGIN, END = '<!-- results: begin -->', '<!-- results: end -->'


def results() -> dict[str, dict]:
  """Results file by name."""
  return {path.stem: json.loads(path.read_text()) for path in sorted(ROOT.glob('results/*.json'))}


def picture(result: dict) -> str:
  """SVG of a results file: accuracy against novelty, or the intervals of the first measure."""
  import io

  import matplotlib

  matplotlib.use('svg')
  matplotlib.rcParams.update({'svg.hashsalt': 'wsjax', 'svg.fonttype': 'none', 'font.size': 9})
  from matplotlib import pyplot

  first, *measures = (name for name in result['columns'] if name != 'n')
  rows = [
    row for row in result['rows'] if any(_middle(row.get(name)) is not None for name in measures)
  ]
  if {'accuracy', 'distance'} <= set(measures):
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for row in rows:
      x, y = _middle(row.get('distance')), _middle(row.get('accuracy'))
      if x is not None and y is not None:
        axes.plot(x, y, 'o', ms=5)
        axes.annotate(row[first], (x, y), xytext=(5, 3), textcoords='offset points', fontsize=7)
    axes.axvline(1, lw=0.8, ls=':', color='grey')
    axes.set(xlabel='distance to the nearest training network, in τ', ylabel='accuracy %')
  else:
    measure = next(name for name in measures if any(_middle(r.get(name)) is not None for r in rows))
    rows = [row for row in rows if _middle(row.get(measure)) is not None]
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.3 * len(rows)))
    for place, row in enumerate(reversed(rows)):
      low, high = _ends(row[measure])
      axes.plot([low, high], [place, place], lw=3, alpha=0.4)
      axes.plot(_middle(row[measure]), place, 'o', ms=5, color='black')
    axes.set_yticks(range(len(rows)), [row[first] for row in reversed(rows)])
    axes.set_xlabel(result['columns'][measure])
  axes.spines[['top', 'right']].set_visible(False)
  figure.tight_layout()
  out = io.StringIO()
  figure.savefig(out, format='svg', metadata={'Date': None})
  pyplot.close(figure)
  return out.getvalue()


def _middle(value):
  if isinstance(value, list):
    return value[0]
  return value if isinstance(value, int | float) else None


def _ends(value):
  return value[1:] if isinstance(value, list) else (value, value)


def cell(value) -> str:
  """Text of a number, an interval or a word; '' where nothing was measured."""
  if value is None:
    return ''
  if isinstance(value, str):
    return value
  if isinstance(value, list):
    middle, low, high = value
    return f'{_number(middle)} [{_number(low)}, {_number(high)}]'
  return _number(value)


def _number(value: float) -> str:
  return f'{value:,}'.replace('-', '−') if abs(value) < 1e4 else f'{value:,.0f}'


def table(result: dict, rows: list[str] | None = None, columns: list[str] | None = None) -> str:
  """Markdown table of a results file, of some rows and columns where they are named."""
  first = next(iter(result['columns']))
  names = columns or list(result['columns'])
  lines = [
    '| ' + ' | '.join(result['columns'][name] for name in names) + ' |',
    '|' + '---|' * len(names),
  ]
  for row in result['rows']:
    if rows is None or row[first] in rows:
      lines.append('| ' + ' | '.join(cell(row.get(name)) for name in names) + ' |')
  return '\n'.join(lines)


def results_page(found: dict[str, dict]) -> str:
  """Every results file as a section."""
  parts = [
    '# Measured results',
    'Generated from `results/*.json` by `make results`. Intervals are 95 %. d/τ is the median '
    'distance to the nearest training network, in units of τ, the median distance between '
    'independent training runs; see the [glossary](concepts/glossary.md) for the gates G, G½ and '
    'G_b.',
  ]
  for name, result in found.items():
    if name == 'ledger':
      continue
    seeds = f', {result["seeds"]} training seeds' if result['seeds'] > 1 else ''
    parts += [
      f'## {result["title"]} {{#{name}}}',
      table(result),
      '\n'.join(f'- {note}' for note in result['notes']),
      f'`{result["command"]}` at commit {result["commit"]}, {result["hardware"]}{seeds}.',
    ]
  return '\n\n'.join(parts) + '\n'


def ledger_page(found: dict[str, dict]) -> str:
  """Published claims beside our figures; `{file/row/column}` stands for a cell."""
  ledger = found['ledger']

  def fill(text: str) -> str:
    return re.sub(r'\{(\w+)/([^{}]+)/(\w+)\}', lambda m: _lookup(found, *m.groups()), text)

  lines = ['| claim | theirs | ours | verdict | results |', '|---|---|---|---|---|']
  for row in ledger['rows']:
    link = ', '.join(f'[{name}](results.md#{name})' for name in row['results'])
    cells = [row['claim'], row['theirs'], fill(row['ours']), fill(row['verdict']), link]
    lines.append('| ' + ' | '.join(cells) + ' |')
  return (
    '\n\n'.join(['# Ledger of published claims', ledger['introduction'], '\n'.join(lines)]) + '\n'
  )


def _lookup(found: dict[str, dict], name: str, row: str, column: str) -> str:
  result = found[name]
  first = next(iter(result['columns']))
  match = [entry for entry in result['rows'] if entry[first] == row]
  if len(match) != 1 or column not in match[0]:
    raise ValueError(f'results/{name}.json has no cell {row!r}, {column!r}.')
  return cell(match[0][column])


def gallery_page(found: dict[str, dict]) -> str:
  """A card per config: first lines of its docstring, command and headline table."""
  parts = ['# Gallery of configs', 'One card per config; every config has the option `smoke`.']
  for path in sorted(ROOT.glob('configs/*.py')):
    if path.stem == 'common':  # Blocks that configs share.
      continue
    text = ast.get_docstring(ast.parse(path.read_text()))
    title, _, rest = text.partition('\n')
    paragraphs = rest.strip('\n').split('\n\n')
    summary = next(p for p in paragraphs if not p.startswith('  '))
    parts += [f'## {title.rstrip(".")}', summary]
    parts.append(f'```\nwsjax run --config configs/{path.name} --workdir runs/{path.stem}\n```')
    if path.stem in found:
      parts.append(f'![Measured results of {path.stem}](images/{path.stem}.svg)')
      parts.append(f'[Measured results](results.md#{path.stem})')
  return '\n\n'.join(parts) + '\n'


def cli_page() -> str:
  """Help of every command, as `wsjax COMMAND --help` prints it."""
  os.environ['COLUMNS'] = '96'
  from wsjax.cli import main

  parser = main._parser()
  parts = ['# Command line', f'```text\n{parser.format_help()}```']
  commands = next(a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
  for name, command in commands.items():
    parts.append(f'## wsjax {name}\n\n```text\n{command.format_help()}```')
  return '\n\n'.join(parts) + '\n'


def readme(found: dict[str, dict]) -> str:
  """README with its table of headline results."""
  text = (ROOT / 'README.md').read_text()
  start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
  headline = table(
    found['hypernetwork'],
    rows=[
      'digits, 512 networks 64-16-10', 'digits, best baseline of each gate', 'digits, fresh runs',
      'MNIST, 100 networks 784-32-32-10', 'MNIST, 100, own noise', 'MNIST, every baseline',
      'MNIST, 100, fresh runs',
    ],
    columns=['method', 'n', 'accuracy', 'distance', 'copies', 'gate_strict', 'gate_half'],
  )  # fmt: skip
  return f'{text[:start]}\n{headline}\n{text[stop:]}'


def page_picture(workdir: str, title: str) -> str:
  """A picture of the page of a run, in the page's light colours."""
  page = (pathlib.Path(workdir) / 'report.html').read_text()
  svg = re.search(rf'<svg [^>]*aria-label="{re.escape(title)}".*?</svg>', page, re.S)[0]
  colours = {}
  for name, colour in re.findall(r'--([a-z]+): *(#[0-9a-f]+)', page):
    colours.setdefault(name, colour)
  for name, colour in colours.items():
    svg = svg.replace(f'var(--{name})', colour)
  style = f'style="background: {colours["paper"]}"'
  return svg.replace('<svg ', f'<svg xmlns="http://www.w3.org/2000/svg" {style} ', 1) + '\n'


def main() -> int:
  """Writes the pages, or compares them with `--check`.

  `--picture DIR TITLE NAME` draws a picture of the page of a run into docs/images/NAME.svg.
  """
  if '--picture' in sys.argv:
    workdir, title, name = sys.argv[sys.argv.index('--picture') + 1 :]
    (ROOT / f'docs/images/{name}.svg').write_text(page_picture(workdir, title))
    return 0
  found = results()
  pages = {
    'README.md': readme(found),
    'docs/results.md': results_page(found),
    'docs/ledger.md': ledger_page(found),
    'docs/gallery.md': gallery_page(found),
  }
  if '--check' not in sys.argv:  # Not kept in the repository.
    pages['docs/cli.md'] = cli_page()
    for path in ROOT.glob('configs/*.py'):
      if path.stem in found:
        pages[f'docs/images/{path.stem}.svg'] = picture(found[path.stem])
  stale = []
  for name, text in pages.items():
    path = ROOT / name
    if not path.exists() or path.read_text() != text:
      stale.append(name)
      if '--check' not in sys.argv:
        path.parent.mkdir(parents=True, exist_ok=True)
      path.write_text(text)
  if '--check' in sys.argv and stale:
    sys.stderr.write(f'{", ".join(stale)} differ from results/*.json; run make results.\n')
    return 1
  return 0


if __name__ == '__main__':
  sys.exit(main())
