"""Objectives of the hand, batched: one mink task for all fingertips, segments and pinches."""

import mink
import mujoco
import numpy as np
from mink.tasks import BaseTask

from manip_core import robot_model
from manip_retargeting.config import RetargetingConfig
from manip_retargeting.hand_map import FINGERS, HandTargets

# (3, 9): a vector times this is its cross-product matrix, row by row.
_SKEW = np.zeros((3, 3, 3))
_SKEW[[2, 0, 1], [1, 2, 0], [0, 1, 2]] = 1.0
_SKEW[[1, 2, 0], [2, 0, 1], [0, 1, 2]] = -1.0
_SKEW = _SKEW.transpose(0, 1, 2).reshape(3, 9)


def _skew(vectors: np.ndarray) -> np.ndarray:
    """``(…, 3, 3)`` matrices S with ``S @ b = cross(vector, b)``."""
    return (vectors @ _SKEW).reshape(*vectors.shape, 3)


# Tips farther apart than this read as this far [m].
FAR_APART = 0.5
# Tip centres farther apart than this need no pinch row while no pinch is wanted [m].
_NEAR = 0.06


def tip_geom(model: mujoco.MjModel, body: str) -> int:
    """Id of the one collision geom of a fingertip's body."""
    first = model.body(body).geomadr[0]
    ids = range(first, first + model.body(body).geomnum[0])
    colliding = [g for g in ids if model.geom_contype[g] or model.geom_conaffinity[g]]
    if len(colliding) != 1:
        raise ValueError(f"{body} must have one collision geom, got {len(colliding)}")
    return colliding[0]


