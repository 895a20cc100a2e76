"""How old the newest joint states and targets are, and what follows from it."""

import numpy as np

from manip_control.control_config import ControlConfig

# Commands faster than this should show in the joint states [rad/s].
_MOVING = 0.1
LATE, FROZEN = "joint states are late", "joint states are frozen"


class Watchdog:
    """Remembers when what arrived. A moment that lies in the future means a clock set back, and
    counts as long ago.

    Attributes:
        state_at, target_at: When joint states, and targets of this engagement, last came [s].
    """

    def __init__(self, config: ControlConfig):
        self._config = config
        self.state_at = -np.inf
        self.target_at = -np.inf
        self._measured: np.ndarray | None = None
        self._changed_at = -np.inf
        self._still_until = -np.inf
        self._still = False

    def saw_states(self, measured: np.ndarray, now: float) -> None:
        """Joint states came, ``(n,)`` in [rad]."""
        self.state_at = now
        if self._measured is None or not np.array_equal(measured, self._measured):
            self._changed_at = now
        self._measured = measured

    def saw_target(self, now: float) -> None:
        """A target was let in."""
        self.target_at = now

    def commanded(self, velocity: np.ndarray, now: float) -> None:
        """Commands at this velocity ``(n,)`` [rad/s] were sent."""
        still = bool(np.abs(velocity).max() < _MOVING)
        # After a pause of ours, too, motion is expected from the first command of it on.
        if still or self._still:
            self._still_until = now
        self._still = still

    def forgive_frozen(self, now: float) -> None:
        """Give joint states that do not change another chance."""
        self._still_until = now

    def forget_targets(self) -> None:
        """A new engagement has had no target yet."""
        self.target_at = -np.inf

    def state_trouble(self, now: float) -> str:
        """Why the joint states cannot be relied on, in words; empty where they can."""
        if self._age(self.state_at, now) > self._config.state_timeout:
            return LATE
        since = self._moves_since(now)
        # The robot cannot be known to have stopped before it has had time to follow.
        if np.isfinite(since) and self._age(since, now) > 2.0 * self._config.state_timeout:
            return FROZEN
        return ""

    def state_lost(self, now: float) -> bool:
        """True where joint states have been missing, or frozen, for so long that it releases."""
        known = min(self.state_at, self._moves_since(now))
        return self._age(known, now) > self._config.state_release

    def target_late(self, now: float) -> bool:
        """True where the newest target will be too old to be followed before the next step."""
        step = 1.0 / self._config.rate
        return self._age(self.target_at, now) > self._config.target_timeout - step

    def target_lost(self, engaged_at: float, now: float) -> bool:
        """True where targets have been missing, since engagement, for so long that it releases."""
        return self._age(max(self.target_at, engaged_at), now) > self._config.release_timeout

    def _moves_since(self, now: float) -> float:
        """Since when the joint states should have changed; a robot that was told to stand still
        since then may stand still."""
        return now if self._still else max(self._changed_at, self._still_until)

    def _age(self, then: float, now: float) -> float:
        age = now - then
        return age if age >= -self._config.max_future else np.inf
