"""Training of the hands between two moments."""
