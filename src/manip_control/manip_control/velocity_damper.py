"""Leads a motion round what is in its way."""

import daqp
import numpy as np

from manip_control.guard import Guard

# Kept above the clearance [m]; distance above that from which on a pair counts [m]; and how fast a
# distance may shrink, as a share of what is left of it [1/s]. Fingers can brake from that speed.
_KEPT, _NEAR, _RATE = 6e-4, 0.02, 20.0
# The operator is told of what takes more than this of a joint's speed [rad/s].
_TOLD = 0.3


class VelocityDamper:
    """Bounds how fast near things approach, and lets joints slide along them.

    The limiter proves every step and stops the joints that are in the way of each other. Without
    this it would have to do so often, where joints go to a free target on ways of their own. Of all
    velocities at which no distance shrinks too fast, to first order, the nearest to the wanted one
    is taken (Faverjon and Tournassoud, 1987). What this gets wrong, the limiter stops.

    Attributes:
        met: What led the last motion far from the wanted one, in words; empty for nothing.
    """

    def __init__(self, guard: Guard):
        self._guard = guard
        self.met = ""

    def slide(self, position: np.ndarray, wanted: np.ndarray, fastest: np.ndarray) -> np.ndarray:
        """The velocity ``(22,)`` to take [rad/s].

        Args:
            position: ``(22,)`` [rad].
            wanted: ``(22,)`` [rad/s].
            fastest: ``(22,)`` greatest speed of each joint [rad/s].
        """
        self.met = ""
        jacobian, distance, rows = self._guard.near_rows(position, _KEPT + _NEAR)
        if not len(distance):
            return wanted
        most = _RATE * (distance - _KEPT)
        if (jacobian @ wanted >= -most).all():
            return wanted
        solution = nearest_velocity(jacobian, most, wanted, fastest)
        if np.abs(solution - wanted).max() > _TOLD:
            mask = np.zeros(len(self._guard.names), bool)
            mask[rows[jacobian @ wanted < -most]] = True
            self.met = self._guard.describe(mask)
        return solution


def nearest_velocity(
    jacobian: np.ndarray, most: np.ndarray, wanted: np.ndarray, fastest: np.ndarray
) -> np.ndarray:
    """Of all velocities ``(n,)`` at which no distance shrinks too fast, the nearest to ``wanted``;
    zeros where there is none.

    Args:
        jacobian: ``(c, n)`` of the distances.
        most: ``(c,)`` how fast each may shrink; negative where it must grow.
        wanted: ``(n,)``.
        fastest: ``(n,)`` most of each joint.
    """
    solution, _, status, _ = daqp.solve(
        np.eye(len(wanted)),
        -wanted,
        np.ascontiguousarray(jacobian),
        np.concatenate((fastest, np.full(len(most), np.inf))),
        np.concatenate((-fastest, -most)),
    )
    return solution if status == 1 else np.zeros_like(wanted)
