"""Codecs between tokens and the latents that a generator models."""
