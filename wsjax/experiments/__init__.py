"""Kinds of experiments, one file or folder each."""
