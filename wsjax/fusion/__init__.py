"""Fusion: several networks become one, by their weights alone or with the help of data."""
