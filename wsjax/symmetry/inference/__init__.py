"""Inference of the symmetry spec of a JAX function from its jaxpr."""
