"""Machine-learning bill of materials of a release, CycloneDX 1.6 in JSON.

Source: https://cyclonedx.org/docs/1.6/json/. The object model of cyclonedx-python-lib has no model
cards, so the JSON is written here; its validator checks it where the extra `cards` is installed.
"""

import importlib.util
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wsjax import config as config_lib
from wsjax.zoo.store import digest

if TYPE_CHECKING:
  from wsjax.governance import release

_TASKS = {'classification': 'classification', 'image_fitting': 'image regression'}


def bom(contents: 'release.Contents') -> dict[str, Any]:
  """The bill: the model, the data and networks that it was made from, and the libraries.

  Raises:
    ValueError: if the validator is installed and rejects it.
  """
  lineage = digest.of_json(contents.lineage)
  records = contents.records
  data = {
    (item['name'], item['version'], item['sha256']): item
    for record in records
    for item in record['datasets']
  }
  versions = contents.run['versions'] if contents.run else records[0]['packages'] or {}
  components = [_data(*key, item['license']) for key, item in data.items()]
  components += [
    {
      'type': 'library',
      'bom-ref': f'pkg:pypi/{name}@{version}',
      'name': name,
      'version': version,
      'purl': f'pkg:pypi/{name}@{version}',
    }
    for name, version in sorted(versions.items())
    if version and ':' not in name and '/' not in name
  ]
  if contents.training is not None:
    components.append(
      {
        'type': 'data',
        'bom-ref': f'zoo:{contents.training.digest}',
        'name': 'training zoo',
        'description': f'{len(contents.training)} networks; their ids are in lineage.json',
        'hashes': [{'alg': 'SHA-256', 'content': contents.training.digest}],
      }
    )
  made = {
    '$schema': 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    'bomFormat': 'CycloneDX',
    'specVersion': '1.6',
    'serialNumber': f'urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f"wsjax:{lineage}")}',
    'version': 1,
    'metadata': {'component': _model(contents, [c for c in components if c['type'] == 'data'])},
    'components': components,
    'dependencies': [
      {'ref': 'release', 'dependsOn': sorted(component['bom-ref'] for component in components)}
    ],
  }
  check(made)
  return made


def check(bom: Mapping[str, Any]) -> bool:
  """Whether the schema could be checked; raises ValueError if a bill is not of it."""
  if importlib.util.find_spec('cyclonedx') is None:
    return False
  import json

  schema = config_lib.require('cyclonedx.schema', 'cards').SchemaVersion.V1_6
  validation = config_lib.require('cyclonedx.validation.json', 'cards')
  error = validation.JsonStrictValidator(schema).validate_str(json.dumps(bom))
  if error is not None:
    raise ValueError(f'The bill of materials is not CycloneDX 1.6: {str(error.data)[:300]}.')
  return True


def _model(contents: 'release.Contents', data: list[dict[str, Any]]) -> dict[str, Any]:
  """The released model with its card."""
  record = contents.records[0]
  parameters: dict[str, Any] = {
    'architectureFamily': record['arch_id'],
    'modelArchitecture': digest.canonical_json(record['arch_config']).decode(),
    'datasets': [{'ref': item['bom-ref']} for item in data],
  }
  if record['task']:
    parameters['task'] = _TASKS.get(record['task'], record['task'])
  card: dict[str, Any] = {
    'modelParameters': parameters,
    'considerations': {
      'useCases': ['Research on weights of neural networks'],
      'technicalLimitations': [
        'The networks were made to be studied, not to be deployed.',
        'A signature does not show that a network has no backdoor.',
      ],
    },
  }
  if measured := _measured(contents):
    card['quantitativeAnalysis'] = {'performanceMetrics': measured}
  model: dict[str, Any] = {
    'type': 'machine-learning-model',
    'bom-ref': 'release',
    'name': contents.name,
    'modelCard': card,
  }
  if contents.licence.expression:
    model['licenses'] = [{'expression': contents.licence.expression}]
  digests = [name.rpartition(':')[2] for name in contents.generators.values()]
  digests = digests or [zoo.digest for zoo in contents.zoos.values()]
  model['hashes'] = [{'alg': 'SHA-256', 'content': content} for content in digests]
  return model


def _measured(contents: 'release.Contents') -> list[dict[str, Any]]:
  """Metrics of the generators in the report."""
  if not contents.report:
    return []
  table = next(iter(contents.report['tables'].values()))
  measured = []
  for name, row in table['rows'].items():
    for metric, stat in row['stats'].items():
      if row['kind'] != 'model' or stat['value'] is None:
        continue
      entry: dict[str, Any] = {'type': metric, 'value': repr(stat['value']), 'slice': name}
      if stat.get('low') is not None:
        low, high = repr(stat['low']), repr(stat['high'])
        entry['confidenceInterval'] = {'lowerBound': low, 'upperBound': high}
      measured.append(entry)
  return measured


def _data(
  name: str, version: str | None, sha256: str | None, licence: str | None
) -> dict[str, Any]:
  """A data set that networks learned from."""
  made: dict[str, Any] = {
    'type': 'data',
    'bom-ref': f'data:{name}:{sha256 or "unknown"}',
    'name': name,
  }
  if version:
    made['version'] = version
  if sha256:
    made['hashes'] = [{'alg': 'SHA-256', 'content': sha256}]
  if licence and licence not in ('NOASSERTION', 'NONE'):
    made['licenses'] = [{'expression': licence}]
  return made
