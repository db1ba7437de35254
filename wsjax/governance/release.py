"""Releases: a run or a zoo as a folder of signed files, with where they come from.

README.md                model card, made from records and report
bom.cdx.json             machine-learning bill of materials, CycloneDX
croissant.json           Croissant description of every zoo in it
lineage.json             records in it, and all that they were made from
run.json, report.*       config and results of a run
generator/seed0.safetensors, samples/seed0/   the generator and networks drawn from it
zoo/                     of a released zoo
model.sig                OpenSSF model signing, for keys on P-256
provenance.intoto.jsonl  SLSA provenance in a DSSE envelope, of every other file
"""

import dataclasses
import datetime
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import rfc8785

from wsjax import config as config_lib
from wsjax import files, manifest, typing
from wsjax.evaluation.report import html, model
from wsjax.experiments import base, configs, generation, sections
from wsjax.governance import audit, bom, card, croissant, gates, lineage, signing
from wsjax.governance import verify as verify_lib
from wsjax.zoo.store import digest, published, record, safetensors_io, store

_LOCK = configs.LAUNCH / 'requirements-cpu.txt'
_OF_THE_RUN = ('run.json', 'report.json', 'report.html')


@dataclasses.dataclass
class Contents:
  """What a release holds, for its descriptions.

  Attributes:
    name: of the config, or of the folder of the zoo.
    path: folder that is being written.
    zoos: relative path -> zoo in it.
    graph: lineage of the networks in it and of the zoo that a generator learned from.
    licence: of all of it together.
    contact: where misuse and mistakes are reported.
    run: run.json, None for a zoo.
    report: report.json, None for a zoo.
    training: zoo that the generator learned from, None for a zoo.
    origins: zoos that the networks of a released zoo were made from.
    generators: seed -> name with the digest of its parameters.
    decisions: of gates, before overrides.
  """

  name: str
  path: pathlib.Path
  zoos: dict[str, store.Zoo]
  graph: lineage.Graph
  licence: lineage.Effective
  contact: str
  run: Mapping[str, Any] | None = None
  report: Mapping[str, Any] | None = None
  training: store.Zoo | None = None
  origins: list[store.Zoo] = dataclasses.field(default_factory=list)
  generators: dict[int, str] = dataclasses.field(default_factory=dict)
  decisions: list[gates.Decision] = dataclasses.field(default_factory=list)

  @functools.cached_property
  def records(self) -> list[dict[str, Any]]:
    """Records of all networks in it."""
    return [record for zoo in self.zoos.values() for record in zoo.records]

  @functools.cached_property
  def ids(self) -> list[str]:
    """Nodes of the graph that it holds: networks, generators, zoos."""
    zoos = [f'zoo:{zoo.digest}' for zoo in self.zoos.values()]
    records = [record['record_id'] for record in self.records]
    return list(dict.fromkeys([*records, *self.generators.values(), *zoos]))

  @functools.cached_property
  def lineage(self) -> dict[str, Any]:
    """Nodes and edges of what it holds and of all that this was made from."""
    found = self.graph.subgraph([*self.ids, *self.graph.ancestors(*self.ids)])
    for node in found['nodes']:
      if node['kind'] == 'zoo':  # Its folder, and how many networks.
        folder, _, count = node['label'].rpartition(', ')
        node['label'] = f'{_without_paths(folder, self.path)}, {count}'
    return found


def release(
  source: pathlib.Path | str,
  key: pathlib.Path | str,
  out: pathlib.Path | str,
  *,
  contact: str = '',
  ancestors: Sequence[pathlib.Path | str] = (),
  revoked: pathlib.Path | str | None = None,
  overrides: Sequence[gates.Override] = (),
) -> pathlib.Path:
  """Writes a signed release of a finished run with a generator, or of a published zoo.

  Args:
    source: work directory of the run, or folder of the zoo; it is only read.
    key: private key, from `signing.new_key` or openssl.
    out: folder of the release, which must not be there.
    contact: address for reports of misuse, for the card.
    ancestors: zoos that the networks of a released zoo were made from, for lineage and licence.
    revoked: list of what the publisher took down, signed with this key; it comes with the release.
    overrides: of gates that do not pass.

  Returns:
    The folder.

  Raises:
    ValueError: if `source` is neither, a digest of it does not match, the samples are not of the
      generator, a gate does not pass and has no override that holds, there is something at `out`,
      or the extra `provenance` is not installed.
  """
  source, out = files.folder(source, 'source'), files.folder(out, 'out')
  signer = signing.private_key(key)
  if os.path.lexists(out):
    raise ValueError(f'{out} is there already; a release is never overwritten.')
  out.parent.mkdir(parents=True, exist_ok=True)
  draft = out.with_name(f'.{out.name}.tmp')
  shutil.rmtree(draft, ignore_errors=True)  # Of a process that was killed.
  draft.mkdir()
  try:
    if (source / 'run.json').exists():
      contents = _of_run(source, draft, contact)
    else:
      contents = _of_zoo(source, draft, contact, ancestors)
    if revoked is not None:
      shutil.copyfile(revoked, draft / verify_lib.REVOKED)
    _describe(contents)
    _decide(contents, overrides, signer)
    _sign(contents, key, signer)
    verify_lib.check(draft, [signer.public_key])
    os.replace(draft, out)
  except BaseException:
    shutil.rmtree(draft, ignore_errors=True)
    raise
  return out


