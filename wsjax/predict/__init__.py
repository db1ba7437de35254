"""From an embedding of weights to a property, with its uncertainty."""
