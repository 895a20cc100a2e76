"""Differentiable physics: the suite's robot in MJX. Needs JAX (scripts/setup_physics.sh)."""
