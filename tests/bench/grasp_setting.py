"""A recorded grasp before the robot: where the object stands, and from where the arm follows.

Gravity is kept as it was, and so are fingers and turns of the hand. The rest is what an operator
does who looks at the robot, and is the same for every contestant: which way the scene is turned and
where on the table it stands (so that the arm gets there); to which turn of the robot's palm his own
belongs; that he waits for it (`PACE`); and where he has his hand. The robot's hand is half as long
again as a human one and turns about another point, so that both cannot be in one place. Here he
leads the middle between the robot's thumb and fingers, as retargeted, to where it was on his own
hand when he grasped with that; and when the object is taken the line across from fingers to thumb
has the same direction.
"""

from dataclasses import dataclass, replace
from functools import cache

import mujoco
import numpy as np
from grasp_objects import Shape
from grasp_sequences import RATE, Grasp

from manip_control.assist import takes_part
from manip_control.fingertips import THUMB, Fingertips
from manip_control.palm_reach import PalmReach
from manip_core import robot_model
from manip_core.hand import Hand, palm_rotation
from manip_core.hand_skeleton import TIPS, Keypoint
from manip_core.rotation import exponential
from manip_perception.smoothing import HandSmoother
from manip_retargeting.measures import contact_from_distance
from manip_retargeting.retargeter import Retargeter
from manip_training.temporal.observer import Observer

