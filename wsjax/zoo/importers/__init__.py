"""Importers: published networks of others, as zoos."""
