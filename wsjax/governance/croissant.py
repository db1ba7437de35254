"""Croissant description of the zoos of a release, JSON-LD.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec.html, version 1.0.
"""

import datetime
from typing import TYPE_CHECKING, Any

from wsjax.zoo.store import published

if TYPE_CHECKING:
  from wsjax.governance import release

_TERMS = (
  'citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes '
  'isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace '
  'samplingRate separator source subField transform'
).split()  # fmt: skip
CONTEXT = {
  '@language': 'en',
  '@vocab': 'https://schema.org/',
  'conformsTo': 'dct:conformsTo',
  'cr': 'http://mlcommons.org/croissant/',
  'rai': 'http://mlcommons.org/croissant/RAI/',
  'data': {'@id': 'cr:data', '@type': '@json'},
  'dataType': {'@id': 'cr:dataType', '@type': '@vocab'},
  'examples': {'@id': 'cr:examples', '@type': '@json'},
  'dct': 'http://purl.org/dc/terms/',
  'sc': 'https://schema.org/',
  **{term: f'cr:{term}' for term in _TERMS},
}
_FORMATS = {
  '.json': 'application/json', '.jsonl': 'application/jsonlines',
  '.parquet': 'application/x-parquet', '.safetensors': 'application/octet-stream',
}  # fmt: skip
# Column of the table of records -> type and description.
_COLUMNS = {
  'record_id': ('sc:Text', 'Id of the record: SHA-256 of its canonical JSON.'),
  'tensor_digest': ('sc:Text', 'SHA-256 of the weights.'),
  'arch_id': ('sc:Text', 'Architecture.'),
  'split': ('sc:Text', 'Split that the network is in.'),
  'split_group': ('sc:Text', 'Run or root ancestor; one is in one split only.'),
  'license': ('sc:Text', 'SPDX expression of the licence of the weights.'),
  'shard': ('sc:Text', 'File that holds the weights.'),
  'row': ('sc:Integer', 'Row of the stacked weights in that file.'),
}


def croissant(contents: 'release.Contents') -> dict[str, Any]:
  """Describes every file of the zoos, and their tables of records where they have one."""
  objects, sets = [], []
  for place, zoo in contents.zoos.items():
    listed = published.read_manifest(contents.path / place)['files']
    for name, file in sorted(listed.items()):
      suffix = name[name.rfind('.') :]
      objects.append(
        {
          '@type': 'cr:FileObject',
          '@id': f'{place}/{name}',
          'name': f'{place}/{name}',
          'contentUrl': f'{place}/{name}',
          'contentSize': f'{file["bytes"]} B',
          'encodingFormat': _FORMATS.get(suffix, 'application/octet-stream'),
          'sha256': file['sha256'],
        }
      )
    if published.TABLE in listed:
      sets.append(_records(place, len(zoo)))
  created = max(record['created_at'] for record in contents.records)
  date = datetime.datetime.fromisoformat(created).date().isoformat()
  names = sorted({data['name'] for record in contents.records for data in record['datasets']})
  about = f' trained on {", ".join(names)}' if names and not contents.generators else ''
  kind = 'generated' if contents.generators else 'trained'
  return {
    '@context': CONTEXT,
    '@type': 'sc:Dataset',
    'conformsTo': 'http://mlcommons.org/croissant/1.0',
    'name': contents.name,
    'description': f'{len(contents.records)} {kind} neural networks{about}, with a record each.',
    'license': contents.licence.expression or 'unknown',
    'url': 'README.md',
    'datePublished': date,
    'version': '1.0.0',
    'distribution': objects,
    'recordSet': sets,
  }


def _records(place: str, count: int) -> dict[str, Any]:
  """The table of records of a zoo."""
  set_name = f'{place}/records'
  return {
    '@type': 'cr:RecordSet',
    '@id': set_name,
    'name': set_name,
    'description': f'{count} networks, one record each.',
    'field': [
      {
        '@type': 'cr:Field',
        '@id': f'{set_name}/{name}',
        'name': f'{set_name}/{name}',
        'description': text,
        'dataType': kind,
        'source': {
          'fileObject': {'@id': f'{place}/{published.TABLE}'}, 'extract': {'column': name}
        },
      }
      for name, (kind, text) in _COLUMNS.items()
    ],
  }  # fmt: skip
