"""From weights to embeddings: codecs, and encoders that respect symmetry."""
