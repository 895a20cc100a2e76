"""Where the robot's fingertips are in its palm, and how its joints move them."""

import mujoco
import numpy as np

from manip_core import robot_model
from manip_core.hand import RIGHT

# In the order of the robot's joints.
FINGERS = tuple(robot_model.FINGER_JOINTS)
THUMB = FINGERS.index("thumb")


class Fingertips:
    """Kinematics of the four fingers, in ``allegro_palm``."""

    def __init__(self, side: str = RIGHT):
        self._model = model = robot_model.build_model(side, with_scene=False)
        self._data = mujoco.MjData(model)
        self._data.qpos[:] = robot_model.home(side)
        joints = [robot_model.FINGER_JOINTS[finger] for finger in FINGERS]
        self._joints = np.array([[model.joint(name).id for name in finger] for finger in joints])
        tips = [robot_model.TIP_FRAMES[finger] for finger in FINGERS]
        self._tips = np.array([model.body(name).id for name in tips])
        self._last = model.body_parentid[self._tips]
        self._palm = model.body(robot_model.PALM_FRAME).id
        self._hand = slice(len(robot_model.ARM_JOINTS), robot_model.NUM_JOINTS)

    def places(self, hand: np.ndarray) -> np.ndarray:
        """Centres ``(4, 3)`` [m] of the tips of FINGERS, for the hand's joints ``(16,)`` [rad]."""
        data = self._data
        data.qpos[self._hand] = hand
        mujoco.mj_kinematics(self._model, data)
        rotation = data.xmat[self._palm].reshape(3, 3)
        return (data.xpos[self._tips] - data.xpos[self._palm]) @ rotation

    def jacobian(self, hand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`places`, and their derivative ``(4, 4, 3)`` (finger, its joint, axis) [m/rad]."""
        places = self.places(hand)
        data = self._data
        arms = data.xpos[self._tips][:, None] - data.xanchor[self._joints]
        moves = np.cross(data.xaxis[self._joints], arms)
        return places, moves @ data.xmat[self._palm].reshape(3, 3)

    def links(self, hand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions ``(4, 3)`` of the last links, and their derivative ``(4, 4, 3)`` [1/rad]."""
        self.places(hand)
        data = self._data
        along = data.xpos[self._tips] - data.xpos[self._last]
        along = along / np.linalg.norm(along, axis=-1, keepdims=True)
        rotation = data.xmat[self._palm].reshape(3, 3)
        turns = np.cross(data.xaxis[self._joints], along[:, None])
        return along @ rotation, turns @ rotation
