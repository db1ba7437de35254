"""wsjax: neural-network weights as a data modality, in JAX.

The rooms, in the order of the pipeline:

  symmetry     what may be done to weights without changing the function they compute
  models       architectures whose weights are read, or your own from flax, nnx, Equinox or haiku
  networks     many networks of one architecture, trained and evaluated in one batch
  zoo          checkpoints as data: train, describe, store, split
  tokens       weights as arrays that a model can read, and back
  encoders     weights as vectors; with codecs, also back
  generators   noise and a condition to weights
  train        the training loop and its objectives
  evaluation   metrics, baselines, differences, flags and the gate; the report
  experiments  one file per kind of experiment, from a config to a report
"""

__version__ = '0.1.0'
