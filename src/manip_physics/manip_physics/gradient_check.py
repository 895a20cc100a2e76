"""Gradients held against central differences."""

from collections.abc import Callable

import numpy as np


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """``|found - truth| / |truth|``, infinite where anything is not finite."""
    found, truth = np.asarray(found, float), np.asarray(truth, float)
    if not (np.isfinite(found).all() and np.isfinite(truth).all()):
        return float("inf")
    return float(np.linalg.norm(found - truth) / max(np.linalg.norm(truth), 1e-300))


def directions(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """Random unit vectors ``(count, *shape)``."""
    drawn = np.random.default_rng(seed).normal(size=(count, *shape))
    lengths = np.sqrt((drawn**2).reshape(count, -1).sum(1))
    return drawn / lengths.reshape(count, *[1] * len(shape))


def slopes(
    function: Callable[[np.ndarray], float], at: np.ndarray, along: np.ndarray, step: float
) -> np.ndarray:
    """Derivatives ``(count,)`` along unit vectors ``(count, *at.shape)``, by central differences.

    Where a gradient has many coordinates and each value costs a roll-out, some random directions
    say as much of it.
    """
    return np.array(
        [(function(at + step * d) - function(at - step * d)) / (2.0 * step) for d in along]
    )