ARM = slice(0, len(robot_model.ARM_JOINTS))
HAND = slice(ARM.stop, robot_model.NUM_JOINTS)
# Where the object may stand, and by how much the scene may be turned.
_PLACES = ((0.50, -0.10), (0.45, -0.30), (0.60, 0.10), (0.40, 0.20))
_TURNS = np.radians(np.arange(0.0, 360.0, 30.0))
# Who drives a robot sees it come after him: sequences are played at this share of their speed [-],
# from where the wrist is this near to where it takes the object [m].
PACE, _NEAR = 0.5, 0.2
# The hand rests at the start [s]; after the sequence it rises until the object has had its way [m],
# no faster than this [m/s], and is held [s].
_WAIT, _RISE, _RISE_SPEED, HOLD_S = 0.5, 0.22, 0.25, 4.0
# Most that the robot's palm is turned against the human's [rad].
_TWIST = np.radians(40.0)
# So much deeper than the human's is the robot's grasp [m].
_DEEPER = 0.025
# The hand is kept so far above the table where palm and object are brought together [m].
_TABLE_GAP = 0.002
_SOLVES = 40
# Of a hand before a webcam [m].
_DISTANCE = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A trial before it starts.

    Attributes:
        grasp: What was recorded.
        hands: The operator's hand, one a frame at 30 Hz, stamped from 0 on.
        q: ``(22,)`` posture in which the robot is engaged [rad].
        place, rotation: ``(3,)`` [m] and ``(3, 3)`` of the object in ``world``.
        touched, taken: When the human touches the object, and when it moves [s].
        risen: When the hand has done with rising [s].
    """

    grasp: Grasp
    hands: list[Hand]
    q: np.ndarray
    place: np.ndarray
    rotation: np.ndarray
    touched: float
    taken: float
    risen: float

    @property
    def shape(self) -> Shape:
        """Of the object."""
        return self.grasp.shape


@cache
def _tools() -> tuple[Retargeter, Fingertips, "Reach", np.ndarray]:
    return (
        Retargeter(hand_only=True),
        Fingertips(),
        Reach(),
        robot_model.camera_mount()[0],
    )


def set_up(grasp: Grasp) -> Setting | None:
    """The grasp before the robot; None where the arm cannot follow it anywhere."""
    retargeter, fingertips, reach, camera = _tools()
    keypoints, touched, taken = _played(grasp)
    hands = [_hand(rows @ camera, 0.0) for rows in keypoints]
    retargeter.calibrate(hands)
    fingers = _followed(retargeter, hands)
    used = takes_part(grasp.kind)[:THUMB]
    human = [_across(rows[TIPS[1:4]][used], rows[TIPS[0]]) for rows in keypoints]
    tips = [fingertips.places(row) for row in fingers]
    robot = [_across(rows[:THUMB][used], rows[THUMB]) for rows in tips]
    own = [palm_rotation(rows) for rows in keypoints]
    at = min(round(taken * RATE), len(keypoints) - 1)
    twist = _onto(robot[at][1], own[at].T @ human[at][1])
    turns = [rows @ twist for rows in own]
    palms = []
    for (goal, _), (middle, _), turn, row in zip(human, robot, turns, fingers, strict=True):
        # Tips of a robot's fingers are spheres: they need more of the object between them.
        palm = goal - turn @ middle * (1.0 - _DEEPER / np.linalg.norm(middle))
        palm[2] += max(0.0, _TABLE_GAP - palm[2] - reach.lowest(row, turn))
        palms.append(palm)
    found = reach.best([(palms[i], turns[i], fingers[i]) for i in (at, 0, -1)])
    if found is None:
        return None
    q, place, yaw = found
    keypoints = keypoints + (np.array(palms) - keypoints[:, Keypoint.WRIST])[:, None]
    world = exponential(np.array([0.0, 0.0, yaw]))
    waiting = round(_WAIT * RATE)
    shown = np.concatenate((np.repeat(keypoints[:1], waiting, axis=0), keypoints))
    return Setting(
        grasp=grasp,
        hands=[_hand(rows @ world.T @ camera, i / RATE) for i, rows in enumerate(shown)],
        q=q,
        place=np.array([*place, grasp.height]),
        rotation=world @ grasp.rest,
        touched=waiting / RATE + touched,
        taken=waiting / RATE + taken,
        risen=len(shown) / RATE - HOLD_S,
    )


def seen(setting: Setting, seed: int) -> Setting:
    """The same with the operator's hand as an estimator would see it, `_DISTANCE` from the camera,
    and as it comes out of smoothing; ``seed`` draws the errors."""
    true = np.array([hand.keypoints for hand in setting.hands])
    before = np.array([0.0, 0.0, _DISTANCE]) - true[0, Keypoint.WRIST]
    moments = Observer().see((true + before)[None], RATE, np.random.default_rng(seed))
    smoother, hands = HandSmoother(), []
    for i, hand in enumerate(setting.hands):
        estimated = replace(
            hand,
            keypoints=moments.joints[0, i],
            contact=contact_from_distance(moments.joints[0, i]),
            confidence=float(moments.confidence[0, i]),
        )
        smoothed = smoother.update(estimated if moments.seen[0, i] else None, hand.stamp)
        if smoothed.tracked:
            smoothed = replace(smoothed, keypoints=smoothed.keypoints - before)
        hands.append(smoothed)
    return replace(setting, hands=hands)


def _hand(keypoints: np.ndarray, stamp: float) -> Hand:
    contact = contact_from_distance(keypoints)
    return Hand(stamp=stamp, keypoints=keypoints, contact=contact, confidence=1.0, tracked=True)


def _played(grasp: Grasp) -> tuple[np.ndarray, float, float]:
    """The hand as it is shown, at 30 Hz: the sequence, a rise where it was not enough, a rest.

    Returns:
        ``(n, 21, 3)`` [m], and when the object is touched and when it is taken [s].
    """
    wrist = grasp.keypoints[:, Keypoint.WRIST]
    far = np.linalg.norm(wrist[: grasp.taken + 1] - wrist[grasp.taken], axis=-1) > _NEAR
    began = grasp.times[int(np.flatnonzero(far)[-1]) + 1] if far.any() else 0.0
    times = np.arange(began, grasp.times[-1], PACE / RATE)
    after = np.clip(np.searchsorted(grasp.times, times), 1, len(grasp.times) - 1)
    gap = grasp.times[after] - grasp.times[after - 1]
    share = ((times - grasp.times[after - 1]) / gap)[:, None, None]
    keypoints = (1 - share) * grasp.keypoints[after - 1] + share * grasp.keypoints[after]
    missing = max(0.0, _RISE - float(grasp.lift[-1]))
    # Peak speed of a minimum-jerk motion is 15/8 of its mean.
    frames = int(np.ceil(missing * 15 / 8 / _RISE_SPEED * RATE))
    s = np.linspace(0.0, 1.0, frames + 1)[1:]
    rise = missing * (10 * s**3 - 15 * s**4 + 6 * s**5)
    rise = np.concatenate((rise, np.full(round(HOLD_S * RATE), missing)))
    up = rise[:, None, None] * np.array([0.0, 0.0, 1.0])
    touched, taken = ((grasp.times[i] - began) / PACE for i in (grasp.touched, grasp.taken))
    return np.concatenate((keypoints, keypoints[-1] + up)), max(touched, 0.0), taken


def _across(fingers: np.ndarray, thumb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the line from the middle of fingertips ``(k, 3)`` to the thumb's: middle and direction."""
    line = thumb - fingers.mean(axis=0)
    return thumb - 0.5 * line, line / np.linalg.norm(line)


