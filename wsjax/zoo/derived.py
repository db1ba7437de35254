"""Records of networks that are made of others: merged, rounded, predicted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wsjax.zoo.store import digest


def edge(record: Mapping[str, Any], relation: str, detail: Mapping[str, Any]) -> dict[str, Any]:
  """The edge of a record's `parents` to the network that another record is of."""
  return {
    'record_id': record['record_id'],
    'external_ref': f'tensors:sha256:{record["tensor_digest"]}',
    'relation': relation,
    'detail': plain(detail),
  }


def facts(
  relation: str, parents: Sequence[Mapping[str, Any]], records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
  """Facts about a network that is made of others, for `Zoo.of`.

  Args:
    relation: begins its name, which is a function of the parents.
    parents: edges.
    records: of all parents; a licence that they share is that of the network.
  """
  licences = {record['license'] for record in records}
  name = f'{relation}-{digest.of_json(list(parents))[:12]}'
  made = {
    'parents': list(parents),
    'run_id': name,
    'split_group': name,
    # Nothing that was made of networks may slip into a training split unnoticed.
    'split': 'test',
    'license': licences.pop() if len(licences) == 1 else None,
  }
  made['redistributable'] = made['license'] is not None and all(
    record['redistributable'] for record in records
  )
  return made


def plain(value: Any) -> Any:
  """JSON values of anything that may stand in options."""
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [plain(item) for item in value]
  if isinstance(value, np.ndarray):
    return plain(value.tolist())
  if isinstance(value, np.generic):
    return value.item()
  return value if isinstance(value, str | bool | int | float | None) else str(value)[:200]
