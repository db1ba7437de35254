"""Training: minimizes the objective of an experiment, with exact resumption."""
