"""Training checkpoints with checksums, retention and quarantine of damage."""
