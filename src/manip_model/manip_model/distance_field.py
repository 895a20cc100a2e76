"""Signed distances on a grid: how far points are from a surface, and which way is out."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class DistanceField:
    """Distances from a surface, in the frame of what has it.

    Attributes:
        low: ``(3,)`` the grid's first point [m].
        step: Between grid points [m].
        values: ``(X, Y, Z)`` [m], negative inside; each axis of two points or more.
    """

    low: np.ndarray
    step: float
    values: np.ndarray

    def __post_init__(self):
        if self.values.ndim != 3 or min(self.values.shape) < 2:
            raise ValueError(
                f"values must be a grid of 2 points or more a side, got {self.values.shape}"
            )
        if not self.step > 0:
            raise ValueError(f"step must be positive, got {self.step}")
        if not np.isfinite(self.values).all():
            raise ValueError("values must be finite")

    @property
    def points(self) -> np.ndarray:
        """``(X, Y, Z, 3)`` of the grid [m]."""
        axes = [np.arange(count) * self.step for count in self.values.shape]
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1) + self.low

    def at(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances ``(…)`` [m] and their gradients ``(…, 3)`` at points ``(…, 3)`` [m].

        Linear between the grid's points. Beyond the grid it is the distance of the grid's nearest
        point and the way there, more than which it cannot be.
        """
        top = np.array(self.values.shape) - 1
        place = (np.asarray(points, float) - self.low) / self.step
        inside = np.clip(place, 0, top)
        cell = np.minimum(inside.astype(int), top - 1)
        share = inside - cell
        corner = self.values[tuple(np.moveaxis(cell[..., None, :] + _CORNERS, -1, 0))]
        weights = np.where(_CORNERS, share[..., None, :], 1 - share[..., None, :])
        distance = (weights.prod(-1) * corner).sum(-1)
        slopes = [
            (
                np.where(_CORNERS[:, axis], 1.0, -1.0)
                * np.delete(weights, axis, -1).prod(-1)
                * corner
            ).sum(-1)
            for axis in range(3)
        ]
        beyond = (place - inside) * self.step
        far = np.linalg.norm(beyond, axis=-1)
        out = beyond / np.maximum(far, 1e-12)[..., None]
        gradient = np.where(beyond != 0, out, np.stack(slopes, -1) / self.step)
        return distance + far, gradient


# Of a cell, ``(8, 3)``.
_CORNERS = np.stack(np.meshgrid((0, 1), (0, 1), (0, 1), indexing="ij"), -1).reshape(-1, 3)
