"""Symmetry groups of network parameters: specs, elements, canonical forms, distances, inference."""
