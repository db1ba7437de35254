"""Personalization with the generator of a finished run: a description becomes an adapter.

  personalizer = wsjax.Personalizer('runs/personalize')
  adapted = personalizer('family names in Poland')
  adapted.complete(10)
  adapted.save('adapter')

The description stays on this machine; only the record of an adapter quotes it.
"""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wsjax import files, manifest, typing
from wsjax.experiments import base, configs
from wsjax.experiments import personalize as personalize_lib
from wsjax.experiments.personalize import generator, tasks
from wsjax.interop import peft
from wsjax.models import lora as lora_lib
from wsjax.models import model as model_lib
from wsjax.zoo.data import lexicon
from wsjax.zoo.store import record as record_lib

_DRAWN = 16  # Words are drawn in multiples of it: any few by one program, compiled beforehand.


class Personalizer:
  """Makes adapters of the base model of a run from descriptions.

  Attributes:
    model: of the base.
    weights: of the base.
    lora: what an adapter changes.
    facts: of the generators: their digest, text encoder, rates of tuning, the record of the base.
  """

  def __init__(self, workdir: str | pathlib.Path):
    """Reads the run, and compiles what a request needs.

    Raises:
      ValueError: if it is not a finished run of the experiment 'personalize', or its text encoder
        is not installed.
    """
    workdir = files.folder(workdir, 'workdir')
    config = manifest.load_config(workdir)
    if config.get('experiment') != 'personalize':
      raise ValueError(f'{workdir} is a run of {config.get("experiment")!r}, not of personalize.')
    zoo = base.open_zoo(config, workdir, progress=False, trains=False)
    config = configs.filled(config, personalize_lib.Personalize)
    experiment = personalize_lib.Personalize(config, zoo)
    self.model, self.weights = experiment.model, experiment.weights
    self._adapted = experiment.adapted()
    self._options = experiment.options
    network, seeds = self._adapted.network, len(config.train.seeds)
    self.lora = dataclasses.replace(
      network.lora, rank=seeds * network.lora.rank, alpha=seeds * network.lora.alpha
    )
    like = jax.eval_shape(
      jax.vmap(network.init, (0, None)), jax.random.split(jax.random.key(0), seeds),
      jnp.zeros(tasks.SIZE),
    )  # fmt: skip
    params, self.facts = generator.load(workdir, like)
    self._run = jax.jit(
      lambda vector: lora_lib.average(jax.vmap(network.apply, (0, None))(params, vector))
    )
    self('words').complete()  # Compiles.

  def encode(self, text: str) -> np.ndarray:
    """The vector of a description."""
    return tasks.encode(self.facts['encoder'], [text])[0]

  def make(self, vector: np.ndarray) -> lora_lib.Adapter:
    """The adapter of a vector: the mean of the products that the generators of all seeds make."""
    return self._run(vector)

  def _rate(self, steps: int) -> float:
    """The rate that was chosen for the number of steps nearest by ratio."""
    rates = self.facts['rates']
    return rates[min(rates, key=lambda n: abs(math.log(int(n) / steps)))]

  def __call__(self, text: str, examples: Sequence[str] = (), *, steps: int = 15) -> 'AdaptedModel':
    """Personalizes the base model.

    Args:
      text: description of the words that it should say.
      examples: some such words, on which the adapter is tuned.
      steps: updates of that tuning.

    Raises:
      ValueError: if the text is empty, or no example can be spelled in the alphabet of the model.
    """
    if not text.strip():
      raise ValueError('The description is empty.')
    adapter, words = self.make(self.encode(text)), []
    if examples:
      words = [spelled for word in examples if (spelled := lexicon.spell(word))]
      if not words:
        raise ValueError(
          f'None of {len(examples)} examples is 2 to {lexicon.LENGTH - 1} characters of '
          f'{lexicon.ALPHABET!r}.'
        )
      (kept,) = self._adapted.tune(
        {path: x[None] for path, x in adapter.items()},
        lexicon.encode(words)[None],
        np.array([len(words)], np.int32),
        rate=self._rate(steps),
        steps=(steps,),
        words=self._options.examples,
        seed=0,
      )
      adapter = {path: x[0] for path, x in kept.items()}
    generated = {
      'generator_record_id': f'personalize:{self.facts["sha256"]}',
      'sampler': 'hypernetwork, one pass',
      'seed': None,
      'condition': {
        'text': text, 'encoder': self.facts['encoder'], 'num_examples': len(words),
      },
      'post_finetune_steps': steps if words else None,
    }  # fmt: skip
    return AdaptedModel(
      self.model, self.weights, self.lora, adapter, generated, self.facts['record']
    )


