"""The zoo: breeding, describing and storing populations of networks."""
