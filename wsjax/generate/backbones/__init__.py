"""Backbones: networks that predict a field over tokens at a time t."""
