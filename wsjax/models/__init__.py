"""Models with their symmetries: MLP, CNN, SIREN, and those of other JAX libraries."""
