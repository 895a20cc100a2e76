"""What the UR driver says of the arm, and whether it may be commanded.

Topics, values and their meaning are those of ``ur_robot_driver`` (GPIOController and
SpeedScalingStateBroadcaster); names of modes as in ``ur_dashboard_msgs``.
"""

import math
from enum import IntEnum


class RobotMode(IntEnum):
    """``ur_dashboard_msgs/RobotMode``."""

    NO_CONTROLLER = -1
    DISCONNECTED = 0
    CONFIRM_SAFETY = 1
    BOOTING = 2
    POWER_OFF = 3
    POWER_ON = 4
    IDLE = 5
    BACKDRIVE = 6
    RUNNING = 7
    UPDATING_FIRMWARE = 8


class SafetyMode(IntEnum):
    """``ur_dashboard_msgs/SafetyMode``."""

    NORMAL = 1
    REDUCED = 2
    PROTECTIVE_STOP = 3
    RECOVERY = 4
    SAFEGUARD_STOP = 5
    SYSTEM_EMERGENCY_STOP = 6
    ROBOT_EMERGENCY_STOP = 7
    VIOLATION = 8
    FAULT = 9
    VALIDATE_JOINT_ID = 10
    UNDEFINED_SAFETY_MODE = 11
    AUTOMATIC_MODE_SAFEGUARD_STOP = 12
    SYSTEM_THREE_POSITION_ENABLING_STOP = 13


# In these the robot moves as it is told; in REDUCED it slows down by itself, and says so by its
# speed scaling.
_MOVING = (SafetyMode.NORMAL, SafetyMode.REDUCED)


class DriverStatus:
    """The last word of each of the driver's status topics.

    Nothing heard of the program means that it does not run. Safety mode and robot mode may stay
    unheard, where their message package is missing: the program's state then has to do, which
    every safety stop changes too.

    Attributes:
        program_running: Whether the program on the arm that takes commands runs; None: not heard.
        safety_mode, robot_mode: As the driver numbers them; None: not heard.
        speed_scaling: Share of the commanded speed that the arm keeps up with, 0 to 1.
    """

    def __init__(self):
        self.program_running: bool | None = None
        self.safety_mode: int | None = None
        self.robot_mode: int | None = None
        self.speed_scaling = 1.0

    def on_speed_scaling(self, percent: float) -> None:
        """Take the speed scaling in [%], as the driver sends it.

        Raises:
            ValueError: It is not within 0 and 100. The arm then counts as stopped.
        """
        # A hair above 100 is rounding.
        if not (math.isfinite(percent) and -0.01 <= percent <= 100.01):
            self.speed_scaling = 0.0
            raise ValueError(f"speed scaling must be within 0 and 100 %, got {percent}")
        self.speed_scaling = min(max(percent / 100.0, 0.0), 1.0)

    @property
    def safe(self) -> bool:
        """True where neither the safety system nor the power keeps the arm from moving."""
        return self.safety_mode in (None, *_MOVING) and self.robot_mode in (
            None,
            RobotMode.RUNNING,
        )

    @property
    def problem(self) -> str:
        """Why the arm does not follow commands, in words; empty where it does."""
        if self.safety_mode not in (None, *_MOVING):
            return f"the arm is in {_name(SafetyMode, self.safety_mode)}"
        if self.robot_mode not in (None, RobotMode.RUNNING):
            return f"the arm's mode is {_name(RobotMode, self.robot_mode)}, not running"
        if self.program_running is None:
            return "the arm's driver has not said that its program runs"
        if not self.program_running:
            return "the arm's program does not run"
        return ""

    @property
    def word(self) -> str:
        """The status in a few words, for the operator."""
        if self.problem:
            return self.problem
        slowed = self.speed_scaling < 0.995
        return f"ready, slowed to {self.speed_scaling:.0%}" if slowed else "ready"


def _name(modes: type[IntEnum], value: int) -> str:
    try:
        return modes(value).name.lower().replace("_", " ")
    except ValueError:
        return f"unknown mode {value}"
