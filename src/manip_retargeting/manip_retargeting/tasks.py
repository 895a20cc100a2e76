"""Objectives of the hand, batched: all fingers in one mink task, all pinches in another."""

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


# Which entries of a finger's 4x4 block have i <= j, and which of those i < j.
_UPPER, _OFF_DIAGONAL = np.triu(np.ones((4, 4))), np.triu(np.ones((4, 4)), 1)
# Direction from a tip's centre to the middle of its pad, in the tip's frame: x is the palm's side.
_PAD = np.array([1.0, 0.0, 1.0]) / np.sqrt(2.0)
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
        [m/rad], ``turns`` ``(4, 4, 3, 3)`` cross-product matrices of the joints' axes, ``palm``
        ``(3,)`` [m] and ``rotation`` ``(3, 3)`` of the palm.
        """
        anchors = data.xanchor[self._joints]
        self.turns = _skew(data.xaxis[self._joints])
        self.points[:, :3] = anchors[:, 1:]
        self.points[:, 3] = data.xpos[self._tips]
        arms = self.points[:, :, None] - anchors[:, None]
        self.jacobian = (self.turns[:, None] @ arms[..., None])[..., 0] * self._moves
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
        return gaps, apart / lengths[:, None], self._moves_of(fingers, points)

    def pads(self, fingers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of the thumb's pad from other fingers' pads.

        Returns:
            ``(k, 3)`` offsets [m], and ``(k, 2, 4, 3)`` velocities of the thumb's and the finger's
            pad by their own joints [m/rad].
        """
        rotations = self._data.xmat[self._tips].reshape(4, 3, 3)
        pads = self.points[:, 3] + robot_model.TIP_RADIUS * (rotations @ _PAD)
        points = np.stack((np.broadcast_to(pads[0], (len(fingers), 3)), pads[fingers]), axis=1)
        return points[:, 0] - points[:, 1], self._moves_of(fingers, points)

    def _moves_of(self, fingers: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Velocities ``(k, 2, 4, 3)`` of points ``(k, 2, 3)`` on the thumb and on the fingers."""
        pairs = np.stack((np.zeros_like(fingers), fingers), axis=1)
        arms = points[:, :, None] - self._anchors[pairs]
        return (self.turns[pairs] @ arms[..., None])[..., 0]


class FingerTask(BaseTask):
    """Fingertip vectors and segment directions of all four fingers.

    Each finger's residual has 12 entries: its tip against the target (3), and its three segments
    against their directions at the robot's own lengths (9). Fingers share no joints, so the Hessian
    is four 4x4 blocks. Human tips are often out of the robot's reach; residuals stay large then,
    and Gauss-Newton steps overshoot from side to side. So the blocks are Newton's: they carry the
    second derivative of the tip too, and are made positive semi-definite.
    """

    def __init__(self, config: RetargetingConfig, frames: HandFrames):
        self._frames = frames
        self._lengths = np.linalg.norm(np.diff(frames.points, axis=1), axis=-1)[..., None]
        self._cost = np.full((4, 4, 1), config.segment_cost)
        self._cost[:, 0] = config.tip_cost
        # The thumb's first segment has no human twin: the robot's runs across its base.
        self._cost[0, 1] = 0.0
        self._blocks = (frames.dofs[:, :, None], frames.dofs[:, None, :])
        self._hessian = np.zeros((frames.nv, frames.nv))
        self._gradient = np.zeros(frames.nv)
        self._error = np.empty((4, 4, 3))
        self._jacobian = np.empty((4, 4, 4, 3))
        self.targets: HandTargets | None = None

    def compute_error(self) -> np.ndarray:
        """``(4, 4, 3)`` what is, less what should be [m]: (finger, tip and segments, axis)."""
        frames, error = self._frames, self._error
        to_world = frames.rotation.T
        error[:, 0] = frames.points[:, 3] - frames.palm - self.targets.tips @ to_world
        error[:, 1:] = frames.points[:, 1:] - frames.points[:, :3]
        error[:, 1:] -= self._lengths * (self.targets.directions @ to_world)
        return error

    def compute_jacobian(self) -> np.ndarray:
        """``(4, 4, 4, 3)`` its derivative by each finger's own joints, the third axis [m/rad]."""
        points = self._frames.jacobian
        self._jacobian[:, 0] = points[:, 3]
        np.subtract(points[:, 1:], points[:, :3], out=self._jacobian[:, 1:])
        return self._jacobian

    def compute_qp_objective(self, configuration: mink.Configuration) -> mink.Objective:
        error, jacobian = self.compute_error(), self.compute_jacobian()
        weighted = (self._cost[..., None] * jacobian).swapaxes(2, 3).reshape(4, 12, 4)
        residual = (self._cost * error).reshape(4, 12, 1)
        transposed = weighted.swapaxes(1, 2)
        blocks = transposed @ weighted + self._tip_curvature(error[:, 0], jacobian[:, 0])
        values, vectors = np.linalg.eigh(blocks)
        vectors *= np.sqrt(np.maximum(values, 0.0))[:, None]
        self._hessian[self._blocks] = vectors @ vectors.swapaxes(1, 2)
        self._gradient[self._frames.dofs] = (transposed @ residual)[..., 0]
        return mink.Objective(self._hessian, self._gradient)

    def _tip_curvature(self, error: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        """``(4, 4, 4)`` second derivatives of tips ``(4, 4, 3)``, times their errors ``(4, 3)``.

        Joint i turns everything beyond it, so it turns the velocity that a later joint j gives the
        tip: the derivative of J_j by q_i is axis_i x J_j for i <= j, and symmetric.
        """
        turned = (error[:, None, None] @ self._frames.turns)[:, :, 0]
        upper = (turned @ jacobian.swapaxes(1, 2)) * (self._cost[:, :1] ** 2 * _UPPER)
        return upper + (upper * _OFF_DIAGONAL).swapaxes(1, 2)


class PinchTask(mink.Task):
    """Gaps between the thumb's tip and the others', six rows for each finger that is concerned.

    A gap is closed as far as contact is likely, and held open where it is not (three rows). It is a
    distance, which bends with every step across it: its second derivative weighs the other two
    directions, or the solver would overshoot from side to side. Three more rows bring the pads
    together, so that fingers meet with their pads and not with their sides.
    """

    def __init__(self, config: RetargetingConfig, frames: HandFrames):
        super().__init__(cost=np.empty(0))
        self._config = config
        self._frames = frames
        self._nothing = (np.empty((0, frames.nv)), np.empty(0), 0.0)
        self.contact = np.zeros(3)  # how much index, middle and ring should touch the thumb, 0 to 1

    def compute_error(self, configuration: mink.Configuration) -> np.ndarray:
        """``(6k,)`` gap, less what it should be, along the line between the tips; pads' offset [m].

        Also sets the rows' costs: which fingers are concerned, and how much, depends on the gaps.
        """
        frames, config = self._frames, self._config
        tips = frames.points[:, 3]
        near = ((tips[1:] - tips[0]) ** 2).sum(-1) < _NEAR**2
        self._pinched = np.flatnonzero(near | (self.contact > 0))
        if not len(self._pinched):
            return self._nothing[1]
        contact = self.contact[self._pinched]
        gaps, self._normals, self._moves = frames.gaps(self._pinched + 1)
        offsets, self._pad_moves = frames.pads(self._pinched + 1)
        closing = (config.pinch_cost * contact) ** 2
        opening = (config.pinch_cost * (1.0 - contact)) ** 2 * (gaps < config.open_gap)
        weight = closing + opening
        wanted = (closing * config.pinch_gap + opening * config.open_gap) / (weight + 1e-12)
        excess = gaps - wanted
        self._curvature = np.maximum(excess, 0.0) / (np.abs(gaps) + 2 * robot_model.TIP_RADIUS)
        costs = np.stack((np.sqrt(weight), config.pad_cost * contact), axis=1)
        self.cost = np.repeat(costs.ravel(), 3)
        return np.stack((excess[:, None] * self._normals, offsets), axis=1).ravel()

    def compute_jacobian(self, configuration: mink.Configuration) -> np.ndarray:
        """``(6k, nv)`` derivative of the error [m/rad], with the gap's curvature in it."""
        dofs = self._frames.dofs
        along = self._normals[:, :, None] * self._normals[:, None, :]
        metric = along + np.sqrt(self._curvature)[:, None, None] * (np.eye(3) - along)
        # (pinch, gap or pad, thumb or finger, axis, joint)
        slopes = np.stack(
            (metric[:, None] @ self._moves.swapaxes(2, 3), self._pad_moves.swapaxes(2, 3)), axis=1
        )
        jacobian = np.zeros((len(self._pinched), 2, 3, self._frames.nv))
        for rows, finger, slope in zip(jacobian, self._pinched, slopes, strict=True):
            rows[..., dofs[0]] = slope[:, 0]
            rows[..., dofs[finger + 1]] = -slope[:, 1]
        return jacobian.reshape(-1, self._frames.nv)

    def compute_qp_residual(
        self, configuration: mink.Configuration
    ) -> tuple[np.ndarray, np.ndarray, float]:
        error = self.compute_error(configuration)
        if not len(error):
            return self._nothing
        return self._weighted_residual(error, self.compute_jacobian(configuration))


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