def _of_zoo(
  source: pathlib.Path, draft: pathlib.Path, contact: str, ancestors: Sequence[pathlib.Path | str]
) -> Contents:
  zoo = _copy_zoo(source, draft / 'zoo')
  origins = [store.Zoo.open(path) for path in ancestors]
  graph = lineage.graph([*origins, zoo])
  licence = graph.licence(*(record['record_id'] for record in zoo.records))
  made = Contents(source.resolve().name, draft, {'zoo': zoo}, graph, licence, contact)
  made.origins, made.decisions = origins, gates.of_zoo(zoo, origins)
  above = {node['id'] for node in made.lineage['nodes']}
  if strange := [str(other.path) for other in origins if f'zoo:{other.digest}' not in above]:
    raise ValueError(f'{strange[0]} is no ancestor of {source}; its records do not name it.')
  return made


def _of_run(source: pathlib.Path, draft: pathlib.Path, contact: str) -> Contents:
  run = manifest.read_run(source)
  for name in _OF_THE_RUN:
    if not (source / name).is_file():
      raise ValueError(f'{source} has no {name}: only a finished run is released.')
  run = _without_paths(run, source)
  files.replace(draft / 'run.json', files.seal(run))
  report = _without_paths(files.read_sealed(source / 'report.json'), source)
  model.Report.from_plain(report).write(draft, html.page)
  audited = audit.read(source)
  if audited is not None:
    shutil.copyfile(source / audit.FILE, draft / audit.FILE)
  config = manifest.load_config(source)
  training = base.open_zoo(config, source, progress=False, trains=False)
  experiment = generation.of_run(config, training, source)
  zoos, names = {}, {}
  for seed in config.train.seeds:
    params, _ = experiment.fit(seed, trains=False)
    zoo = _copy_zoo(source / f'samples/seed{seed}', draft / f'samples/seed{seed}')
    names[seed] = experiment.generator_id(params)
    drawn_by = {r['generated'] and r['generated']['generator_record_id'] for r in zoo.records}
    if drawn_by != {names[seed]}:
      raise ValueError(f'The networks of {source}/samples/seed{seed} are not of {names[seed]}.')
    zoos[f'samples/seed{seed}'] = zoo
    _write_generator(draft / f'generator/seed{seed}.safetensors', params)
  graph = lineage.graph([training, *zoos.values()])
  ids = [record['record_id'] for zoo in zoos.values() for record in zoo.records]
  return Contents(
    run['config']['name'],
    draft,
    zoos,
    graph,
    graph.licence(*ids),
    contact,
    run,
    report,
    training,
    generators=names,
    decisions=gates.of_run(
      training,
      list(zoos.values()),
      report,
      config_lib.read(sections.Gates, 'gates', config.get('gates', {})),
      audited,
    ),
  )


def _without_paths(value: Any, source: pathlib.Path) -> Any:
  """JSON in which absolute paths are relative to a run, or only names where they lie outside."""
  if isinstance(value, dict):
    return {name: _without_paths(child, source) for name, child in value.items()}
  if isinstance(value, list):
    return [_without_paths(child, source) for child in value]
  if isinstance(value, str) and os.path.isabs(value):
    path, root = pathlib.Path(os.path.normpath(value)), source.absolute()
    return str(path.relative_to(root)) if path.is_relative_to(root) else path.name
  return value


def _copy_zoo(source: pathlib.Path, target: pathlib.Path) -> store.Zoo:
  """Copies the files of a published zoo that its manifest lists, and checks every digest."""
  listed = published.read_manifest(source)
  for name in (*listed['files'], published.MANIFEST):
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / name, target / name)
  zoo = store.Zoo.open(target)
  zoo.check()
  return zoo


def _write_generator(path: pathlib.Path, params: typing.PyTree) -> None:
  """Writes the parameters of a generator, 'params/Dense_0/kernel' -> array."""
  arrays = {
    jax.tree_util.keystr(place, simple=True, separator='/') or 'params': np.asarray(value)
    for place, value in jax.tree.leaves_with_path(params)
  }
  path.parent.mkdir(parents=True, exist_ok=True)
  safetensors_io.save(path, arrays, {})


def _describe(contents: Contents) -> None:
  """Writes what is made from records, and never by hand."""
  spelled = functools.partial(json.dumps, indent=1, sort_keys=True, ensure_ascii=False)
  files.replace(contents.path / verify_lib.LINEAGE, json.dumps(contents.lineage, sort_keys=True))
  files.replace(contents.path / 'README.md', card.card(contents))
  files.replace(contents.path / 'bom.cdx.json', spelled(bom.bom(contents)))
  files.replace(contents.path / 'croissant.json', spelled(croissant.croissant(contents)))


