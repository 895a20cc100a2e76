"""Frames of the robot for ``/tf``, and the hand as RViz markers; plain data, no ROS."""

from dataclasses import dataclass

import mujoco
import numpy as np

from manip_bringup.hand_drawing import KEYPOINT_COLOURS
from manip_core.hand import RIGHT, Hand
from manip_core.hand_skeleton import BONES, TIPS
from manip_core.interfaces import WORLD_FRAME
from manip_core.robot_model import JOINT_NAMES, build_model, home


@dataclass(frozen=True)
class Transform:
    """Pose of ``child`` in ``parent``: [m], and a unit quaternion (x, y, z, w)."""

    parent: str
    child: str
    translation: np.ndarray
    quaternion: np.ndarray


def pose_in_parent(
    model: mujoco.MjModel, data: mujoco.MjData, body: int
) -> tuple[np.ndarray, np.ndarray]:
    """Translation [m] and quaternion (w, x, y, z) of a body in its parent's frame."""
    parent = model.body_parentid[body]
    inverse, quaternion, translation = np.empty(4), np.empty(4), np.empty(3)
    mujoco.mju_negQuat(inverse, data.xquat[parent])
    mujoco.mju_mulQuat(quaternion, inverse, data.xquat[body])
    mujoco.mju_rotVecQuat(translation, data.xpos[body] - data.xpos[parent], inverse)
    return translation, quaternion


class RobotFrames:
    """All links of the robot description, the fixed ones apart from those that joints move."""

    def __init__(self, side: str = RIGHT):
        self._model = build_model(side, with_scene=False)
        self._data = mujoco.MjData(self._model)
        self._data.qpos[:] = home(side)
        self._addresses = {name: self._model.joint(name).qposadr[0] for name in JOINT_NAMES}
        bodies = range(1, self._model.nbody)
        self._moving = [b for b in bodies if self._model.body_jntnum[b]]
        self._fixed = [b for b in bodies if not self._model.body_jntnum[b]]

    def fixed(self) -> list[Transform]:
        """Frames that never move against their parents."""
        return self._transforms(self._fixed)

    def moving(self, names, positions) -> list[Transform]:
        """Frames behind the joints, with joint positions given by name [rad].

        Raises:
            ValueError: A position is not finite, or the lengths differ.
        """
        if len(names) != len(positions) or not np.isfinite(positions).all():
            raise ValueError(
                f"need one finite position a joint, got {len(names)} names and {list(positions)}"
            )
        for name, position in zip(names, positions, strict=True):
            if name in self._addresses:
                self._data.qpos[self._addresses[name]] = position
        return self._transforms(self._moving)

    def _transforms(self, bodies: list[int]) -> list[Transform]:
        mujoco.mj_kinematics(self._model, self._data)
        result = []
        for body in bodies:
            translation, quaternion = pose_in_parent(self._model, self._data, body)
            parent = self._name(self._model.body_parentid[body])
            result.append(Transform(parent, self._name(body), translation, np.roll(quaternion, -1)))
        return result

    def _name(self, body: int) -> str:
        return WORLD_FRAME if body == 0 else self._model.body(body).name


@dataclass(frozen=True)
class HandShape:
    """A hand as RViz draws it, in the camera's frame.

    Attributes:
        lines: ``(20, 2, 3)`` bones in [m]; ``line_colours`` ``(20, 3)``, 0 to 1.
        points: ``(21, 3)`` keypoints in [m]; ``point_colours`` ``(21, 3)``, 0 to 1.
        tips: ``(5, 3)`` fingertips in [m], with the colours of their keypoints.
    """

    lines: np.ndarray
    line_colours: np.ndarray
    points: np.ndarray
    point_colours: np.ndarray
    tips: np.ndarray
    tip_colours: np.ndarray


def hand_shape(hand: Hand) -> HandShape | None:
    """The shape of a tracked hand; None where there is none."""
    if not hand.tracked or hand.problem():
        return None
    colours = KEYPOINT_COLOURS / 255.0
    return HandShape(
        hand.keypoints[BONES],
        colours[BONES[:, 1]],
        hand.keypoints,
        colours,
        hand.keypoints[TIPS],
        colours[TIPS],
    )
