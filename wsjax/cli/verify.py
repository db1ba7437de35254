"""Verify a release: every byte is the signed one, by a key that you trust.

  wsjax verify demo-1.0 --key publisher.pub --revocations revoked.jsonl

Exit status 0 says that nothing was changed, added, removed or renamed since it was signed, and that
nothing in it, or that it was made from, is on one of the lists. Anything else is one sentence and
exit status 2. It works without a network.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('path', metavar='DIR', help='folder of the release')
  parser.add_argument(
    '--key', required=True, action='append', metavar='PUBLIC',
    help='public key that you trust; may be given several times',
  )  # fmt: skip
  parser.add_argument(
    '--revocations', action='append', default=[], metavar='FILE',
    help='signed list of what was taken down; may be given several times',
  )  # fmt: skip


def run(args: argparse.Namespace) -> int:
  """Verifies, and prints what was verified."""
  from wsjax.governance import verify

  found = verify.verify(args.path, args.key, revocations=args.revocations)
  size = f'{len(found.files)} files, {found.num_bytes / 1e6:.1f} MB'
  terminal.show_line(f'verified: {size}, signed by key {found.key_id[:16]}')
  for name, value in found.build['externalParameters'].items():
    terminal.show_line(f'{name}: {value}')
  for source in found.build['resolvedDependencies']:
    terminal.show_line(f'made from {source["name"]}')
  numbers = ', '.join(f'number {number}' for number in found.revocation_lists)
  terminal.show_line(f'revocation lists: {numbers or "none given"}')
  return 0
