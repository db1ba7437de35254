"""Conditions: vectors read off checkpoint records that a generator is given."""
