"""The group: what may be done to weights without changing the function."""
