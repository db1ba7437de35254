"""Evaluation of generated networks: references, metrics, baselines, reports."""
