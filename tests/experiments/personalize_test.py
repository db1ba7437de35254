"""Personalization end to end, on the suite that comes with wsjax."""

import json
import shutil

import jax
import numpy as np
import pytest

import wsjax
from wsjax.cli import main
from wsjax.experiments import personalize
from wsjax.experiments.personalize import adapting, tasks
from wsjax.generators.parts import adapter_network
from wsjax.interop import peft
from wsjax.models import lora as lora_lib
from wsjax.models import transformer
from wsjax.zoo.data import lexicon
from wsjax.zoo.store import record

NET = transformer.Transformer(width=8, depth=1, heads=2)


@pytest.fixture(scope='module')
def run(smoke_run):
  return smoke_run('personalize')


def adapted(**fields):
  network = adapter_network.AdapterNetwork(NET, lora_lib.LowRank(rank=2), width=8, neck=4, **fields)
  return adapting.Adapted(network, NET.init(jax.random.key(0)))


@pytest.mark.slow
def test_the_report_has_every_baseline_and_level(run):
  report, _, _ = run
  rows = report.tables['methods'].rows
  names = {
    personalize.MODEL, personalize.BASE, personalize.OWN, 'unseen paraphrase',
    'description of another task', 'mean description', 'nearest training description',
    "nearest task's adapter", 'ridge from the text', 'multi-task adapter',
    'multi-task adapter, text as a prefix',
    'generated, then 2 steps', 'from zero, 2 steps',
  }  # fmt: skip
  assert names <= set(rows)
  assert rows[personalize.BASE].value('share') == 0
  assert rows[personalize.OWN].value('share') == pytest.approx(1)
  tested = len(lexicon.load('lexicon_small').of('test'))
  assert all(row.n == tested for row in rows.values())
  levels = report.tables['levels'].rows
  assert {f'held out: {level}' for level in lexicon.LEVELS} <= set(levels)


def test_the_head_is_the_layer_of_the_logits():
  pattern = personalize.RIVALS['head only, from the text']['pattern']
  assert list(lora_lib.LowRank(pattern).modules(NET)) == ['logits/kernel']


def test_held_out_words_are_not_to_learn_from():
  suite = lexicon.load('lexicon_small')
  texts = [s for t in suite.tasks for s in t.sentences]
  vectors = dict(zip(texts, tasks.encode('bag_of_words', texts), strict=True))
  found = tasks.read(suite.of('test'), {'bag_of_words': vectors}, 12)
  for row, task in enumerate(found.tasks):
    learned = {lexicon.decode(x) for x in found.targets[row, : found.counts[row]].tolist()}
    heldout = {lexicon.decode(x) for x in found.heldout[row].tolist()} - {''}
    assert len(learned) == 12 and heldout and not learned & heldout
    assert learned | heldout <= set(task.words)
  paraphrases = found.vectors['bag_of_words'][:, -1]
  np.testing.assert_array_equal(paraphrases[0], vectors[found.tasks[0].sentences[-1]])


def test_only_what_a_network_reaches_depends_on_the_text():
  one, other = np.random.default_rng(0).normal(size=(2, tasks.SIZE)).astype(np.float32)
  for reach, changed in (('adapter', 'lora'), ('prefix', adapter_network.TOLD), ('none', '')):
    network = adapted(reach=reach).network
    params = network.init(jax.random.key(0), one)
    # At the beginning nothing depends on it.
    params = jax.tree.map(lambda x: x + 0.1, params)
    a, b = network.apply(params, one), network.apply(params, other)
    differ = {path for path in a if not np.array_equal(a[path], b[path])}
    assert all(changed in path for path in differ) and bool(differ) == bool(changed)


