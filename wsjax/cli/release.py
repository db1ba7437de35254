"""Sign a run with its generator, or a zoo, as a folder that others can verify.

  wsjax release runs/demo --key ~/.wsjax/release.pem --out demo-1.0

The folder has the generator, the networks that were drawn from it and their records, the report, a
model card, a bill of materials (CycloneDX), a Croissant description, the lineage, and two
signatures: of the bytes (OpenSSF model signing) and of how they were made (SLSA in DSSE). Keys are
made with `wsjax key`. A gate that does not pass stops the release, unless a person overrides it
with name, reason and last day; every decision is signed and comes with it.

Needs pip install 'wsjax[provenance,zoo]'.
"""

import argparse

from wsjax import terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of this sub-command."""
  parser.add_argument('source', metavar='RUN', help='work directory of a run, or folder of a zoo')
  parser.add_argument('--key', required=True, metavar='KEY', help='private key')
  parser.add_argument('--out', required=True, metavar='DIR', help='folder of the release')
  parser.add_argument(
    '--ancestors', action='append', default=[], metavar='ZOO',
    help='zoo that the networks of a released zoo were made from; may be given several times',
  )  # fmt: skip
  parser.add_argument(
    '--revocations', metavar='FILE', help='list of what you took down; made with `wsjax revoke`'
  )
  parser.add_argument(
    '--overrides', dest='gate_overrides', metavar='FILE',
    help='JSON list of objects with gate, name, reason and expires (2027-01-31)',
  )  # fmt: skip
  parser.add_argument('--contact', default='', help='address for reports of misuse, for the card')


def run(args: argparse.Namespace) -> int:
  """Writes the release and prints where it is."""
  from wsjax.governance import gates, release

  made = release.release(
    args.source,
    args.key,
    args.out,
    contact=args.contact,
    ancestors=args.ancestors,
    revoked=args.revocations,
    overrides=gates.read_overrides(args.gate_overrides) if args.gate_overrides else (),
  )
  terminal.show_line(made)
  return 0
