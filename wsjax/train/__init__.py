"""Training: what fits a generator, exactly resumable."""