@dataclasses.dataclass(frozen=True, eq=False)
class AdaptedModel:
  """A base model with an adapter.

  Attributes:
    model: of the base.
    weights: of the base.
    lora: what the adapter changes.
    adapter: its factors.
    generated: how it was made, as records say it.
    source: record of the base.
  """

  model: model_lib.Model
  weights: typing.Params
  lora: lora_lib.LowRank
  adapter: lora_lib.Adapter
  generated: dict[str, Any]
  source: dict[str, Any]

  @functools.cached_property
  def params(self) -> typing.Params:
    """The weights with the adapter merged into them."""
    return self.lora.merge(self.weights, self.adapter)

  def complete(
    self,
    count: int = 10,
    prefix: str = '',
    *,
    temperature: float = 0.7,
    seed: int = 0,
    adapted: bool = True,
  ) -> list[str]:
    """Draws words.

    Args:
      count: of words.
      prefix: that all of them begin with.
      temperature: 1 draws from the model; less draws what it holds for more likely.
      seed: of the draw.
      adapted: False draws from the base.

    Raises:
      ValueError: if the prefix cannot be spelled, or `temperature` is not above 0.
    """
    if prefix and (lexicon.spell(f'{prefix}a') or '') != f'{prefix}a':
      raise ValueError(f'prefix is {prefix!r}; allowed: characters of {lexicon.ALPHABET!r}.')
    if not temperature > 0:
      raise ValueError(f'temperature is {temperature}; allowed: above 0.')
    given = np.full(lexicon.LENGTH, -1, np.int32)
    given[: len(prefix)] = [1 + lexicon.ALPHABET.index(character) for character in prefix]
    params = self.params if adapted else self.weights
    drawn = _draw(
      self.model, params, given, jax.random.key(seed), temperature, -(-count // _DRAWN) * _DRAWN
    )
    return [lexicon.decode(tokens) for tokens in np.asarray(drawn[:count]).tolist()]

  def save(self, folder: str | pathlib.Path) -> pathlib.Path:
    """Writes the adapter as PEFT reads it, and its record, into a folder, which is returned.

    Raises:
      ValueError: if there is something in the folder.
    """
    folder = files.folder(folder, 'folder')
    if not files.is_free(folder):
      raise ValueError(f'{folder} is there already; nothing is overwritten.')
    record = self.record
    tensors = {name: np.asarray(x) for name, x in lora_lib.to_peft(self.adapter).items()}
    peft.write(folder, tensors, record)
    files.replace(folder / 'record.json', json.dumps(record, indent=1, sort_keys=True))
    return folder

  @property
  def record(self) -> dict[str, Any]:
    """The record of the adapter: what it is, which base it adapts, and how it was generated."""
    tensors = {name: np.asarray(x) for name, x in lora_lib.to_peft(self.adapter).items()}
    shapes = tuple((name, x.shape, x.dtype.name) for name, x in tensors.items())
    places = [name.rpartition('.')[2] for name in lora_lib.to_peft(dict.fromkeys(self.adapter, 0))]
    name = f'adapter-{record_lib.describe_params(tensors)["tensor_digest"].rpartition(":")[2][:16]}'
    kept = ('datasets', 'license', 'license_effective', 'attribution', 'redistributable')
    return record_lib.make(
      **{
        **record_lib.UNKNOWN,
        **record_lib.describe_model(peft.adapter(shapes, self.lora.scale)),
        **record_lib.describe_params(tensors),
        **{key: self.source.get(key) for key in kept},
        'task': 'adapter',
        'parents': [
          {'record_id': self.source['record_id'], 'relation': 'adapter'},
          {
            'record_id': None,
            'external_ref': self.generated['generator_record_id'],
            'relation': 'generated_by',
          },
        ],
        'generated': self.generated,
        'run_id': name,
        'split_group': name,
        'split': 'test',  # Nothing generated slips into a training split unnoticed.
        'extra': {
          'peft': {
            'r': self.lora.rank,
            'lora_alpha': self.lora.alpha,
            'base_model_name_or_path': self.source['record_id'],
            'target_modules': sorted({place.partition('/')[0] for place in places}),
          }
        },
      }
    )


@functools.partial(jax.jit, static_argnums=(0, 5))
def _draw(
  model: model_lib.Model,
  params: typing.Params,
  given: jax.Array,
  key: jax.Array,
  temperature: jax.Array,
  count: int,
) -> jax.Array:
  """Tokens [count, length], those of `given` that are not -1 forced."""
  tokens = jnp.zeros((count, len(given)), jnp.int32)

  def step(tokens: jax.Array, place: jax.Array) -> tuple[jax.Array, None]:
    logits = model.apply(params, lexicon.inputs(tokens))[:, place]
    drawn = jax.random.categorical(jax.random.fold_in(key, place), logits / temperature)
    chosen = jnp.where(given[place] < 0, drawn, given[place]).astype(jnp.int32)
    return tokens.at[:, place].set(chosen), None

  return jax.lax.scan(step, tokens, jnp.arange(len(given)))[0]
