"""From a sequence of a hand and an object to what happened in it: grasps, by a rule.

The hand **grips** in frames in which the thumb or the palm, and a finger beside it, lie on the
object (``grasp_rule.NEAR``). A spell of gripping, gaps of up to 0.1 s bridged, is a **grasp** if in
it the object moves along, faster than 5 cm/s for 0.1 s or more, or if the fingers rest on it for
0.3 s. Its **onset** is the first frame of the spell in which the fingers have stopped closing (none
of those that lie on the object moves against it faster than 6 cm/s) or the object has begun to
move, whichever is earlier; it ends with the spell. Type and force are those of :mod:`.grasp_rule`
in the fifth of a second after the onset; the approach is the way of the wrist in the last 0.3 s
before it.

The rule asks for nothing but keypoints, and the object's pose and outer shape, so that it labels
recordings of real hands as well as the synthetic world's.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.hand_skeleton import Keypoint
from manip_model.action_features import gaps, touch_points
from manip_training.action.grasp_rule import NEAR, PALM_NEAR, Shape, grasp_types, holding_force

_BRIDGED, _MOVING, _RESTING = 0.1, 0.1, 0.3  # [s]
_OBJECT_MOVES, _FINGERS_CLOSE = 0.05, 0.06  # [m/s]
# Over which speeds are taken, and types looked at; and the way that is the approach [s].
_SPAN, _LOOK, _WAY = 0.07, 0.2, 0.3
_LEAST_WAY = 0.005  # [m]


@dataclass(frozen=True)
class Grasped:
    """One grasp of a sequence.

    Attributes:
        onset, end: First frame of it, and first frame after it.
        kind: Row of :class:`~manip_core.grasp_types.GraspType`.
        approach: ``(3,)`` unit, ``camera_optical_frame``; zeros where the hand did not come.
        force: [N].
    """

    onset: int
    end: int
    kind: int
    approach: np.ndarray
    force: float


def find_grasps(
    times: np.ndarray,
    joints: np.ndarray,
    rotation: np.ndarray,
    position: np.ndarray,
    shape: Shape,
) -> list[Grasped]:
    """The grasps of one sequence, in their order.

    Args:
        times: ``(T,)`` [s], evenly spaced.
        joints: ``(T, 21, 3)`` [m], of a right hand.
        rotation, position: ``(T, 3, 3)`` and ``(T, 3)`` [m] of the object in the same frame.
        shape: Of the object.
    """
    if len(times) < 3:
        return []
    step = float(times[1] - times[0])
    away = gaps(joints, rotation, position, shape.size, shape.box)
    on = away[:, :5] < NEAR
    grips = on[:, 1:].any(1) & (on[:, 0] | (away[:, 5] < PALM_NEAR))
    span = max(round(_SPAN / step), 1)
    moves = _speed(position, span, step) > _OBJECT_MOVES
    # Pads against the object, in its own frame.
    pads = (touch_points(joints)[:, :, 1] - position[:, None]) @ rotation
    closing = np.where(on, _speed(pads, span, step), 0.0).max(1)
    found = []
    for first, last in _spells(grips, round(_BRIDGED / step)):
        moving = moves[first:last]
        resting = (closing[first:last] < _FINGERS_CLOSE) & grips[first:last]
        carried = moving & grips[first:last]
        if carried.sum() * step < _MOVING and resting.sum() * step < _RESTING:
            continue
        onset = first + int((carried | resting).argmax())
        look = slice(onset, min(onset + max(round(_LOOK / step), 1), last))
        kinds = grasp_types(joints[look], rotation[look], position[look], shape)
        before = max(onset - round(_WAY / step), 0)
        way = joints[onset, Keypoint.WRIST] - joints[before, Keypoint.WRIST]
        length = np.linalg.norm(way)
        found.append(
            Grasped(
                onset=onset,
                end=last,
                kind=int(np.bincount(kinds).argmax()),
                approach=way / length if length > _LEAST_WAY else np.zeros(3),
                force=holding_force(shape),
            )
        )
    return found


def first_motion(times: np.ndarray, position: np.ndarray) -> int | None:
    """First frame in which an object ``(T, 3)`` [m] moves for 0.1 s; ``None`` for never."""
    step = float(times[1] - times[0])
    moves = _speed(position, max(round(_SPAN / step), 1), step) > _OBJECT_MOVES
    for first, last in _spells(moves, 1):
        if (last - first) * step >= _MOVING:
            return first
    return None


def _speed(points: np.ndarray, span: int, step: float) -> np.ndarray:
    """``(T, …)`` [m/s] of points ``(T, …, 3)``: over ``span`` frames to either side at most."""
    frame = np.arange(len(points))
    low, high = np.maximum(frame - span, 0), np.minimum(frame + span, len(points) - 1)
    apart = step * (high - low).reshape(-1, *(1,) * (points.ndim - 2))
    return np.linalg.norm(points[high] - points[low], axis=-1) / apart


def _spells(true: np.ndarray, bridged: int) -> list[tuple[int, int]]:
    """First frame and first frame after of each run, gaps of ``bridged`` frames filled."""
    rows = np.flatnonzero(true)
    if not len(rows):
        return []
    cuts = np.flatnonzero(np.diff(rows) > bridged + 1)
    firsts, lasts = rows[np.r_[0, cuts + 1]], rows[np.r_[cuts, len(rows) - 1]] + 1
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
