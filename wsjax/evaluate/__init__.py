"""What generated networks are worth: every axis, beside every baseline."""
