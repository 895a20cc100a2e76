"""What stands between the UR driver's topics and the arm: controllers, program, stops, slow-down.

Behaves as ``ur_robot_driver`` with its controller stopper is documented to, so that what is proved
here is proved on the code that drives the real arm. Pure: time is an argument.
"""

from dataclasses import dataclass

import numpy as np

from manip_control.arm_drivers import ARM_DRIVERS, HOME_CONTROLLERS, MOTION_CONTROLLERS, checked
from manip_control.arm_status import RobotMode, SafetyMode
from manip_control.faults import Faults
from manip_core.robot_model import ARM_JOINTS

_TRAJECTORY = {driver.controller for driver in ARM_DRIVERS.values() if driver.trajectory}


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """How the emulated driver behaves.

    Attributes:
        max_jump: Commands farther than this from the last one are refused [rad].
        unlock_after: Time after a protective stop before it can be unlocked [s]: 5 s on a UR
            (Dashboard Server manual, "unlock protective stop").
        active: The motion controller that is active at start.
    """

    max_jump: float = 0.2
    unlock_after: float = 5.0
    active: str = HOME_CONTROLLERS[0]

    def __post_init__(self):
        if self.active not in MOTION_CONTROLLERS:
            raise ValueError(
                f"active must be one of {', '.join(MOTION_CONTROLLERS)}, got {self.active!r}"
            )
        if not (self.max_jump > 0 and self.unlock_after >= 0):
            raise ValueError(
                f"max_jump must be positive and unlock_after not negative, got {self.max_jump} "
                f"and {self.unlock_after}"
            )


class EmulatedArm:
    """The driver's state, and the position that the arm's servos are to hold.

    Attributes:
        setpoint: ``(6,)`` in [rad], in the order of ``ARM_JOINTS``.
        active: Name of the active motion controller; empty for none.
        ignored: Commands that came while their controller was not active.
    """

    def __init__(self, config: ArmConfig, faults: Faults, position, velocity: np.ndarray):
        """Stand at ``position`` ``(6,)`` [rad]; ``velocity`` ``(6,)`` [rad/s] are the limits."""
        self.config = config
        self._faults = faults
        self._fastest = velocity
        self.active = config.active
        self.ignored = 0
        self._stopped_controller = ""
        self._program = True
        self._stopped_at = -np.inf
        self.reset(position)

    def reset(self, position) -> None:
        """Stand at ``position`` ``(6,)`` [rad]."""
        self.setpoint = checked(position).copy()
        self._target = self.setpoint.copy()
        self._left = 0.0

    @property
    def program_running(self) -> bool:
        """Whether the driver's program runs on the arm."""
        return self._program

    @property
    def safety_mode(self) -> SafetyMode:
        """As the driver publishes it."""
        stopped = self._faults.get("protective_stop") is not None
        return SafetyMode.PROTECTIVE_STOP if stopped else SafetyMode.NORMAL

    @property
    def robot_mode(self) -> RobotMode:
        """As the driver publishes it: brakes stay open in a protective stop."""
        return RobotMode.RUNNING

    @property
    def speed_scaling(self) -> float:
        """Share of the speed, 0 to 1; the driver publishes it in per cent."""
        if not self._program:
            return 0.0
        scaling = self._faults.size("speed_scaling")
        return 1.0 if scaling is None else scaling

    def switch(self, activate, deactivate, *, strict: bool = False) -> tuple[bool, str]:
        """What ``controller_manager/switch_controller`` does; returns whether it was done.

        With best effort, names that are not there and states that are reached already are passed
        over, unless all names of a list are unknown.
        """
        known = set(MOTION_CONTROLLERS)
        for names in (activate, deactivate):
            unknown = [name for name in names if name not in known]
            if unknown and (strict or len(unknown) == len(names)):
                return False, f"no controller {', '.join(unknown)}"
        wanted = [name for name in activate if name in known]
        if len(wanted) > 1:
            return False, f"{' and '.join(wanted)} claim the same joints"
        active = "" if self.active in deactivate else self.active
        if wanted and active not in ("", wanted[0]):
            return False, f"{wanted[0]} claims joints that {active} has"
        if wanted and not self._program:
            return False, "the robot program does not run"
        self.active = wanted[0] if wanted else active
        self._target, self._left = self.setpoint.copy(), 0.0
        return True, ""

    def command(self, controller: str, positions, seconds: float = 0.0) -> None:
        """Go to ``positions`` [rad]: at once, or within ``seconds``.

        Commands for a controller that is not active, and of a wrong length, are ignored without a
        word, as the driver does.

        Raises:
            ValueError: A value is not finite, or the command jumps. Nothing has changed then.
        """
        values = np.asarray(positions, dtype=float)
        if controller != self.active or values.shape != (len(ARM_JOINTS),):
            self.ignored += 1
            return
        values = checked(values)
        jump = np.abs(values - self._target).max()
        if jump > self.config.max_jump:
            raise ValueError(f"arm command jumps by {jump:.2f} rad, at most {self.config.max_jump}")
        self._target = values
        self._left = seconds if controller in _TRAJECTORY else 0.0

    def step(self, dt: float, measured: np.ndarray, now: float) -> np.ndarray:
        """Advance by ``dt`` [s]; ``measured`` ``(6,)`` [rad] is where the arm is."""
        stop = self._faults.get("protective_stop") is not None
        if (stop or self._faults.get("program_stop") is not None) and self._program:
            self._halt(measured)
            self._stopped_at = now
        if self._program and self.active:
            scale = self.speed_scaling
            way = self._target - self.setpoint
            if self._left > 0.0:
                way = way * min(1.0, scale * dt / self._left)
                self._left -= scale * dt
            elif scale < 1.0:
                way = np.clip(way, *(scale * dt * self._fastest * sign for sign in (-1, 1)))
            self.setpoint = self.setpoint + way
        return self.setpoint

    def unlock(self, now: float) -> tuple[bool, str]:
        """``dashboard_client/unlock_protective_stop``. The program stays stopped."""
        if self._faults.get("protective_stop") is None:
            return True, "there is no protective stop"
        left = self.config.unlock_after - (now - self._stopped_at)
        if left > 0:
            return False, f"cannot unlock the protective stop yet: {left:.1f} s to go"
        self._faults.end("protective_stop")
        return True, "protective stop releasing"

    def stop_program(self, measured: np.ndarray) -> None:
        """``dashboard_client/stop``."""
        if self._program:
            self._halt(measured)

    def play(self) -> tuple[bool, str]:
        """``dashboard_client/play`` and ``io_and_status_controller/resend_robot_program``."""
        if self._faults.get("protective_stop") is not None:
            return False, "failed to start the program: protective stop"
        self._faults.end("program_stop")
        if not self._program:
            self._program = True
            # The controller stopper starts again what it has stopped.
            self.active = self._stopped_controller
            self._target, self._left = self.setpoint.copy(), 0.0
        return True, "starting program"

    def _halt(self, measured: np.ndarray) -> None:
        self._program = False
        self._stopped_controller, self.active = self.active, ""
        self.reset(measured)
