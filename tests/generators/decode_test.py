"""Networks -> latents -> networks."""

import dataclasses

import numpy as np
import pytest

from tests import strategies
from wsjax.experiments.generation import prepare

CASE = strategies.make_mlp((5, 4, 3, 2))


def fitted(zoo, codec, how='coordinate', tokens=None):
  return prepare.fit(
    zoo, CASE.spec, tokens=tokens or {'name': 'flat'}, normalize={'how': how}, codec=codec
  )


@pytest.mark.parametrize('how', ['layer', 'coordinate', 'none'])
@pytest.mark.parametrize('tokens', ['flat', 'chunks', 'neurons'])
def test_decoding_the_latents_gives_the_networks_back(how, tokens):
  zoo = CASE.params(0, 6)
  decoder, latents = fitted(zoo, {'name': 'identity'}, how, tokens={'name': tokens})
  assert latents.shape[0] == 6 and latents.ndim == 3
  back = decoder.decode(latents)
  for path, value in zoo.items():
    assert isinstance(back[path], np.ndarray)
    np.testing.assert_allclose(back[path], value, atol=1e-6)


def test_a_linear_codec_of_full_rank_loses_nothing():
  zoo = CASE.params(0, 12)
  decoder, latents = fitted(zoo, {'name': 'pca', 'rank': 11})
  assert latents.shape == (12, 1, 11)
  back = decoder.decode(latents)
  for path, value in zoo.items():
    np.testing.assert_allclose(back[path], value, atol=1e-4)


def test_chunks_of_networks_decode_alike():
  decoder, latents = fitted(CASE.params(0, 7), {'name': 'identity'})
  pieces = dataclasses.replace(decoder, chunk_size=3).decode(latents)
  for path, value in decoder.decode(latents).items():
    np.testing.assert_allclose(pieces[path], value, atol=1e-6)


def test_unseen_networks_are_encoded_by_statistics_of_the_training_split():
  zoo, unseen = CASE.params(0, 6), CASE.params(1, 3)
  decoder, _ = fitted(zoo, {'name': 'identity'})
  latents = decoder.encode(unseen)
  assert abs(latents.mean()) > 0  # Not standardised by themselves.
  back = decoder.decode(latents)
  for path, value in unseen.items():
    np.testing.assert_allclose(back[path], value, atol=1e-5)
