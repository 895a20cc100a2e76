"""How the Allegro drivers name and order the 16 joints, and where they listen; the one table of it.

Our own names are those of MuJoCo Menagerie's model: ``ffj0`` to ``thj3``. Each driver's list is
in the order in which it sends and expects positions.

Sources: ``allegro_node.cpp`` of simlabrobotics/allegro_hand_ros_v4 and of
Wonikrobotics-git/allegro_hand_ros2_v5 (both read a command's positions by place and pass over its
names), ``ros2_controllers.yaml`` and ``v4_hardware_interface.cpp`` of
Wonikrobotics-git/allegro_hand_ros2 (finger 0 is the thumb).
"""

from dataclasses import dataclass

import numpy as np

from manip_core.interfaces import HAND_COMMAND, HAND_POSITIONS, HAND_STATES, JOINT_STATES, Topic

_FINGERS = ("ff", "mf", "rf", "th")
_THUMB_LAST = tuple(f"{finger}j{i}" for finger in _FINGERS for i in range(4))
_THUMB_FIRST = tuple(f"{finger}j{i}" for finger in ("th", "ff", "mf", "rf") for i in range(4))


@dataclass(frozen=True)
class HandDriver:
    """A driver's view of the hand.

    Attributes:
        joints: Our joint names in the driver's order.
        names: The driver's own names, in the same order.
        positional: The driver passes over the names in a command.
        command: The topic that it listens to.
        states: The topic that it sends its joints to.
    """

    joints: tuple[str, ...]
    names: tuple[str, ...]
    positional: bool = True
    command: Topic = HAND_COMMAND
    states: Topic = HAND_STATES

    def arrange(self, positions: dict[str, float]) -> list[float]:
        """Positions [rad] by our names, as the driver's list."""
        return [float(positions[name]) for name in self.joints]

    def read(self, names, positions) -> tuple[tuple[str, ...], np.ndarray]:
        """A command as the driver understands it: our joint names, and positions [rad].

        Raises:
            ValueError: It is not for this driver.
        """
        values = np.asarray(positions, dtype=float)
        if self.positional:
            if values.shape != (len(self.joints),):
                raise ValueError(
                    f"hand command must hold {len(self.joints)} positions, got {values.shape}"
                )
            return self.joints, values
        ours = dict(zip(self.names, self.joints, strict=True))
        unknown = [name for name in names if name not in ours]
        if unknown:
            raise ValueError(f"hand command names unknown joints {unknown}; known: {self.names}")
        return tuple(ours[name] for name in names), values


_V4 = HandDriver(_THUMB_LAST, tuple(f"joint_{i}.0" for i in range(16)))
HAND_DRIVERS = {
    # allegro_hand_ros (V4): one decimal point.
    "v4": _V4,
    # allegro_hand_ros2 (V5).
    "v5": HandDriver(_THUMB_LAST, tuple(f"joint_{i}_0" for i in range(16))),
    # Wonik's ros2_control driver: the thumb first, plain numbers, states beside the arm's.
    "ros2_control": HandDriver(
        _THUMB_FIRST,
        tuple(f"ah_joint{finger}{i}" for finger in range(4) for i in range(4)),
        command=HAND_POSITIONS,
        states=JOINT_STATES,
    ),
    "menagerie": HandDriver(_THUMB_LAST, _THUMB_LAST, positional=False, states=JOINT_STATES),
    # Our own driver of a V4 on the CAN bus speaks as V4's does.
    "can": _V4,
}


def hand_driver(name: str) -> HandDriver:
    """The driver of that name; the error lists the choices."""
    if name not in HAND_DRIVERS:
        raise ValueError(f"hand_driver must be one of {', '.join(HAND_DRIVERS)}, got {name!r}")
    return HAND_DRIVERS[name]


def our_names() -> dict[str, str]:
    """Every driver's joint name to ours."""
    return {
        theirs: ours
        for driver in HAND_DRIVERS.values()
        for theirs, ours in zip(driver.names, driver.joints, strict=True)
    }
