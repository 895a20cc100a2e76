"""Hands that are kept out of an object, by its distance field.

Keypoints lie inside the fingers: one is as far from the surface as the finger is thick, or it is in
the object. Angles and place of the hand give way as little as they can (damped least squares), most
amid the gap and not at all at its ends.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.hand_skeleton import NUM_KEYPOINTS, TIPS, Keypoint
from manip_model.distance_field import DistanceField
from manip_model.transition_features import NUM_VALUES, hands_of

# Half the thickness of a finger about its keypoints [m]; the wrist is thicker and never meant.
THICKNESS = np.full(NUM_KEYPOINTS, 0.008)
THICKNESS[TIPS] = 0.007
_ROUNDS, _STEP = 4, 1e-4
# How much a unit of angle [rad] or place [dm] is held against a metre in the object.
_STIFFNESS = 0.02


@dataclass(frozen=True)
class Near:
    """An object in the way.

    Attributes:
        field: Of its surface, in its own frame.
        rotation, position: ``(3, 3)`` and ``(3,)`` [m], from its frame to the hand's.
    """

    field: DistanceField
    rotation: np.ndarray
    position: np.ndarray

    def depths(self, joints: np.ndarray) -> np.ndarray:
        """How far ``(…, 21)`` [m] joints ``(…, 21, 3)`` are deeper than they may be; 0 for none."""
        distance, _ = self.field.at((joints - self.position) @ self.rotation)
        depth = np.maximum(THICKNESS - distance, 0.0)
        depth[..., Keypoint.WRIST] = 0.0
        return depth


def kept_clear(
    values: np.ndarray,
    window: np.ndarray,
    near: Near,
    frame: tuple[np.ndarray, np.ndarray],
    sizes: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Values ``(G, NUM_VALUES)`` of hands that are out of the object, or nearly.

    Args:
        values: See :mod:`manip_model.transition_features`.
        window: ``(G,)`` how far each may give way, 0 at what is known.
        near: The object.
        frame: Turn ``(3, 3)`` and wrist ``(3,)`` of the hand that the values are told against.
        sizes: Palms ``(G, 5, 3)`` and lengths ``(G, 15)`` [m].
    """
    values = values.copy()
    for _ in range(_ROUNDS):
        depth = near.depths(hands_of(values, *frame, *sizes))
        rows = np.flatnonzero((depth > 1e-5).any(-1) & (window > 0))
        if not len(rows):
            break
        # (G, 36, 36): one value after the other a little more.
        tried = values[rows, None] + _STEP * np.eye(NUM_VALUES)
        palms, lengths = (np.repeat(part[rows], NUM_VALUES, 0) for part in sizes)
        moved = near.depths(hands_of(tried.reshape(-1, NUM_VALUES), *frame, palms, lengths))
        slopes = (moved.reshape(len(rows), NUM_VALUES, -1) - depth[rows, None]) / _STEP
        # Only what gives way counts: a window of 0 would hold it.
        slopes = slopes * window[rows, None, None]
        normal = slopes @ slopes.swapaxes(-1, -2) + _STIFFNESS**2 * np.eye(NUM_VALUES)
        wanted = slopes @ depth[rows, :, None]
        values[rows] -= window[rows, None] * np.linalg.solve(normal, wanted)[..., 0]
    return values
