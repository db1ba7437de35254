"""Geometry of the loss in weight space, and of sets of networks."""
