"""Make an adapter of a language model from a description, by the generator of a finished run.

  wsjax personalize 'family names in Poland' --workdir runs/personalize
  wsjax personalize 'names of dogs' --workdir runs/personalize --examples dogs.txt --out adapter

It shows words of the base model and of the adapted one. --examples has a word in each line, on
which the generated adapter is tuned. --out writes it as PEFT reads it, with its record.
"""

import argparse
import time

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('text', metavar='TEXT', help='description of the words')
  parser.add_argument('--workdir', required=True, metavar='DIR', help='a run of personalize')
  parser.add_argument('--examples', metavar='FILE', help='a word in each line')
  parser.add_argument('--steps', type=int, default=15, help='of tuning on the examples')
  parser.add_argument('--out', metavar='DIR', help='new folder of the adapter')
  parser.add_argument('--sample', type=int, default=8, help='words that are shown of each')
  parser.add_argument('--prefix', default='', help='that all of them begin with')
  parser.add_argument('--seed', type=int, default=0, help='of the words')


def run(args: argparse.Namespace) -> int:
  """Makes the adapter, shows words before and after, and writes it."""
  for name in ('steps', 'sample'):
    if getattr(args, name) < 1:
      raise ValueError(f'--{name} is {getattr(args, name)}; at least 1 is needed.')
  from wsjax import config, files, personalizer

  config.check_seed(args.seed, '--seed')
  examples: list[str] = []
  if args.examples:
    try:
      text = files.read_bytes(args.examples, max_bytes=1 << 24).decode()
    except UnicodeDecodeError as error:
      raise ValueError(f'{args.examples} is not text in UTF-8: {error}.') from error
    examples = [line.strip() for line in text.splitlines() if line.strip()]
  start = time.perf_counter()
  made = personalizer.Personalizer(args.workdir)
  loaded = time.perf_counter()
  adapted = made(args.text, examples, steps=args.steps)
  words = {
    name: adapted.complete(args.sample, args.prefix, seed=args.seed, adapted=name == 'after')
    for name in ('before', 'after')
  }
  if args.out:
    adapted.save(args.out)
  done = time.perf_counter()
  for name, found in words.items():
    terminal.show_line(f'{name}: {", ".join(found)}')
  terminal.show_line(f'loaded in {loaded - start:.1f} s, answered in {done - loaded:.2f} s')
  if args.out:
    terminal.show_line(args.out)
  return 0
