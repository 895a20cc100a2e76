"""A hand with everything that an estimator may see of it, made up for tests."""

import numpy as np

from manip_core import resources
from manip_core.hand import LEFT, RIGHT, Hand, SeenContact, SeenObject
from manip_core.rotation import exponential
from synthetic_hand import OPEN

BOX = SeenObject(
    name="box",
    position=np.array((0.06, 0.0, 0.52)),
    rotation=exponential(np.array((0.3, -0.4, 0.2))),
    confidence=0.8,
    size=np.array((0.05, 0.09, 0.16)),
)
UNSIZED = SeenObject(
    name="spoon", position=np.array((-0.1, 0.05, 0.6)), rotation=np.eye(3), confidence=0.4
)
GRIP = SeenContact(
    region="index_tip",
    point=np.array((0.04, -0.1, 0.58)),
    force_direction=np.array((0.0, 0.6, -0.8)),
    force=2.5,
    kind="firm",
    probability=0.9,
)
GRAZE = SeenContact(
    region="palm",
    point=np.array((0.0, 0.0, 0.6)),
    force_direction=np.zeros(3),
    force=float("nan"),
    kind="light",
    probability=0.3,
)


def open_surface(side: str = RIGHT) -> np.ndarray:
    """The open hand's mesh ``(778, 3)`` in [m] about where ``OPEN`` is, its palm to the camera."""
    with np.load(resources.find("assets/hand/open_hand_right.npz")) as file:
        # Its fingers point to -x, its palm to -y.
        points = file["template"][:, [2, 0, 1]].astype(float)
    if side == LEFT:
        points[:, 0] *= -1
    return points + np.array((0.0, -0.04, 0.6))


def seen_hand(stamp: float = 0.0, side: str = RIGHT, **changes) -> Hand:
    """A tracked hand with a surface, two objects and two contacts."""
    fields = {
        "keypoints": OPEN.copy(),
        "keypoints_std": np.full((21, 3), 0.01),
        "keypoints_px": 320 + 500 * OPEN[:, :2] / OPEN[:, 2:],
        "confidence": 0.9,
        "tracked": True,
        "vertices": open_surface(side),
        "objects": (BOX, UNSIZED),
        "contacts": (GRIP, GRAZE),
    }
    return Hand(stamp=stamp, side=side, **fields | changes)