def _onto(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The least rotation ``(3, 3)`` that takes unit vector ``a`` to ``b``, as far as it may."""
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        return np.eye(3)
    return exponential(axis / sine * min(np.arctan2(sine, a @ b), _TWIST))


def _followed(retargeter: Retargeter, hands: list[Hand]) -> list[np.ndarray]:
    """The robot's fingers ``(16,)`` [rad] for hands that come one after the other."""
    retargeter.engage(robot_model.home(), hands[0])
    for _ in range(_SOLVES):
        retargeter.solve(hands[0], 1 / RATE)
    found = [retargeter.solve(hand, 1 / RATE).q[HAND] for hand in hands]
    retargeter.release()
    return found


class Reach:
    """Postures of the arm for poses of the palm, free of contact."""

    def __init__(self):
        self._reach = PalmReach()
        self._model, self._data = self._reach.model, self._reach.data
        self._palm = self._reach.palm
        # Palm and fingers come last, and only what collides counts.
        hand = (self._model.geom_bodyid >= self._palm) & (self._model.geom_contype > 0)
        self._hand_geoms = geoms = np.flatnonzero(hand)
        # Each is a box, or a capsule: a line with a radius.
        capsule = self._model.geom_type[geoms] == mujoco.mjtGeom.mjGEOM_CAPSULE
        self._radius = np.where(capsule, self._model.geom_size[geoms, 0], 0.0)
        self._half = self._model.geom_aabb[geoms, 3:] - self._radius[:, None]
        self._home = robot_model.home()

    def best(
        self, poses: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> tuple[np.ndarray, tuple[float, float], float] | None:
        """Where all poses are reached with the least motion of the arm from home.

        Args:
            poses: Position ``(3,)`` [m] and rotation ``(3, 3)`` of the palm about an object at the
                origin, and the fingers ``(16,)`` [rad]; the first is solved from home, the others
                from there. The second is where the robot starts.

        Returns:
            Posture of the second ``(22,)`` [rad], place of the object [m] and turn of the scene
            [rad]; None where no place and turn will do.
        """
        best = None
        for place in _PLACES:
            for yaw in _TURNS:
                world = exponential(np.array([0.0, 0.0, yaw]))
                postures, seed = [], self._home
                for position, rotation, fingers in poses:
                    seed = np.concatenate((seed[ARM], fingers))
                    goal = world @ position + np.array([*place, 0.0])
                    q = self.solve(goal, world @ rotation, seed)
                    if q is None:
                        break
                    postures.append(q)
                    seed = postures[0]
                if len(postures) < len(poses):
                    continue
                cost = np.abs(np.array(postures)[:, ARM] - self._home[ARM]).max()
                if best is None or cost < best[0]:
                    best = (cost, (postures[1], place, yaw))
        return best and best[1]

    def lowest(self, fingers: np.ndarray, rotation: np.ndarray) -> float:
        """How high the hand's lowest point is above the palm's origin [m], below it as a rule.

        Args:
            fingers: ``(16,)`` [rad].
            rotation: ``(3, 3)`` of the palm.
        """
        model, data = self._model, self._data
        data.qpos[:] = np.concatenate((self._home[ARM], fingers))
        mujoco.mj_kinematics(model, data)
        to_palm = data.xmat[self._palm].reshape(3, 3).T
        places = (data.geom_xpos[self._hand_geoms] - data.xpos[self._palm]) @ to_palm.T
        axes = rotation @ to_palm @ data.geom_xmat[self._hand_geoms].reshape(-1, 3, 3)
        reach = (np.abs(axes[:, 2]) * self._half).sum(axis=1) + self._radius
        return float(((places @ rotation.T)[:, 2] - reach).min())

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, seed: np.ndarray
    ) -> np.ndarray | None:
        """Posture ``(22,)`` [rad] with the palm there, free of contact; None if none is found."""
        q, found = self._reach.solve(position, rotation, seed, _SOLVES)
        if not found:
            return None
        mujoco.mj_collision(self._model, self._data)
        return None if self._data.ncon else q
