"""Generative models of network weights, one file per family."""
