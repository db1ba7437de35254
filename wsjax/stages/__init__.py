"""The stages of an experiment, each a function of a config and a workdir."""
