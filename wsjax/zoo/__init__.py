"""The zoo: training, describing and storing populations of networks."""
