"""Where the target is now: targets come late, and seldomer than commands are sent."""

import numpy as np

from manip_control.control_config import ControlConfig
from manip_control.gate import Target

# Share of a new velocity that is believed: two frames' difference is noisy.
_NEW = 0.5


class Predictor:
    """Extrapolates the targets' motion from their exposure to now.

    Attributes:
        position: ``(n,)`` the newest target [rad]; None before the first.
        stamp: Its exposure [s]; None before the first.
    """

    def __init__(self, config: ControlConfig):
        self._config = config
        self.clear()

    def clear(self) -> None:
        """Forget all targets."""
        self.position: np.ndarray | None = None
        self.stamp: float | None = None

    def add(self, target: Target, present: np.ndarray) -> None:
        """Take a target; joints that it does not name keep the one they had.

        Args:
            target: The target.
            present: ``(n,)`` commanded positions [rad], for joints that never had one.
        """
        before = present if self.position is None else self.position
        position = before.copy()
        position[target.joints] = target.positions
        velocity = np.zeros_like(position)
        gap = np.inf if self.stamp is None else target.stamp - self.stamp
        if 0 < gap <= self._config.target_timeout:
            moved = (target.positions - before[target.joints]) / gap
            velocity[target.joints] = _NEW * moved + (1.0 - _NEW) * self._velocity[target.joints]
        self.position, self.stamp, self._velocity = position, target.stamp, velocity

    def aim(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """Position [rad] and velocity [rad/s] of the target at ``now``, each ``(n,)``."""
        ahead = max(now - self.stamp, 0.0)
        velocity = self._config.feed_forward * self._velocity
        if ahead >= self._config.max_prediction:
            return self.position + self._config.max_prediction * velocity, np.zeros_like(velocity)
        return self.position + ahead * velocity, velocity
