"""Editors: weights in, a change of weights out.

Each is a Flax module from the weights of one network to as many numbers, path
by path, and says what it is equivariant to; `embed/residual.py` adds them to
the weights.
"""
