"""Triangles of the hand's mesh, for whoever draws its vertices."""

from functools import lru_cache

import numpy as np

from manip_core import resources
from manip_core.hand import LEFT, SIDES

# The open hand and MANO share their vertices and triangles.
_FILE = "assets/hand/open_hand_right.npz"


@lru_cache
def hand_faces(side: str) -> np.ndarray:
    """``(1538, 3)`` int32 rows of the vertices, counter-clockwise from outside.

    A left hand's vertices are a right one's in the mirror, so its triangles are turned over.
    """
    if side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    with np.load(resources.find(_FILE)) as file:
        faces = file["faces"].astype(np.int32)
    return faces[:, ::-1].copy() if side == LEFT else faces
