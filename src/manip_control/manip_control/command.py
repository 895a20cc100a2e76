"""What goes to the robot."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Command:
    """What to send to the robot.

    Attributes:
        positions: ``(n,)`` in [rad], in the order of the controller's names.
        stamp: Exposure of the image behind it [s]; ``None`` before the first target.
        fresh: True for the first command made from that image.
        arm: The arm took commands as this was made, and it goes on from where the arm stands; else
            the arm's part must not be sent.
    """

    positions: np.ndarray
    stamp: float | None
    fresh: bool
    arm: bool
