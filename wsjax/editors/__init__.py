"""Editors: equivariant maps from the weights of a network to an update of them."""
