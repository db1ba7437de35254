"""Backbones: networks that predict a field over tokens at time t."""
