"""Survey the geometry of a zoo: barriers, flatness, dimension, implicit bias, modularity.

  wsjax geometry runs/demo/zoo --workdir runs/geometry
  wsjax geometry my_zoo --model net.py:net --data data.py:load --dims 10 100 --workdir runs/geometry

The data are those that the zoo was trained on, where `wsjax zoo build` trained it; --data names
others. Without data there is no loss, and only weights are looked at. Everything else that the
config configs/geometry.py can do is in `wsjax run --config wsjax/geometry`.
"""

import argparse
import pathlib

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('zoo', metavar='ZOO', help='folder of a zoo')
  parser.add_argument('--workdir', required=True, metavar='DIR', help='of the report')
  parser.add_argument('--model', metavar='FILE.py:FN', help='model of imported networks')
  parser.add_argument('--data', metavar='NAME', help='data set, or FILE.py:FN')
  parser.add_argument('--networks', type=int, default=64, help='networks to measure')
  parser.add_argument('--pairs', type=int, default=16, help='pairs with paths between them')
  parser.add_argument(
    '--dims', type=int, nargs='*', default=[], help='dimensions of subspaces to train in'
  )
  parser.add_argument('--seed', type=int, default=0, help='of random directions')


def run(args: argparse.Namespace) -> int:
  """Surveys, and prints the tables and the path of the report."""
  from wsjax import pipeline
  from wsjax.evaluation.report import terminal as report_terminal
  from wsjax.experiments import configs
  from wsjax.zoo import build

  zoo = {'path': args.zoo}
  if args.model:
    zoo['model'] = {'name': args.model}
  section = build.section_of(pathlib.Path(args.zoo))
  if args.data:
    zoo['dataset'] = {'name': args.data}
  elif section and _is_common(section):
    zoo['dataset'] = section['dataset']
  config = configs.load_config('wsjax/geometry')
  with config.unlocked():
    config.zoo, config.seed, config.train.seeds = zoo, args.seed, (args.seed,)
  config.geometry.update(num_networks=args.networks, num_pairs=args.pairs, dims=tuple(args.dims))
  report = pipeline.run(config, args.workdir)
  report_terminal.show(report)
  terminal.show_line(pathlib.Path(args.workdir) / 'report.html')
  return 0


def _is_common(section: dict) -> bool:
  """Whether all networks of a zoo learned one task, so that there are losses between them."""
  is_image = section.get('architecture', {}).get('name') == 'siren'
  return section['dataset'].get('labels', 'classes') == 'classes' and not is_image
