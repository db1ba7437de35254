"""Encoders of network weights, one file each."""
