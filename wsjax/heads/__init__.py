"""Heads: predictions and losses on top of an embedding of weights."""
