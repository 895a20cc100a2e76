"""How the arm is commanded: a stream of positions, or a trajectory that is replaced all the time.

The forward controller takes whatever it gets, at once, and enforces no limits; a message of a wrong
length it drops without a word. So nothing but six finite numbers is ever made here. The trajectory
controllers interpolate, and follow the pendant's speed slider by themselves.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.interfaces import ARM_COMMAND, SCALED_TRAJECTORY, TRAJECTORY, Topic
from manip_core.robot_model import ARM_JOINTS


@dataclass(frozen=True)
class ArmDriver:
    """A controller of the UR driver.

    Attributes:
        controller: Its name in the controller manager.
        command: The topic that it listens to.
        trajectory: It takes trajectories rather than positions.
    """

    controller: str
    command: Topic
    trajectory: bool = False


# scaled_joint_trajectory_controller was removed in Lyrical, where joint_trajectory_controller
# scales as well (ur_robot_driver/doc/migration/lyrical.rst).
ARM_DRIVERS = {
    "forward": ArmDriver("forward_position_controller", ARM_COMMAND),
    "scaled_trajectory": ArmDriver("scaled_joint_trajectory_controller", SCALED_TRAJECTORY, True),
    "trajectory": ArmDriver("joint_trajectory_controller", TRAJECTORY, True),
}
# Controllers that claim the same joints: whatever of these is active must be ended first.
MOTION_CONTROLLERS = (
    *(driver.controller for driver in ARM_DRIVERS.values()),
    "forward_velocity_controller",
    "passthrough_trajectory_controller",
)
# The controller that the driver starts with: the first of these that there is.
HOME_CONTROLLERS = ("scaled_joint_trajectory_controller", "joint_trajectory_controller")


def arm_driver(name: str) -> ArmDriver:
    """The driver of that name; the error lists the choices."""
    if name not in ARM_DRIVERS:
        raise ValueError(f"arm_driver must be one of {', '.join(ARM_DRIVERS)}, got {name!r}")
    return ARM_DRIVERS[name]


def arm_names(prefix: str) -> tuple[str, ...]:
    """The arm's joint names as a driver with that ``tf_prefix`` has them."""
    return tuple(prefix + name for name in ARM_JOINTS)


def checked(positions) -> np.ndarray:
    """``positions`` as six finite numbers [rad], in the order of ``ARM_JOINTS``.

    Raises:
        ValueError: They are not.
    """
    values = np.asarray(positions, dtype=float)
    if values.shape != (len(ARM_JOINTS),) or not np.isfinite(values).all():
        raise ValueError(f"an arm command must be {len(ARM_JOINTS)} finite positions, got {values}")
    return values


class Switch:
    """Brings the arm's controller to life before the first command, and gives it back afterwards.

    What is active is not asked for: the request names all that must end, with best effort, and the
    controller manager does what is left to do. While the arm's program stands still the driver has
    ended all motion controllers by itself, and starts again those that were active: so nothing is
    asked for then, and everything anew afterwards.

    Attributes:
        active: The controller takes our commands.
        problem: Why it does not, in words; empty where it does.
    """

    RETRY_S = 1.0

    def __init__(self, driver: ArmDriver):
        self.driver = driver
        self.active = False
        self.problem = f"{driver.controller} is not active yet"
        self._asked_at: float | None = None

    def request(self, now: float) -> tuple[list[str], list[str]] | None:
        """Names to activate and to deactivate, or ``None`` where there is nothing to ask now."""
        if self.active or (self._asked_at is not None and now - self._asked_at < self.RETRY_S):
            return None
        self._asked_at = now
        ours = self.driver.controller
        return [ours], [name for name in MOTION_CONTROLLERS if name != ours]

    def done(self, ok: bool, message: str = "") -> None:
        """Take the controller manager's answer."""
        said = f": {message}" if message else ""
        self.active = ok
        self.problem = "" if ok else f"{self.driver.controller} could not be activated{said}"

    def lost(self, why: str) -> None:
        """Another controller, or none, has the arm now."""
        self.active, self.problem, self._asked_at = False, why, None

    def back(self) -> list[tuple[list[str], list[str]]]:
        """Requests that give the arm back, each to be made if the one before it failed."""
        ours = self.driver.controller
        if not self.active or ours in HOME_CONTROLLERS:
            return []
        self.lost("given back")
        return [([name], [ours]) for name in HOME_CONTROLLERS]
