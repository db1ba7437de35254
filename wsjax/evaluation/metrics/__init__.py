"""Metrics of generated networks, one file per group."""