@pytest.mark.slow
def test_a_generated_adapter_begins_as_the_base_and_tuning_helps_its_task():
  one = adapted()
  network = one.network
  words = lexicon.encode(['banana', 'bandana', 'cabana', 'havana'])[None]
  made = jax.vmap(lambda c: network.apply(network.init(jax.random.key(0), c), c))(
    np.ones((1, tasks.SIZE), np.float32)
  )
  before = one.evaluate(made, words)
  base = float(one.loss({path: 0 * x[0] for path, x in made.items()}, words[0]))
  np.testing.assert_allclose(before, base, rtol=1e-5)
  counts = np.array([4], np.int32)
  kept = one.tune(made, words, counts, rate=1e-2, steps=(2, 6), words=4, seed=0)
  losses = [float(one.evaluate(each, words)[0]) for each in kept]
  assert before[0] > losses[0] > losses[1]
  (whole,) = one.tune(made, words, counts, rate=1e-2, steps=(6,), words=4, seed=0)
  np.testing.assert_allclose(one.evaluate(whole, words)[0], losses[1], rtol=1e-4)


@pytest.mark.slow
def test_a_description_becomes_an_adapter_with_its_record(run, tmp_path):
  _, workdir, _ = run
  personalizer = wsjax.Personalizer(workdir)
  made = personalizer('names of countries in Danish')
  assert made.complete(4, 'da', seed=1) == made.complete(4, 'da', seed=1)
  assert all(word.startswith('da') for word in made.complete(4, 'da'))
  folder = made.save(tmp_path / 'adapter')
  (found,) = peft.read(folder, 'adapter')
  back = lora_lib.from_peft(found.tensors, personalizer.lora, personalizer.model)
  for path, x in made.adapter.items():
    np.testing.assert_array_equal(back[path], x)
  written = json.loads((folder / 'record.json').read_text())
  record.validate(written)
  record.check_params(written, found.tensors)
  relations = {parent['relation']: parent for parent in written['parents']}
  assert set(relations) == {'adapter', 'generated_by'}
  base = wsjax.Zoo.open(workdir / 'zoo').records[0]
  assert relations['adapter']['record_id'] == base['record_id']
  assert written['license_effective'] == base['license_effective']
  assert written['generated']['condition']['text'] == 'names of countries in Danish'
  with pytest.raises(ValueError, match='there already'):
    made.save(folder)
  tuned = personalizer('names of countries in Danish', ['danmark', 'norge', '日本'], steps=2)
  assert tuned.record['generated']['post_finetune_steps'] == 2
  assert tuned.record['generated']['condition']['num_examples'] == 2
  assert lora_lib.distance(tuned.adapter, made.adapter) > 0


@pytest.mark.slow
def test_the_command_shows_words_and_writes_an_adapter(run, tmp_path, capsys):
  _, workdir, _ = run
  words = ['personalize', 'names of languages', '--workdir', str(workdir)]
  assert main.main([*words, '--out', str(tmp_path / 'made'), '--sample', '3']) == 0
  out = capsys.readouterr().out
  assert 'before: ' in out and 'after: ' in out
  assert (tmp_path / 'made/adapter_config.json').exists()


@pytest.mark.slow
@pytest.mark.parametrize(
  ('words', 'named'),
  [
    (['  '], 'description'),
    (['x', '--sample', '0'], '--sample'),
    (['x', '--prefix', 'Ü'], 'prefix'),
    (['x', '--workdir', 'nowhere'], 'nowhere'),
  ],
)
def test_wrong_requests_are_one_sentence(run, words, named, capsys):
  _, workdir, _ = run
  assert main.main(['personalize', '--workdir', str(workdir), *words]) == 2
  error = capsys.readouterr().err
  assert named in error and error.count('\n') == 1


@pytest.mark.slow
def test_a_changed_generator_is_told(run, tmp_path):
  _, workdir, _ = run
  copy = tmp_path / 'run'
  shutil.copytree(workdir, copy)
  path = copy / 'generator.safetensors'
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(bytes(content))
  with pytest.raises(ValueError, match='SHA-256'):
    wsjax.Personalizer(copy)
