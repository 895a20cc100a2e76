"""The One-Euro filter: smooth when the signal rests, quick when it moves.

Casiez, Roussel, Vogel: "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input in
Interactive Systems", CHI 2012.
"""

import numpy as np


def smoothing_factor(cutoff: np.ndarray | float, dt: float) -> np.ndarray | float:
    """Share of the new value in a first-order low-pass of ``cutoff`` [Hz] after ``dt`` [s]."""
    turn = 2.0 * np.pi * cutoff * dt
    return turn / (turn + 1.0)


class OneEuroFilter:
    """Low-passes vectors ``(…, d)``; the speed that opens it is that of the whole vector."""

    def __init__(self, min_cutoff: float, beta: float, speed_cutoff: float = 1.0):
        """``min_cutoff`` [Hz] at rest, ``beta`` [Hz per unit/s] more per speed."""
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next value passes unchanged."""
        self._value = self._speed = None
        self._stamp = 0.0

    def update(self, value: np.ndarray, stamp: float) -> np.ndarray:
        """The filtered ``value`` at ``stamp`` [s], which must be later than the last one."""
        if self._value is None:
            self._value, self._speed = value.astype(float), np.zeros_like(value, dtype=float)
        else:
            dt = stamp - self._stamp
            if not dt > 0:
                raise ValueError(f"stamp must be later than {self._stamp}, got {stamp}")
            speed = (value - self._value) / dt
            self._speed += smoothing_factor(self.speed_cutoff, dt) * (speed - self._speed)
            fast = np.linalg.norm(self._speed, axis=-1, keepdims=True)
            share = smoothing_factor(self.min_cutoff + self.beta * fast, dt)
            self._value = self._value + share * (value - self._value)
        self._stamp = stamp
        return self._value.copy()
