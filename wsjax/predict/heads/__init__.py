"""Heads: what is read from an embedding, and how wrong that is."""
