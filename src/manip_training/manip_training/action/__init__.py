"""The action decoder: what it learns from, and how."""
