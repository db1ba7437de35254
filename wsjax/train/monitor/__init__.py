"""Monitoring of training: metrics, goodput, profiles."""
