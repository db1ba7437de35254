"""Generative predictors: noise and a condition to weights."""
