"""Numbers the values of a program, such that values that are computed alike have one number."""

from wsjax.symmetry.inference import program as program_lib
from wsjax.symmetry.inference import rules

# Results that more than the operands decide: branches, rounds, and where shards are cut.
_OTHERS = frozenset(('join', 'loop', 'close', 'shard_in', 'shard_out'))


def value_numbers(program: program_lib.Program) -> dict[int, int]:
  """Id of a value -> a number, equal for values that are computed alike from the same values."""
  numbers: dict[int, int] = {}
  known: dict[object, int] = {}

  def number(value: program_lib.Value) -> int:
    if id(value) not in numbers:
      key: object = id(value)
      if value.number is not None:
        key = value.shape, str(value.dtype), value.number
      elif value.source == 'constant' and value.constant is not None:
        key = value.shape, str(value.dtype), value.constant.tobytes()
      numbers[id(value)] = known.setdefault(key, len(known))
    return numbers[id(value)]

  for op in program.ops:
    if op.name in _OTHERS or op.name not in rules.RULES:
      continue
    ins = tuple(number(value) for value in op.ins)
    params = repr(sorted(op.params.items(), key=lambda item: item[0]))
    for place, out in enumerate(op.outs):
      key = op.name, params, ins, place, out.shape, str(out.dtype), out.scans
      numbers[id(out)] = known.setdefault(key, len(known))
  for op in program.ops:
    for value in (*op.ins, *op.outs):
      number(value)
  return numbers
