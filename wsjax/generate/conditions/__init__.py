"""What a network is asked to be, as a vector read off its record."""
