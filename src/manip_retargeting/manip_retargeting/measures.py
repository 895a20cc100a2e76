"""What a joint vector does with the hand: gaps, bends, penetrations; for tests and benchmarks."""

from dataclasses import dataclass

import mujoco
import numpy as np

from manip_core import robot_model
from manip_core.hand import RIGHT
from manip_core.hand_skeleton import TIPS
from manip_retargeting.hand_map import FINGERS
from manip_retargeting.tasks import FAR_APART, tip_geom

# Joints that bend a finger towards the palm. The thumb's first two turn it and lay it across.
_FLEXION = {"thumb": (2, 3)} | {finger: (1, 2, 3) for finger in FINGERS[1:]}


@dataclass(frozen=True, kw_only=True)
class Posture:
    """Measures of one joint vector.

    Attributes:
        tips: ``(4, 3)`` fingertip frames of thumb, index, middle, ring in ``allegro_palm`` [m].
        gaps: ``(3,)`` surface distance of the thumb's tip to that of index, middle, ring [m];
            negative where they penetrate.
        penetration: Depth of the deepest contact of the robot with itself or the table [m], 0 where
            nothing touches.
        limit_excess: How far the worst joint is outside its limits [rad], 0 where all are inside.
    """

    tips: np.ndarray
    gaps: np.ndarray
    penetration: float
    limit_excess: float


class PostureMeter:
    """Measures joint vectors on the robot's own model, independently of the solver's."""

    def __init__(self, side: str = RIGHT):
        self._model = robot_model.build_model(side, with_scene=False)
        self._data = mujoco.MjData(self._model)
        self._limits = robot_model.limits(side)
        names = [robot_model.TIP_FRAMES[finger] for finger in FINGERS]
        self._tips = [self._model.body(name).id for name in names]
        self._geoms = [tip_geom(self._model, name) for name in names]
        self._palm = self._model.body(robot_model.PALM_FRAME).id

    def measure(self, q: np.ndarray) -> Posture:
        """Measures joint angles ``(22,)`` [rad]."""
        model, data = self._model, self._data
        data.qpos[: len(q)] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        distance = data.contact.dist.min() if data.ncon else 0.0
        excess = np.maximum(self._limits.lower - q, q - self._limits.upper).max()
        rotation = data.xmat[self._palm].reshape(3, 3)
        return Posture(
            tips=(data.xpos[self._tips] - data.xpos[self._palm]) @ rotation,
            gaps=np.array(
                [
                    mujoco.mj_geomDistance(model, data, self._geoms[0], geom, FAR_APART, None)
                    for geom in self._geoms[1:]
                ]
            ),
            penetration=max(-float(distance), 0.0),
            limit_excess=max(float(excess), 0.0),
        )


def bends(q: np.ndarray, q_open: np.ndarray, side: str = RIGHT) -> np.ndarray:
    """How far each finger is bent from the open hand, as a part of what it can bend.

    Mean over the finger's flexion joints of the angle from the open posture, divided by the angle
    from there to the joint's upper limit.

    Args:
        q: ``(22,)`` joint angles [rad].
        q_open: ``(22,)`` the same robot's joint angles for the same user's open hand [rad].
        side: ``"left"`` or ``"right"``.

    Returns:
        ``(4,)`` for thumb, index, middle, ring; 0 open, 1 bent as far as it goes.
    """
    upper = robot_model.limits(side).upper
    out = np.empty(len(FINGERS))
    for row, finger in enumerate(FINGERS):
        names = [robot_model.FINGER_JOINTS[finger][i] for i in _FLEXION[finger]]
        ids = [robot_model.JOINT_NAMES.index(name) for name in names]
        out[row] = np.mean((q[ids] - q_open[ids]) / np.maximum(upper[ids] - q_open[ids], 1e-3))
    return out


def contact_from_distance(keypoints: np.ndarray) -> np.ndarray:
    """Contact likelihood of exact keypoints, which say all there is to know about touch.

    Fingertip keypoints lie inside the finger, so pads touch while these are still apart: the
    likelihood passes one half at 25 mm and is above 0.9 below 20 mm and under 0.1 above 30 mm.

    Args:
        keypoints: ``(21, 3)`` [m].

    Returns:
        ``(4,)`` for index, middle, ring and little finger with the thumb.
    """
    distance = np.linalg.norm(keypoints[TIPS[1:]] - keypoints[TIPS[0]], axis=-1)
    return 1.0 / (1.0 + np.exp((distance - 0.025) / 0.002))
