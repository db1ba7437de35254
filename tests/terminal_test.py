"""Words of others reach no terminal as more than words; progress is told everywhere."""

import io
import pathlib
import sys

import pytest
from rich import table as rich_table

from wsjax import terminal

HOSTILE = '\x1b]0;title\x1b[31mred\x9b31m\u202eevil\u2066[bold]b[/bold][/]:smile:\ud800$x$'
SHOWN = HOSTILE
for control in '\x1b\x9b\u202e\u2066\ud800':
  SHOWN = SHOWN.replace(control, '\ufffd')


def test_plain_text_has_nothing_that_steers_a_terminal():
  assert terminal.plain(HOSTILE) == SHOWN
  assert terminal.plain('\x07\r\t') == 3 * '\ufffd'
  assert terminal.plain('τ é\n½ 漢') == 'τ é\n½ 漢'


def test_a_console_prints_words_as_they_are_spelled(capsys):
  console = terminal.console()
  console.print(HOSTILE)
  table = rich_table.Table(title=HOSTILE, caption=HOSTILE)
  table.add_column(HOSTILE, no_wrap=True)
  table.add_row(HOSTILE)
  console.print(table)
  console.print_json(data={'name': '\x9b\u202e'})
  terminal.show_line(HOSTILE)
  out = capsys.readouterr().out
  assert out.count(SHOWN) >= 4
  assert not set(out) & set('\x1b\x07\x9b\u202e\u2066\r')


@pytest.mark.parametrize('seconds, lines', [(0.01, 0), (2, 10), (30, 20)])
def test_piped_progress_is_a_line_now_and_then(seconds, lines, monkeypatch):
  clock, err = [0.0], io.StringIO()
  monkeypatch.setattr(terminal.time, 'monotonic', lambda: clock[0])
  monkeypatch.setattr(sys, 'stderr', err)
  with terminal.Progress('train', 20) as bar:
    for done in range(1, 21):
      clock[0] += seconds
      bar.update(done, 'loss 1')
  said = err.getvalue().splitlines()
  assert len(said) == lines
  assert not said or said[-1].startswith('train: 20 of 20 (100 %), loss 1, ')


def test_piped_progress_says_what_comes_first_and_the_time_that_is_left(monkeypatch, capsys):
  clock = [0.0]
  monkeypatch.setattr(terminal.time, 'monotonic', lambda: clock[0])
  with terminal.Progress('train', 1000, note='compiling') as bar:
    for done in (1, 10, 100, 999):
      clock[0] += 30
      bar.update(done)
  said = capsys.readouterr().err.splitlines()
  assert said[0] == 'train: 0 of 1000 (0 %), compiling'
  lefts = ['8.3 h left', '99 min left', '14 min left', '8.32/s']
  assert [line.rpartition(', ')[2] for line in said[1:]] == lefts


def test_progress_that_is_not_shown_says_nothing(capsys):
  with terminal.Progress('train', 1, show=False) as bar:
    bar.advance()
  assert capsys.readouterr() == ('', '')


def test_items_are_tracked_in_a_pipe_too(monkeypatch, capsys):
  clock = [0.0]
  monkeypatch.setattr(terminal.time, 'monotonic', lambda: clock[0])
  for _ in terminal.track(['a', 'b'], 'evaluate'):
    clock[0] += 11
  said = capsys.readouterr().err.splitlines()
  assert said[0].startswith('evaluate: 1 of 2 (50 %)') and len(said) == 2
  assert list(terminal.track(['a'], 'evaluate', show=False)) == ['a']
  assert capsys.readouterr().err == ''


def test_no_other_progress_is_used():
  root = pathlib.Path(terminal.__file__).parent
  users = [f for f in root.rglob('*.py') if 'rich.progress' in f.read_text()]
  assert users == []
