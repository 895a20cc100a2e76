"""What the arm's own controller says of itself: stopped, slowed, or ready."""

from dataclasses import dataclass

import numpy as np

# Speed scaling below this is a stop.
_PAUSED = 0.01


@dataclass(frozen=True, kw_only=True)
class ArmReport:
    """State of the arm's controller, as its driver reports it.

    Attributes:
        program_running: The program on the arm that takes our commands runs.
        safety_mode_ok: The arm's safety system lets it move (UR: ``NORMAL`` or ``REDUCED``).
        speed_scaling: Share of the programmed speed at which the arm moves, 0 to 1. UR's driver
            publishes percent: divide by 100.
    """

    program_running: bool = True
    safety_mode_ok: bool = True
    speed_scaling: float = 1.0

    def __post_init__(self):
        if not (np.isfinite(self.speed_scaling) and 0.0 <= self.speed_scaling <= 1.01):
            raise ValueError(f"speed_scaling must be within 0 and 1, got {self.speed_scaling}")

    @property
    def stopped(self) -> str:
        """Why the arm does not move, in words; empty where it can."""
        if not self.safety_mode_ok:
            return "the arm is in a safety stop"
        if not self.program_running:
            return "the arm's program is not running"
        if self.speed_scaling < _PAUSED:
            return "the arm's speed is scaled to zero"
        return ""

    @property
    def speed_share(self) -> float:
        """Share of the speed limits that a target may use, so that it does not run ahead."""
        return min(self.speed_scaling, 1.0)


def tracking_share(deviation: float, free: float, most: float) -> float:
    """Share of the speed limits for an arm that trails its command by ``deviation`` [rad].

    All up to ``free``, falling to nothing at ``most``: a command never runs away from an arm that
    is slower than it says, or that something holds.
    """
    return float(np.clip((most - deviation) / (most - free), 0.0, 1.0))
