"""Temporal fusion: how it is trained."""
