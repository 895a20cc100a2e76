"""How the Allegro drivers name and order the 16 joints; the one table of it.

Our own names are those of MuJoCo Menagerie's model: ``ffj0`` to ``thj3``. Each driver's list is
in the order in which it sends and expects positions.
"""

from dataclasses import dataclass

_FINGERS = ("ff", "mf", "rf", "th")
_THUMB_LAST = tuple(f"{finger}j{i}" for finger in _FINGERS for i in range(4))
_THUMB_FIRST = tuple(f"{finger}j{i}" for finger in ("th", "ff", "mf", "rf") for i in range(4))


@dataclass(frozen=True)
class HandDriver:
    """A driver's view of the hand.

    Attributes:
        joints: Our joint names in the driver's order.
        names: The driver's own names, in the same order.
    """

    joints: tuple[str, ...]
    names: tuple[str, ...]


HAND_DRIVERS = {
    # allegro_hand_ros (V4): one decimal point.
    "v4": HandDriver(_THUMB_LAST, tuple(f"joint_{i}.0" for i in range(16))),
    # allegro_hand_ros2 (V5): positional, the names are not read.
    "v5": HandDriver(_THUMB_LAST, tuple(f"joint_{i}_0" for i in range(16))),
    # Wonik's ros2_control driver: the thumb first.
    "ros2_control": HandDriver(
        _THUMB_FIRST, tuple(f"ah_joint{finger}{i}" for finger in range(4) for i in range(4))
    ),
    "menagerie": HandDriver(_THUMB_LAST, _THUMB_LAST),
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
