"""Arithmetic of motion with limited acceleration and jerk: how fast, how long, how far."""

import numpy as np


def stopping_speed(distance: np.ndarray, acceleration: np.ndarray, jerk: np.ndarray) -> np.ndarray:
    """Greatest speed [rad/s] that can be brought to rest within ``distance`` [rad].

    Braking from a steady speed ``v`` takes ``T = v/a + a/j``, or ``2 sqrt(v/j)`` where the full
    deceleration is not reached, and ``v T / 2`` of way.

    Args:
        distance: ``(n,)``, not negative.
        acceleration: ``(n,)`` greatest deceleration [rad/s^2].
        jerk: ``(n,)`` greatest jerk [rad/s^3].
    """
    step = acceleration**2 / jerk
    full = 0.5 * (np.sqrt(step**2 + 8.0 * acceleration * distance) - step)
    return np.where(full < step, np.cbrt(distance**2 * jerk), full)


def stopping_time(
    velocity: np.ndarray, acceleration: np.ndarray, limit: np.ndarray, jerk: np.ndarray
) -> np.ndarray:
    """Shortest time [s] from a moving state to rest, each joint for itself.

    Args:
        velocity, acceleration: ``(n,)`` the state.
        limit: ``(n,)`` greatest acceleration [rad/s^2].
        jerk: ``(n,)`` greatest jerk [rad/s^3].
    """
    # A joint that slows down too hard already, so that it will turn back, is the mirrored problem.
    left = velocity + acceleration * np.abs(acceleration) / (2.0 * jerk)
    sign = np.where(left >= 0, 1.0, -1.0)
    v, a = sign * velocity, sign * acceleration
    # From a down to -peak, hold it, and back to 0.
    peak = np.minimum(np.sqrt(np.maximum(jerk * v + 0.5 * a**2, 0.0)), limit)
    hold = np.maximum(v - (2.0 * peak**2 - a**2) / (2.0 * jerk), 0.0) / limit
    return (a + 2.0 * peak) / jerk + hold


def way_to_turn(velocity: np.ndarray, acceleration: np.ndarray, jerk: np.ndarray) -> np.ndarray:
    """How far a joint still goes before it turns back on its shortest stop [rad].

    It turns back where its deceleration cannot be taken away before it stands. Zero where the stop
    has no turn.

    Args:
        velocity, acceleration: ``(n,)`` the state.
        jerk: ``(n,)`` greatest jerk [rad/s^3].
    """
    speed, brake = np.abs(velocity), -np.sign(velocity) * acceleration
    root = brake**2 - 2.0 * jerk * speed
    turns = (brake > 0) & (root > 0)
    if not turns.any():
        return np.zeros_like(velocity)
    # The deceleration falls from `brake` at full jerk; the speed's first zero.
    t = np.where(turns, (brake - np.sqrt(np.maximum(root, 0.0))) / jerk, 0.0)
    return np.sign(velocity) * (speed * t - brake * t**2 / 2.0 + jerk * t**3 / 6.0)
