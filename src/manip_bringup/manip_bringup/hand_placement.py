"""Where a human hand is drawn to compare it with the robot's."""

import mujoco
import numpy as np

from manip_core.hand import Hand, palm_rotation
from manip_core.hand_skeleton import FINGER_CHAINS, FINGERS, Keypoint
from manip_core.robot_model import PALM_FRAME


class HandPlacement:
    """Places a human hand on the robot's palm, its fingers as long as the robot's."""

    def __init__(self, model: mujoco.MjModel, side: str):
        self._side = side
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        chain = ["mf_base", "mf_proximal", "mf_medial", "mf_distal", "mf_tip"]
        points = np.array([data.body(name).xpos for name in chain])
        self._robot_length = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
        palm = data.body(PALM_FRAME)
        self._knuckle = palm.xmat.reshape(3, 3).T @ (points[0] - palm.xpos)
        self._scale: float | None = None

    def update(self, hand: Hand) -> None:
        """Follow the length of the hand's middle finger, slowly."""
        if not hand.tracked or hand.problem():
            return
        chain = hand.keypoints[FINGER_CHAINS[FINGERS.index("middle")]]
        length = np.linalg.norm(np.diff(chain, axis=0), axis=1).sum()
        if length > 0.02:
            scale = self._robot_length / length
            self._scale = scale if self._scale is None else 0.98 * self._scale + 0.02 * scale

    def on_palm(self, hand: Hand) -> np.ndarray | None:
        """The hand's keypoints in the robot's palm frame, ``(21, 3)`` in [m].

        The middle knuckles coincide; None where the hand has no palm.
        """
        if self._scale is None or hand.problem():
            return None
        try:
            rotation = palm_rotation(hand.keypoints, hand.side)
        except ValueError:
            return None
        local = (hand.keypoints - hand.keypoints[Keypoint.MIDDLE_MCP]) @ rotation
        if hand.side != self._side:
            local[:, 1] *= -1.0
        return local * self._scale + self._knuckle
