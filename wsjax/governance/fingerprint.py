"""Behavioural fingerprints: whether a generator drew a network, judged by what it computes alone.

Networks are asked for their outputs on secret inputs, which lie where the task decides nothing, so
that independent networks answer differently. What keeps the function of a network keeps its
answers: reordered or additional units, other file formats, another architecture. Nothing is put
into the networks, and samples of every generator have a fingerprint.

How much a suspect answers like the most similar sample is compared with how much trained networks
do: p is the share of those, the suspect counted with them, that are as similar. It is exact if the
suspect is one more of them, and never below 1 over their number and one. Samples of a generator are
relatives, so that other samples of it, and of a generator that was fitted to them, are found too;
which sample it was is a guess. Who fine-tunes for long on the task loses most of it.

Source: He et al. 2019, doi:10.1109/CVPR.2019.00486 (inputs whose outputs identify a network);
Phipson and Smyth 2010, doi:10.2202/1544-6115.1585 (p-values from draws).
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, Int

from wsjax import files, typing
from wsjax import networks as networks_lib
from wsjax.generators.parts import keyed_noise
from wsjax.governance import watermark
from wsjax.models import model as model_lib
from wsjax.zoo.store import store

LEVEL = 0.01  # p below which a network is called a sample.
_PROBES, _CHUNK = 256, 64
_MOST = 2000  # Independent networks.


def probes(
  key: keyed_noise.Key, inputs: Float[np.ndarray, 'b ...'], count: int = _PROBES
) -> Float[np.ndarray, 'p ...']:
  """Secret inputs: noise of the mean and deviation that each number of real inputs has."""
  nonces = [f'probe/{number}' for number in range(count)]
  noise = keyed_noise.normal(key, nonces, int(np.prod(inputs.shape[1:])))
  made = inputs.mean(axis=0) + inputs.std(axis=0) * noise.reshape(count, *inputs.shape[1:])
  return made.astype(np.float32)


def answers(
  model: model_lib.Model, params: typing.StackedParams, secret: Float[np.ndarray, 'p ...']
) -> Float[np.ndarray, 'n q']:
  """Outputs of every network on secret inputs, less their mean over classes, flat."""
  run = jax.jit(jax.vmap(functools.partial(_outputs, model, secret)))
  return networks_lib.in_chunks(run, dict(params), min(_CHUNK, networks_lib.length(params)))


def _outputs(
  model: model_lib.Model, secret: Float[np.ndarray, 'p ...'], params: typing.Params
) -> jax.Array:
  outputs = model.apply(params, secret)
  if model.task == 'classification':  # Probabilities do not change with it.
    outputs -= outputs.mean(axis=-1, keepdims=True)
  return outputs.ravel()


@dataclasses.dataclass(frozen=True, eq=False)
class Fingerprints:
  """Answers of the samples that were issued, and how similar independent networks are to them.

  Attributes:
    typical: [q] mean answers of independent networks.
    samples: [m, q] directions in which the samples differ from it.
    null: [k] largest cosine of each independent network with a sample, increasing.
  """

  typical: Float[np.ndarray, ' q']
  samples: Float[np.ndarray, 'm q']
  null: Float[np.ndarray, ' k']

  def find(
    self, suspects: Float[np.ndarray, 'n q']
  ) -> tuple[Float[np.ndarray, ' n'], Int[np.ndarray, ' n'], Float[np.ndarray, ' n']]:
    """p of every suspect, by its answers; the sample that it is most like, and their cosine."""
    cosines = _cosines(suspects, self.typical, self.samples)
    best = cosines.argmax(axis=1)
    largest = cosines[np.arange(len(cosines)), best]
    above = len(self.null) - np.searchsorted(self.null, largest, side='left')
    return (1 + above) / (1 + len(self.null)), best, largest


def take(samples: Float[np.ndarray, 'm q'], independent: Float[np.ndarray, 'k q']) -> Fingerprints:
  """Takes the fingerprints of samples, from their answers and those of independent networks.

  One half of the independent networks gives the typical answers, the other half the null.

  Raises:
    ValueError: if there is no sample, or fewer than four independent networks.
  """
  if not len(samples) or len(independent) < 4:
    raise ValueError(
      f'{len(samples)} samples and {len(independent)} independent networks; a fingerprint needs 1 '
      'and 4 or more.'
    )
  half = len(independent) // 2
  typical = independent[:half].mean(axis=0)
  directions = _directions(samples, typical)
  null = _cosines(independent[half:], typical, directions).max(axis=1)
  return Fingerprints(typical, directions, np.sort(null))


def _cosines(values: np.ndarray, typical: np.ndarray, directions: np.ndarray) -> np.ndarray:
  """[n, m] of answers and directions; -1 where an answer is not finite."""
  return np.nan_to_num(_directions(values, typical) @ directions.T, nan=-1.0)


def _directions(values: np.ndarray, typical: np.ndarray) -> np.ndarray:
  gaps = np.asarray(values, np.float32) - typical
  return gaps / np.maximum(np.linalg.norm(gaps, axis=1, keepdims=True), 1e-12)


def search(
  networks: Sequence[str],
  workdir: pathlib.Path | str,
  key: pathlib.Path | str,
  others: Sequence[pathlib.Path | str] = (),
  *,
  model: model_lib.Model | None = None,
) -> list[tuple[str, float, str]]:
  """Looks in files for networks that answer like the samples of a run.

  Args:
    networks: files, or the folder of one zoo.
    workdir: of the run; its zoo, whose networks are the independent ones, has to be there.
    key: file with the key that the inputs are drawn with.
    others: more zoos of samples.
    model: of the suspects, if it is not that of the run; it takes the same inputs.

  Returns:
    For each network its name, p, and the key of the sample that it answers most like.

  Raises:
    ValueError: if inputs are no real numbers, there are no samples, outputs differ in shape, or as
      `take`.
  """
  secret = keyed_noise.read(key)
  experiment = watermark.of_workdir(files.folder(workdir, 'run'))
  zoo, inputs = experiment.zoo, experiment.data.dataset.train_x
  if not np.issubdtype(inputs.dtype, np.floating):
    raise ValueError(f'Inputs are {inputs.dtype}; fingerprints need networks of real numbers.')
  suspects = watermark.read_suspects(networks, model or zoo.model)
  hidden = probes(secret, inputs)

  def of(zoo: store.Zoo, model: model_lib.Model) -> np.ndarray:
    return answers(model, zoo.params(np.arange(len(zoo))), hidden)

  drawn = watermark.drawn_by(experiment, others)
  if not drawn:
    raise ValueError(f'{workdir} has no samples to compare with; --issued names some.')
  names = [f'{zoo.path}: {key}' for zoo in drawn for key in zoo.keys]
  rows = np.random.default_rng(0).permutation(zoo.select())[:_MOST]
  known = take(
    np.concatenate([of(each, zoo.model) for each in drawn]),
    answers(zoo.model, zoo.params(rows), hidden),
  )
  theirs = of(suspects, suspects.model)
  if theirs.shape[1] != known.samples.shape[1]:
    raise ValueError(
      f'{networks[0]} has {theirs.shape[1] // _PROBES} outputs, the samples of {workdir} have '
      f'{known.samples.shape[1] // _PROBES}.'
    )
  p, best, _ = known.find(theirs)
  return [(name, float(p[row]), names[best[row]]) for row, name in enumerate(suspects.keys)]