def _decide(contents: Contents, overrides: Sequence[gates.Override], signer: Any) -> None:
  """Writes the decision of every gate, signed; ValueError for one that lets nothing through."""
  there = [path.name for path in contents.path.iterdir()]
  has_list = verify_lib.REVOKED in there
  published_gate = gates.of_publication(there, contents.contact, is_signed=True, has_list=has_list)
  decisions = gates.apply([*contents.decisions, published_gate], overrides)
  closed = [decision for decision in decisions if decision.status == 'fail']
  if closed:
    said = '; '.join(f'{decision.gate} {decision}' for decision in closed)
    raise ValueError(f'{contents.name} is not released. {said}. An override needs name and reason.')
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
  lines = [
    signing.sign(
      {'release': contents.name, 'at': now, **decision.plain()}, verify_lib.DECISION_TYPE, signer
    )
    for decision in decisions
  ]
  files.replace(contents.path / verify_lib.DECISIONS, b''.join(lines))


def _sign(contents: Contents, key: pathlib.Path | str, signer: Any) -> None:
  """Signs the bytes, where the kind of the key allows it, and then how all of it was made."""
  path = contents.path
  if signing.kind(signer.public_key) == 'p256':
    hashing = config_lib.require('model_signing.hashing')
    model_signing = config_lib.require('model_signing.signing')
    signature = path / verify_lib.BYTES_SIGNATURE
    ignored = [verify_lib.BYTES_SIGNATURE, verify_lib.ATTESTATION]
    hashed = hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)
    made = model_signing.Config().use_elliptic_key_signer(private_key=pathlib.Path(key))
    made.set_hashing_config(hashed).sign(path, signature)
  content = signing.sign(_statement(contents), verify_lib.PAYLOAD_TYPE, signer)
  files.replace(path / verify_lib.ATTESTATION, content)


def _statement(contents: Contents) -> dict[str, Any]:
  """Says how the files of a release were made, as in-toto v1 with the predicate SLSA v1."""
  json_format = config_lib.require('google.protobuf.json_format')
  statement = config_lib.require('in_toto_attestation.v1.statement')
  resource = config_lib.require('in_toto_attestation.v1.resource_descriptor').ResourceDescriptor
  path, run = contents.path, contents.run
  subjects = [
    resource(str(file.relative_to(path).as_posix()), digest={'sha256': digest.of_file(file)}).pb
    for file in sorted(path.rglob('*'))
    if file.is_file()
  ]
  zoos = [contents.training] if contents.training else [*contents.zoos.values(), *contents.origins]
  sources = [
    {
      'name': f'zoo:{zoo.digest}',
      'digest': {'sha256': verify_lib.merkle_root(r['record_id'] for r in zoo.records)},
      'annotations': {'networks': len(zoo), 'digest': 'Merkle root of the ids of the records'},
    }
    for zoo in zoos
  ]
  for seed, name in contents.generators.items():
    sources.append(
      {'name': name, 'digest': {'sha256': name.rpartition(':')[2]}, 'annotations': {'seed': seed}}
    )
  if _LOCK.exists():
    sources.append({'name': f'lock:{_LOCK.name}', 'digest': {'sha256': digest.of_file(_LOCK)}})
  if (code := record.code(record.ROOT)) is not None:
    sources.append(
      {
        'name': f'code:{code["repo"]}',
        'digest': {'gitCommit': code['commit']},
        'annotations': {'dirty': code['dirty']},
      }
    )
  parameters: dict[str, Any] = {'name': contents.name}
  if run is not None:
    parameters |= {
      'config_sha256': hashlib.sha256(rfc8785.dumps(run['config'])).hexdigest(),
      'overrides': run['overrides'],
      'seeds': list(contents.generators),
    }
  else:
    parameters['config_sha256_of_networks'] = sorted(
      {r['config_sha256'] for r in contents.records if r['config_sha256']}
    )
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds').replace('+00:00', 'Z')
  versions = run['versions'] if run else record.environment()['packages']
  predicate = {
    'buildDefinition': {
      'buildType': verify_lib.BUILD_TYPES[0 if run else 1],
      'externalParameters': parameters,
      'internalParameters': {'licence': contents.licence.expression},
      'resolvedDependencies': sources,
    },
    'runDetails': {
      'builder': {
        'id': 'urn:wsjax:release',
        'version': {name: text for name, text in versions.items() if text},
      },
      'metadata': {'startedOn': run['created_at'] if run else now, 'finishedOn': now},
    },
  }
  made = statement.Statement(subjects, verify_lib.PREDICATE_TYPE, predicate)
  made.validate()
  return json_format.MessageToDict(made.pb)
