"""wsjax: neural-network weights as a data modality, in JAX.

The rooms stand in pipeline order, and a room imports only rooms above it:

  symmetry   what may be done to weights without changing the function
  zoo        checkpoints as data: train, describe, store, split
  tokens     weights as arrays a model can read, and back
  embed      weights as vectors
  generate   noise and a condition to weights
  train      strategies that fit the models above
  evaluate   every axis, every baseline, one gate
  bench      speed, measured side by side
"""

__version__ = '0.1.0'
