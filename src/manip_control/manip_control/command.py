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
    """

    positions: np.ndarray
    stamp: float | None
    fresh: bool
