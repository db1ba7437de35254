"""Lineage across zoos and generators."""

import numpy as np
import pytest

import wsjax
from wsjax.cli import main
from wsjax.governance import lineage

DATA = {'name': 'digits', 'version': '1.0.0', 'sha256': 'ab' * 32, 'license': 'CC-BY-4.0'}
GENERATOR = 'flow:' + 'cd' * 32


def zoo_of(records):
  model, rng = wsjax.mlp((4, 3, 2)), np.random.default_rng(len(records))
  nets = [
    {leaf.path: rng.normal(size=leaf.shape).astype('float32') for leaf in model.spec.leaves}
    for _ in records
  ]
  return wsjax.Zoo.of(model, nets, records)


@pytest.fixture(scope='module')
def family():
  """Eight trained networks; a child, a grandchild, a merge; two generated networks."""
  shared = {'license': 'MIT', 'datasets': [DATA], 'redistributable': True}
  trained = zoo_of([shared | {'run_id': f'run{i}'} for i in range(8)])
  ids = [record['record_id'] for record in trained.records]

  def edge(relation, id):
    return {'record_id': id, 'relation': relation}

  child = zoo_of([shared | {'parents': [edge('finetune', ids[0])]}])
  first = child.records[0]['record_id']
  derived = zoo_of(
    [
      {'license': 'Apache-2.0', 'parents': [edge('quantized', first)], 'run_id': 'small'},
      {'license': 'MIT', 'parents': [edge('merge', ids[1]), edge('merge', first)]},
      {'parents': [{'record_id': None, 'external_ref': 'hub:them/net', 'relation': 'finetune'}]},
    ]
  )
  made = {'generator_record_id': GENERATOR, 'sampler': 'flow', 'seed': 0}
  parent = {
    'record_id': None, 'external_ref': f'zoo:{trained.digest}', 'relation': 'generated_by',
  }  # fmt: skip
  drawn = [{'generated': made, 'parents': [parent], 'license': 'MIT', 'datasets': [DATA]}] * 2
  return trained, child, derived, zoo_of(drawn)


@pytest.fixture(scope='module')
def graph(family):
  return lineage.graph(family)


def test_a_generated_network_descends_from_its_generator_and_the_whole_zoo(graph, family):
  trained, *_, drawn = family
  found = graph.ancestors(drawn.records[0]['record_id'])
  assert found[:2] == [f'data:digits:{"ab" * 32}', GENERATOR]
  assert {r['record_id'] for r in trained.records} < set(found)
  below = graph.descendants(trained.records[3]['record_id'])
  assert {GENERATOR, *(r['record_id'] for r in drawn.records)} <= set(below)


def test_edges_are_typed(graph, family):
  trained, child, derived, _ = family
  first = child.records[0]['record_id']
  merged = derived.records[1]['record_id']
  assert ('merge', first) in graph.parents(merged)
  assert ('quantized', derived.records[0]['record_id']) in graph.children(first)
  assert merged in graph.descendants(trained.records[0]['record_id'])


def test_a_correction_is_not_derived_from_what_it_corrects():
  old = zoo_of([{'license': 'MIT'}])
  id = old.records[0]['record_id']
  new = zoo_of([{'license': 'MIT', 'supersedes': id}])
  graph = lineage.graph([old, new])
  assert id not in graph.ancestors(new.records[0]['record_id'])
  assert ('supersedes', id) in graph.parents(new.records[0]['record_id'])


def test_nodes_are_found_by_their_beginning_and_by_digests(graph, family):
  record = family[0].records[0]
  for text in (record['record_id'], record['record_id'][:13], record['tensor_digest'][:9]):
    assert graph.find(text) == record['record_id']
  assert graph.find('cd' * 8) == GENERATOR
  for text in ('wsr1:', 'wsr1', 'nothing at all', ''):
    with pytest.raises(ValueError, match='in these zoos'):
      graph.find(text)


def test_the_licence_is_the_meet_of_all_ancestors(graph, family):
  pytest.importorskip('license_expression', reason="licences need: pip install 'wsjax[zoo]'")
  trained, _, derived, drawn = family
  small, _, foreign = (record['record_id'] for record in derived.records)
  assert graph.licence(small).expression == 'Apache-2.0 AND CC-BY-4.0 AND MIT'
  assert graph.licence(drawn.records[0]['record_id']).redistributable
  assert not graph.licence(foreign).redistributable
  alone = lineage.graph([drawn]).licence(drawn.records[0]['record_id'])
  assert not alone.redistributable and trained.digest[:8] in alone.reason


def test_an_imported_network_has_its_own_licence():
  pytest.importorskip('license_expression', reason="licences need: pip install 'wsjax[zoo]'")
  parent = {'record_id': None, 'external_ref': 'file of theirs', 'relation': 'checkpoint_of'}
  zoo = zoo_of([{'license': 'MIT', 'parents': [parent], 'datasets': [DATA]}])
  found = lineage.graph([zoo]).licence(zoo.records[0]['record_id'])
  assert found.expression == 'CC-BY-4.0 AND MIT' and found.redistributable


def test_a_circle_of_records_of_strangers_ends():
  graph = lineage.Graph()
  for id in ('a', 'b'):
    graph.add(lineage.Node(id, 'record'))
  graph.link('a', 'merge', 'b')
  graph.link('b', 'merge', 'a')
  assert graph.ancestors('a') == ['b']
  graph.tree('a', up=True)


def test_the_command_draws_both_directions(family, tmp_path, capsys):
  paths = [str(zoo.save(tmp_path / f'zoo{i}').path) for i, zoo in enumerate(family)]
  assert main.main(['lineage', GENERATOR, *paths]) == 0
  said = capsys.readouterr().out
  above, below = said.split('descendants\n')
  assert 'trained on zoo zoo:' in above and '(not in these zoos)' in above
  assert below.count('generated record wsr1:') == 2
  assert 'not redistributable' in said  # The digest of a saved zoo is another one.
  saved = wsjax.Zoo.open(paths[0])
  assert main.main(['lineage', f'zoo:{saved.digest[:12]}', *paths]) == 0
  assert 'contains 3 more' in capsys.readouterr().out
