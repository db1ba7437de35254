"""Equivariant building blocks of encoders, editors and generators."""
