"""All that is inferred about a corpus of functions and models holds, and little is missed."""

import jax
import pytest

from tests.symmetry import corpus, fuzz
from wsjax.symmetry.inference import infer

NAMES = list(corpus.CASES)
# The symmetries that are not found, of all cases.
MAX_MISSED = {'permutations': 0.01, 'all': 0.03}


def _check(name):
  """Raises unless all that is inferred holds, in float64, on random weights and inputs.

  Returns:
    Whether (permutations, all symmetries) are complete.
  """
  with jax.enable_x64(True), jax.numpy_rank_promotion('allow'):
    fn, params, inputs, permutations, kinds = corpus.made(name)
    closed = jax.make_jaxpr(fn)(params, *inputs)
    inferred = infer.of_jaxpr(closed, infer.flatten(params)[0])
    drawn, args = fuzz.drawn((params, inputs), seed=0)
    for what, change in fuzz.changes_of(inferred, closed, drawn, args, seed=1):
      assert change < 1e-8, (name, what, change)
  found, others = corpus.found(inferred)
  return not permutations - found, not (permutations - found or kinds - others)


def test_elements_of_a_cut_of_the_corpus_hold():
  for name in NAMES[::9]:
    assert _check(name)[0], name


@pytest.mark.slow
def test_corpus_is_sound_and_nearly_complete():
  assert len(NAMES) >= 150
  complete = [_check(name) for name in NAMES]
  for which, rate in enumerate(MAX_MISSED.values()):
    missed = [name for name, done in zip(NAMES, complete, strict=True) if not done[which]]
    assert len(missed) <= rate * len(NAMES), missed
