"""Architectures with their symmetry specs: MLP, CNN, SIREN."""
