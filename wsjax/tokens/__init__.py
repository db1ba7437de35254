"""Tokenization: a checkpoint as arrays a model can read, and back."""
