"""Position, velocity and acceleration limits on a stream of joint targets."""

import numpy as np

from manip_core.robot_model import Limits


class Limiter:
    """Follows a target as fast as the limits allow, and stops before every limit.

    The state is the commanded position and velocity. Each step picks a velocity within one
    acceleration of the last, from which the joint can still stop before its position limit. Such a
    velocity exists at every step, whatever its length: with a distance ``d ≥ v²/2a`` left, braking
    for ``dt`` leaves ``d' = d − (v − a·dt)·dt ≥ (v − a·dt)²/2a``. So by induction no output breaks
    a limit, for any input.

    Attributes:
        position: ``(n,)`` commanded position in [rad].
        velocity: ``(n,)`` commanded velocity in [rad/s].
    """

    def __init__(self, limits: Limits, *, gain: float = 20.0):
        """Limit with ``limits``; ``gain`` [1/s] is how hard the error to the target is closed."""
        if not gain > 0:
            raise ValueError(f"gain must be positive, got {gain}")
        if not ((limits.velocity > 0).all() and (limits.acceleration > 0).all()):
            raise ValueError("velocity and acceleration limits must be positive")
        self.limits = limits
        self.gain = gain
        self.position = np.clip(np.zeros_like(limits.lower), limits.lower, limits.upper)
        self.velocity = np.zeros_like(limits.lower)

    def reset(self, position: np.ndarray) -> None:
        """Start at rest from a measured ``position`` ``(n,)`` in [rad]."""
        position = np.asarray(position, dtype=float)
        if position.shape != self.position.shape or not np.isfinite(position).all():
            raise ValueError(
                f"position must be {self.position.shape} and finite, got {position.shape}"
            )
        self.position = position.copy()
        self.velocity = np.zeros_like(position)

    def step(
        self, target: np.ndarray | None, dt: float, feed_forward: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Advance by ``dt`` [s] towards ``target`` and return the new position ``(n,)`` in [rad].

        Args:
            target: ``(n,)`` in [rad], clipped to the limits; ``None`` brakes to a stop.
            dt: Time since the last step, positive.
            feed_forward: ``(n,)`` velocity of the target in [rad/s].
        """
        limits = self.limits
        if target is None:
            wanted = np.zeros_like(self.velocity)
        else:
            error = np.clip(target, limits.lower, limits.upper) - self.position
            # Fast where far, and never faster than can be braked before the target.
            approach = self._stopping_speed(np.abs(error), dt)
            wanted = np.clip(self.gain * error, -approach, approach) + feed_forward
        # A robot found outside its limits may move inwards only.
        up = self._stopping_speed(np.maximum(limits.upper - self.position, 0.0), dt)
        down = self._stopping_speed(np.maximum(self.position - limits.lower, 0.0), dt)
        wanted = np.clip(wanted, -limits.velocity, limits.velocity)
        change = limits.acceleration * dt
        wanted = np.clip(wanted, self.velocity - change, self.velocity + change)
        self.velocity = np.clip(wanted, -down, up)
        self.position = self.position + self.velocity * dt
        return self.position

    def _stopping_speed(self, distance: np.ndarray, dt: float) -> np.ndarray:
        """Largest ``v`` with ``v·dt + v²/2a ≤ distance``: one step, then braking."""
        a = self.limits.acceleration
        return a * (np.sqrt(dt * dt + 2.0 * distance / a) - dt)

    @property
    def at_rest(self) -> bool:
        """True where no joint is commanded to move."""
        return not self.velocity.any()
