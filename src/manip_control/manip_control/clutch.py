"""The clutch: whether the robot follows, who said so, and since when."""

import numpy as np

from manip_control.control_config import ControlConfig

HOLD, ENGAGED = 0, 1
MODES = (HOLD, ENGAGED)
_WAITING = "waiting for joint states"


class Clutch:
    """Holds or follows. An operator's hold stands until an operator engages again.

    Attributes:
        mode: ``HOLD`` or ``ENGAGED``.
        reason: Why the robot stands still, in words; empty while it follows.
        engagement: Number of the present (or last) engagement.
        engaged_at: Time of the last engagement [s]; minus infinity before the first.
        held_by_operator: An operator asked for hold: it does not engage by itself.
    """

    def __init__(self, config: ControlConfig, engagement: int = 0):
        self._config = config
        self.mode = HOLD
        self.reason = _WAITING
        self.engagement = engagement
        self.engaged_at = -np.inf
        self.held_by_operator = False
        self._heard_at: float | None = None

    def states_came(self) -> None:
        """The robot has been heard of: there is nothing to wait for but the operator."""
        if self.reason == _WAITING:
            self.reason = "ready to engage"

    def heartbeat(self, now: float) -> None:
        """An operator's page is open."""
        self._heard_at = now

    def hold(self, reason: str = "released by the operator") -> None:
        """An operator, or an operator's absence, asks for hold."""
        self.held_by_operator = True
        self.release(reason)

    def release(self, reason: str) -> None:
        """Stop following, for ``reason``."""
        self.mode, self.reason = HOLD, reason

    def engage(self, now: float, *, automatic: bool = False) -> tuple[bool, str]:
        """Follow from now on, if nothing in the clutch forbids it; done or not, and why."""
        if self.mode == ENGAGED:
            return True, "already engaged"
        if automatic and self.held_by_operator:
            return False, "cannot engage by itself: the operator asked for hold"
        if self._config.require_heartbeat and not self._page_is_open(now):
            return False, "cannot engage: no operator's page is open"
        if not self._page_is_open(now):
            # Nobody's page is watched who engages by other means.
            self._heard_at = None
        self.mode, self.reason = ENGAGED, "waiting for the hand"
        self.held_by_operator = False
        self.engagement += 1
        self.engaged_at = now
        return True, "engaged from where the robot is"

    def wants_to_engage(self) -> bool:
        """True where it is to engage by itself as soon as the robot is ready."""
        return self._config.auto_engage and self.mode == HOLD and not self.held_by_operator

    def watch_page(self, now: float) -> None:
        """Release where a page was open and is closed, or silent for too long."""
        closed = self._heard_at is not None and not self._page_is_open(now)
        if self.mode == ENGAGED and closed:
            self.hold("the operator's page is closed or silent")

    def _page_is_open(self, now: float) -> bool:
        if self._heard_at is None:
            return False
        return abs(now - self._heard_at) <= self._config.heartbeat_timeout
