"""Data sets that networks of a zoo are trained on."""
