"""What came of controls, as plain MuJoCo and MJX both tell it. Needs no JAX."""

from typing import Any, NamedTuple


class Motion(NamedTuple):
    """The outcome of ``T`` controls; each row as seen in the last step of its control.

    Arrays of numpy or JAX; leading axes of a batch come before ``T``. Servos are in the order of
    :func:`~manip_physics.model.servo_names`.

    Attributes:
        controls: ``(T, n)`` servo targets [rad], the carriage's [m].
        positions: ``(T, n)`` of the joints [rad], the carriage's [m].
        forces: ``(T, n)`` of the servos [N m], the carriage's [N].
        tips: ``(T, 4, 3)`` middles of the fingertips, index, middle, ring, thumb [m] in ``world``.
        thing: ``(T, 7)`` the object's centre [m] and quaternion, w first; ``(T, 0)`` without one.
    """

    controls: Any
    positions: Any
    forces: Any
    tips: Any
    thing: Any
