"""Make a pair of keys for signed releases.

  wsjax key ~/.wsjax/release.pem

The private key stays with you, unencrypted and readable for you alone; those who verify your
releases need the public one, release.pem.pub, from a place that they trust. openssl makes the same:
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out KEY, and
openssl pkey -in KEY -pubout -out KEY.pub.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('path', metavar='KEY', help='file of the private key')
  parser.add_argument(
    '--kind',
    choices=('p256', 'ed25519'),
    default='p256',
    help='p256 adds a signature that OpenSSF model signing can check',
  )


def run(args: argparse.Namespace) -> int:
  """Makes the keys and prints where they are."""
  from wsjax import files
  from wsjax.governance import signing

  for path in signing.new_key(files.folder(args.path, 'KEY'), args.kind):
    terminal.show_line(path)
  return 0
