"""Clutched relative motion: where the palm should go, from how the wrist moved since engagement."""

import numpy as np

from manip_core.hand import Hand, palm_rotation
from manip_core.hand_skeleton import Keypoint

# A hand of the other side moves the robot as its reflection in the operator's sagittal plane, whose
# normal is world y (the operator faces world +x).
_SAGITTAL = np.diag([1.0, -1.0, 1.0])


class Clutch:
    """Maps the human wrist's motion to the robot's palm.

    Monocular depth is poor in absolute terms, so only changes count: both poses are anchored at
    engagement, and the palm follows the wrist's displacement, scaled, and its rotation as it is.

    Args:
        camera_rotation: ``(3, 3)``, from ``camera_optical_frame`` to ``world``.
        scale: Metres of the palm per metre of the wrist.
        workspace: ``(2, 3)`` corners of the box that the palm target is kept in, ``world`` [m].
        mirror: Reflect the motion in the operator's sagittal plane.
        rest_band: Motion of the wrist within a ball of this radius is taken for tremor and for the
            wander of landmarks, and not followed [m].
    """

    def __init__(
        self,
        camera_rotation: np.ndarray,
        scale: float,
        workspace: np.ndarray,
        mirror: bool,
        rest_band: float = 0.0,
    ):
        self._to_world = (_SAGITTAL if mirror else np.eye(3)) @ camera_rotation
        self._scale = scale
        self._rest_band = rest_band
        self._workspace = np.asarray(workspace, dtype=float)
        self._anchor: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def engaged(self) -> bool:
        return self._anchor is not None

    def engage(self, palm_position: np.ndarray, palm_rotation_world: np.ndarray, hand: Hand):
        """Anchors the palm's pose, position ``(3,)`` [m] and rotation ``(3, 3)``, to this hand."""
        self._wrist = hand.keypoints[Keypoint.WRIST].copy()
        self._followed = self._wrist.copy()
        self._hand_rotation = palm_rotation(hand.keypoints, hand.side)
        self._anchor = (np.array(palm_position), np.array(palm_rotation_world).reshape(3, 3))

    def release(self):
        self._anchor = None

    def target(self, hand: Hand, hand_rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pose that the palm should have now.

        Args:
            hand: The observation.
            hand_rotation: ``(3, 3)`` its palm frame in ``camera_optical_frame``.

        Returns:
            Position ``(3,)`` [m] and rotation ``(3, 3)`` of ``allegro_palm`` in ``world``.
        """
        position, rotation = self._anchor
        off = hand.keypoints[Keypoint.WRIST] - self._followed
        distance = np.sqrt(off @ off)
        if distance > self._rest_band:
            self._followed += (1.0 - self._rest_band / distance) * off
        moved = self._to_world @ (self._followed - self._wrist)
        turned = self._to_world @ (hand_rotation @ self._hand_rotation.T) @ self._to_world.T
        # An anchor outside the box stays where it is: engaging never moves the arm by itself.
        low = np.minimum(self._workspace[0], position)
        high = np.maximum(self._workspace[1], position)
        return np.clip(position + self._scale * moved, low, high), turned @ rotation