class HandFrames:
    """Where the hand's joints and tips are, and how its own 16 joints move them.

    Fingers in the order thumb, index, middle, ring; each has four joints, whose last three anchors
    and its tip are the four points of the finger. All in ``world`` axes: the arm moves every point
    of the hand alike, so its joints drop out of the hand's objectives.

    Args:
        model: The planning model.
    """

    def __init__(self, model: mujoco.MjModel):
        self._model = model
        joints = [robot_model.FINGER_JOINTS[finger] for finger in FINGERS]
        tips = [robot_model.TIP_FRAMES[finger] for finger in FINGERS]
        ids = np.array([[model.joint(name).id for name in finger] for finger in joints])
        self._joints = ids
        self.dofs = model.jnt_dofadr[ids]
        self._tips = np.array([model.body(name).id for name in tips])
        self._palm = model.body(robot_model.PALM_FRAME).id
        self._tip_geoms = [tip_geom(model, name) for name in tips]
        self.nv = model.nv
        self.points = np.empty((4, 4, 3))
        # Point k (anchors of joints 1, 2, 3, then the tip) is moved by joints 0 to k.
        self._moves = np.tril(np.ones((4, 4)))[None, :, :, None]

    def update(self, data: mujoco.MjData) -> None:
        """Reads the current kinematics of ``data``; sets the attributes below.

        ``points`` ``(4, 4, 3)`` [m], ``jacobian`` ``(4, 4, 4, 3)`` (finger, point, joint, axis)
        [m/rad], ``palm`` ``(3,)`` [m] and ``rotation`` ``(3, 3)`` of the palm.
        """
        anchors = data.xanchor[self._joints]
        self._turns = _skew(data.xaxis[self._joints])
        self.points[:, :3] = anchors[:, 1:]
        self.points[:, 3] = data.xpos[self._tips]
        arms = self.points[:, :, None] - anchors[:, None]
        self.jacobian = (self._turns[:, None] @ arms[..., None])[..., 0] * self._moves
        self.palm = data.xpos[self._palm]
        self.rotation = data.xmat[self._palm].reshape(3, 3)
        self._anchors, self._data = anchors, data

    def finger_size(self) -> tuple[float, np.ndarray]:
        """z of the middle finger's flexion axis in the palm frame [m], and the lengths ``(3,)`` of
        index, middle and ring from that axis to the tip [m]."""
        lengths = np.linalg.norm(np.diff(self.points[1:], axis=1), axis=-1).sum(-1)
        return float((self.points[2, 0] - self.palm) @ self.rotation[:, 2]), lengths

    def gaps(self, fingers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Surface distances of the thumb's tip to other fingers' tips.

        Args:
            fingers: ``(k,)`` rows of FINGERS, without the thumb's.

        Returns:
            ``(k,)`` distances [m], negative where they penetrate; ``(k, 3)`` unit vectors along
            which the thumb's tip moves away; ``(k, 2, 4, 3)`` velocities of the nearest points, the
            thumb's and the finger's, by their own joints [m/rad].
        """
        gaps, ends = np.empty(len(fingers)), np.empty((len(fingers), 6))
        thumb = self._tip_geoms[0]
        for row, finger in enumerate(fingers):
            gaps[row] = mujoco.mj_geomDistance(
                self._model, self._data, thumb, self._tip_geoms[finger], FAR_APART, ends[row]
            )
        points = ends.reshape(-1, 2, 3)
        apart = points[:, 0] - points[:, 1]
        # The ends of penetrating tips lie the other way round.
        lengths = np.copysign(np.maximum(np.sqrt((apart * apart).sum(-1)), 1e-9), gaps)
        pairs = np.stack((np.zeros_like(fingers), fingers), axis=1)
        arms = points[:, :, None] - self._anchors[pairs]
        return gaps, apart / lengths[:, None], (self._turns[pairs] @ arms[..., None])[..., 0]


class HandTask(mink.Task):
    """Fingertip vectors, segment directions and pinches of the whole hand, as one residual.

    Rows of finger f: its tip against the target (3), its three segments against their directions at
    the robot's own lengths (9). Then three rows each for index, middle and ring: the gap between
    its tip and the thumb's, closed as far as contact is likely and held open where it is not. The
    gap is a distance, which bends with every step across it: its second derivative weighs the other
    two directions, or the solver would overshoot from side to side (Newton's method, not
    Gauss-Newton's).
    """

    _ROWS = 12
    _PINCH_ROWS = 9

    def __init__(self, config: RetargetingConfig, frames: HandFrames):
        super().__init__(cost=np.ones(4 * self._ROWS + self._PINCH_ROWS))
        self._config = config
        self._frames = frames
        self._index = (np.arange(4 * self._ROWS).reshape(4, self._ROWS, 1), frames.dofs[:, None])
        self._jacobian = np.zeros((4 * self._ROWS + self._PINCH_ROWS, frames.nv))
        self._error = np.zeros(4 * self._ROWS + self._PINCH_ROWS)
        self._lengths = np.linalg.norm(np.diff(frames.points, axis=1), axis=-1)[..., None]
        cost = self.cost[: 4 * self._ROWS].reshape(4, self._ROWS)
        cost[:, :3] = config.tip_cost
        cost[:, 3:] = config.segment_cost
        # The thumb's first segment has no human twin: the robot's runs across its base.
        cost[0, 3:6] = 0.0
        self._targets: HandTargets | None = None
        self._contact = np.zeros(3)
        self._pinched = np.empty(0, dtype=int)

    def set_target(self, targets: HandTargets, contact: np.ndarray) -> None:
        """``contact`` ``(3,)``: how much index, middle and ring should touch the thumb, 0 to 1."""
        self._targets = targets
        self._contact = contact

    def compute_error(self, configuration: mink.Configuration) -> np.ndarray:
        """``(57,)`` what is, less what should be [m]; also sets the costs of the pinch rows."""
        frames, targets, config = self._frames, self._targets, self._config
        to_world = frames.rotation.T
        error = self._error[: 4 * self._ROWS].reshape(4, 4, 3)
        error[:, 0] = frames.points[:, 3] - frames.palm - targets.tips @ to_world
        error[:, 1:] = frames.points[:, 1:] - frames.points[:, :3]
        error[:, 1:] -= self._lengths * (targets.directions @ to_world)
        pinch_cost = self.cost[-self._PINCH_ROWS :].reshape(3, 3)
        pinch_cost[:] = 0.0
        tips = frames.points[:, 3]
        near = ((tips[1:] - tips[0]) ** 2).sum(-1) < _NEAR**2
        self._pinched = np.flatnonzero(near | (self._contact > 0))
        if len(self._pinched):
            contact = self._contact[self._pinched]
            gaps, self._normals, self._moves = frames.gaps(self._pinched + 1)
            closing = (config.pinch_cost * contact) ** 2
            opening = (config.pinch_cost * (1.0 - contact)) ** 2 * (gaps < config.open_gap)
            weight = closing + opening
            wanted = (closing * config.pinch_gap + opening * config.open_gap) / (weight + 1e-12)
            excess = gaps - wanted
            pinch_cost[self._pinched] = np.sqrt(weight)[:, None]
            pinch_error = self._error[-self._PINCH_ROWS :].reshape(3, 3)
            pinch_error[self._pinched] = excess[:, None] * self._normals
            self._curvature = np.maximum(excess, 0.0) / (np.abs(gaps) + 2 * robot_model.TIP_RADIUS)
        return self._error

    def compute_jacobian(self, configuration: mink.Configuration) -> np.ndarray:
        """``(57, nv)`` derivative of the error [m/rad]."""
        frames = self._frames
        points = frames.jacobian.swapaxes(2, 3)  # (finger, point, axis, joint)
        rows = np.empty((4, 4, 3, 4))
        rows[:, 0] = points[:, 3]
        rows[:, 1:] = points[:, 1:] - points[:, :3]
        self._jacobian[self._index] = rows.reshape(4, self._ROWS, 4)
        if len(self._pinched):
            bent = np.sqrt(self._curvature)[:, None, None]
            along = self._normals[:, :, None] * self._normals[:, None, :]
            metric = along + bent * (np.eye(3) - along)
            slopes = metric[:, None] @ self._moves.swapaxes(2, 3)  # (pinch, end, axis, joint)
            pinches = self._jacobian[-self._PINCH_ROWS :].reshape(3, 3, -1)
            for row, (thumb, finger) in zip(self._pinched, slopes, strict=True):
                pinches[row][:, frames.dofs[0]] = thumb
                pinches[row][:, frames.dofs[row + 1]] = -finger
        return self._jacobian


class JointTask(BaseTask):
    """Posture, smoothness and damping of the joints: a diagonal objective.

    Pulls each joint towards a posture, and its step towards the last frame's.
    """

    def __init__(self, posture_cost: np.ndarray, acceleration_cost: float, damping: float):
        self._posture = np.asarray(posture_cost) ** 2
        self._acceleration = acceleration_cost**2
        self._hessian = np.diag(self._posture + self._acceleration + damping)
        self.posture = np.zeros(len(self._posture))
        self.preferred_step = np.zeros(len(self._posture))

    def compute_qp_objective(self, configuration: mink.Configuration) -> mink.Objective:
        pull = self._posture * (self.posture - configuration.data.qpos)
        return mink.Objective(self._hessian, -pull - self._acceleration * self.preferred_step)
