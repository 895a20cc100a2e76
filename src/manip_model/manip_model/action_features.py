"""What the action decoder is told of each frame, and how its answer is read. Without torch.

Everything is told in the palm's own frame, so that it does not matter where the camera stands, and
all of right hands: left ones are seen in the mirror. As for temporal fusion a frame is told by
itself and by what changed since the last one, never by its place in the window. Beside that it is
told what the labels' rule looks at (:mod:`manip_training.action.grasp_rule`), with gaps to the box
of an object's size and to the cylinder, since nobody says which of them it is; what that rule would
say of the frame (:mod:`manip_model.grasp_rule`), so that types need not be learnt by heart; and how
fingertips, object and gaps differ from their own running means, for speeds from frame to frame are
mostly noise.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.grasp_types import NUM_GRASP_TYPES
from manip_core.hand_skeleton import FINGER_CHAINS, NUM_KEYPOINTS, TIPS, Keypoint
from manip_core.manipulation import NUM_STEPS
from manip_model.grasp_rule import NEAR, NUM_RULED, expected_types, round_sided

# Of the file that training writes.
FORMAT = "manip-action-4"
# The one that ships, in the suite's share.
SHIPPED = "assets/action/weights.npz"
# Half the thickness of a finger, and of the palm below its knuckles [m]: keypoints lie inside.
_FLESH, _PALM_FLESH = 0.008, 0.012
# What one unit of a feature means: [m], [m/s], [rad/s].
_SHAPE, _BEND, _SPEED, _TURN, _PLACE, _GAP = 0.05, 0.3, 0.3, 2.0, 0.1, 0.04
# Units beyond this are outliers; gaps beyond it are far, whatever they are.
_MOST, _FAR = 4.0, 3.0
# Longest time [s] over which a change is one.
_RECENT = 0.5
# What is that much more or less than it is out of doubt [m].
_TOUCH = 0.006
# Over how long running means forget [s].
MEMORIES = (0.06, 0.2)

_JOINTS = 3 * NUM_KEYPOINTS
_FINGERS, _GAPS = 5, 6
# What running means are kept of: pads; the object's middle, and gaps to box and cylinder.
_MEANS = {"hand": 3 * _FINGERS, "objects": 3 + 2 * _GAPS}
_BASIC = {
    "hand": 2 * _JOINTS + 3 + 3 + 1 + 4 + 1 + 1 + 1,
    "objects": 3 + 6 + 3 + 1 + _GAPS + 3 + 1,
}
ACTION_TOLD = {
    "hand": _BASIC["hand"] + 3 + len(MEMORIES) * _MEANS["hand"],
    "objects": _BASIC["objects"]
    + 3 * _GAPS
    + 5
    + 3
    + len(MEMORIES) * _MEANS["objects"]
    + 2 * _GAPS
    + NUM_RULED,
}
# Its answer. Position and turn are those of the palm against what it is now, in its own frame [dm]
# and [rad]; aperture the change [dm]; force the logarithm of 1 + newtons.
ACTION_ANSWERS = {
    "position": 3 * NUM_STEPS,
    "turn": 3 * NUM_STEPS,
    "aperture": NUM_STEPS,
    "force": NUM_STEPS,
    "grasping": NUM_STEPS,
    "approach": 3,
    "type": NUM_GRASP_TYPES,
    "confidence": 1,
}
NUM_ACTION_ANSWERS = sum(ACTION_ANSWERS.values())
# Of its answer, types; of what is told of objects, what the rule would say. That reaches types as
# the logarithm of 1 + p / UNLIKELY.
_BEFORE_TYPES = sum(list(ACTION_ANSWERS.values())[: list(ACTION_ANSWERS).index("type")])
TYPES = slice(_BEFORE_TYPES, _BEFORE_TYPES + NUM_GRASP_TYPES)
RULED, UNLIKELY = slice(ACTION_TOLD["objects"] - NUM_RULED, ACTION_TOLD["objects"]), 0.1


@dataclass(kw_only=True)
class Sights:
    """What was seen in frames, ``(B, T, …)``, ``camera_optical_frame``.

    Attributes:
        times: ``(B, T)`` exposure [s], rising.
        seen: ``(B, T)`` bool, a hand was seen.
        joints: ``(B, T, 21, 3)`` [m].
        confidence: ``(B, T)`` of the hand.
        contact: ``(B, T, 4)`` probability that each finger touches the thumb.
        object_confidence: ``(B, T)`` of the nearest object; 0 for none, and then the rest of it
            means nothing.
        object_rotation: ``(B, T, 3, 3)``.
        object_position: ``(B, T, 3)`` its centre [m].
        object_size: ``(B, T, 3)`` along its axes [m]; zeros where that is not known.
    """

    times: np.ndarray
    seen: np.ndarray
    joints: np.ndarray
    confidence: np.ndarray
    contact: np.ndarray
    object_confidence: np.ndarray
    object_rotation: np.ndarray
    object_position: np.ndarray
    object_size: np.ndarray


@dataclass
class Running:
    """Running means, one for each of ``MEMORIES``, ``(B, 2, n)``, and when they were last told of
    anything, ``(B,)`` [s]; -inf for never."""

    mean: np.ndarray
    time: np.ndarray


@dataclass
class Before:
    """The last hand and object that were seen before the first frame, ``(B, 1, …)``.

    Attributes:
        joints, hand_time: ``(B, 1, 21, 3)`` [m] and ``(B, 1)`` [s]; -inf for never.
        place, object_time: ``(B, 1, 3)`` [m] of the object's centre, and ``(B, 1)`` [s].
        running: Means by modality.
    """

    joints: np.ndarray
    hand_time: np.ndarray
    place: np.ndarray
    object_time: np.ndarray
    running: dict[str, Running]


def nothing_before(size: int) -> Before:
    """Nothing was seen yet."""
    never = np.full((size, 1), -np.inf)
    running = {
        name: Running(np.zeros((size, len(MEMORIES), count)), never[:, 0])
        for name, count in _MEANS.items()
    }
    # An open palm of no hand in particular: a palm of zeros has no frame.
    joints = np.zeros((size, 1, NUM_KEYPOINTS, 3))
    joints[..., Keypoint.MIDDLE_MCP, 1] = joints[..., Keypoint.INDEX_MCP, 0] = 0.1
    return Before(joints, never, np.zeros((size, 1, 3)), never, running)


def palm_frames(joints: np.ndarray) -> np.ndarray:
    """Palms ``(…, 3, 3)`` of right hands ``(…, 21, 3)``, as :func:`manip_core.hand.palm_rotation`
    has them; for a hand without a palm some frame that is finite."""
    z = joints[..., Keypoint.MIDDLE_MCP, :] - joints[..., Keypoint.WRIST, :]
    across = joints[..., Keypoint.INDEX_MCP, :] - joints[..., Keypoint.RING_MCP, :]
    x, z = _unit(np.cross(across, z)), _unit(z)
    return np.stack((x, np.cross(z, x), z), -1)


def aperture(joints: np.ndarray) -> np.ndarray:
    """Widest gap ``(…)`` [m] between the thumb's tip and the other fingers', of ``(…, 21, 3)``."""
    gaps = joints[..., TIPS[1:], :] - joints[..., TIPS[:1], :]
    return np.linalg.norm(gaps, axis=-1).max(-1)


def surface_distance(points: np.ndarray, half: np.ndarray, box: np.ndarray | bool) -> np.ndarray:
    """Signed distance ``(…, N)`` [m] of points ``(…, N, 3)``, negative inside.

    Args:
        points: In the objects' frames [m].
        half: ``(…, 3)`` half of width, depth and height; a cylinder's axis is z.
        box: ``(…)`` bool, a box; else a cylinder.
    """
    half = half[..., None, :]
    beyond = np.abs(points) - half
    radial = np.hypot(points[..., 0], points[..., 1]) - half[..., 0]
    rounded = np.stack((radial, np.full_like(radial, -np.inf), beyond[..., 2]), -1)
    beyond = np.where(np.asarray(box)[..., None, None], beyond, rounded)
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=-1)
    return outside + np.minimum(beyond.max(-1), 0)


def touch_points(joints: np.ndarray) -> np.ndarray:
    """``(…, 5, 3, 3)`` three points of each finger's outer two phalanges, thumb first [m]."""
    chains = joints[..., FINGER_CHAINS, :]  # (…, 5, 4, 3)
    middle, end, tip = (chains[..., k, :] for k in (1, 2, 3))
    points = (0.5 * (middle + end), 0.5 * (end + tip), 0.2 * end + 0.8 * tip)
    return np.stack(points, -2)


def gaps(
    joints: np.ndarray,
    rotation: np.ndarray,
    position: np.ndarray,
    size: np.ndarray,
    box: np.ndarray | bool,
) -> np.ndarray:
    """``(…, 6)`` gap between each finger's flesh and the object, then the palm's [m].

    Args:
        joints: ``(…, 21, 3)`` [m].
        rotation, position: ``(…, 3, 3)`` and ``(…, 3)`` [m] of the object in the same frame.
        size: ``(…, 3)`` [m] along its axes.
        box: ``(…)`` bool, see :func:`surface_distance`.
    """
    bases = joints[..., FINGER_CHAINS[1:, 0], :]  # (…, 4, 3)
    wrist = joints[..., Keypoint.WRIST, :][..., None, :]
    palm = np.concatenate((bases, 0.4 * wrist + 0.6 * bases), -2)
    points = touch_points(joints)
    every = np.concatenate((points.reshape(*points.shape[:-3], 15, 3), palm), -2)
    local = (every - position[..., None, :]) @ rotation
    away = surface_distance(local, 0.5 * size, box)
    fingers = away[..., :15].reshape(*away.shape[:-1], 5, 3).min(-1) - _FLESH
    return np.concatenate((fingers, away[..., 15:].min(-1, keepdims=True) - _PALM_FLESH), -1)


def beside_index(joints: np.ndarray) -> np.ndarray:
    """``(…, 3)`` of right hands ``(…, 21, 3)``: how far the thumb's pad is from the side of the
    index finger's middle phalanx [m], the share of that way that is across the palm, and the cosine
    of the turn of the index finger's last phalanx against its first."""
    side = 0.5 * (joints[..., Keypoint.INDEX_PIP, :] + joints[..., Keypoint.INDEX_DIP, :])
    to_side = side - touch_points(joints)[..., 0, 1, :]
    apart = np.linalg.norm(to_side, axis=-1)
    # A right palm's y axis points to the side of the thumb.
    across = -(to_side * palm_frames(joints)[..., 1]).sum(-1) / np.maximum(apart, 1e-9)
    first = joints[..., Keypoint.INDEX_PIP, :] - joints[..., Keypoint.INDEX_MCP, :]
    last = joints[..., Keypoint.INDEX_TIP, :] - joints[..., Keypoint.INDEX_DIP, :]
    return np.stack((apart, across, (_unit(first) * _unit(last)).sum(-1)), -1)


def grip_axis(joints: np.ndarray, away: np.ndarray) -> np.ndarray:
    """``(…, 3)`` unit, from the thumb's pad to the mean pad of the fingers on the object.

    Args:
        joints: ``(…, 21, 3)`` [m].
        away: ``(…, 6)`` of :func:`gaps`.
    """
    pads = touch_points(joints)[..., 1, :]  # (…, 5, 3)
    # Nearer fingers count more; far ones not at all.
    share = np.exp(-np.clip(away[..., 1:5], 0, None) / NEAR) + 1e-9
    mean = (share[..., None] * pads[..., 1:, :]).sum(-2) / share.sum(-1)[..., None]
    return _unit(mean - pads[..., 0, :])


def features(sights: Sights, before: Before) -> tuple[dict[str, np.ndarray], Before]:
    """What the network is told, float32 ``(B, T, …)`` by modality, and what comes before the next.

    Args:
        sights: T frames.
        before: :func:`nothing_before`, or what this function returned last.
    """
    seen, there = sights.seen, sights.object_confidence > 0
    joints, hand_time = _filled(
        seen, (before.joints, before.hand_time), sights.joints, sights.times
    )
    place, object_time = _filled(
        there, (before.place, before.object_time), sights.object_position, sights.times
    )
    running = {}
    hand, of_hand = _hand(sights, joints, hand_time)
    lag, _, running["hand"] = _followed(of_hand, seen, sights.times, before.running["hand"])
    hand = np.concatenate((hand, lag), -1)
    objects, of_objects, ruled = _objects(sights, joints[:, 1:], place, object_time)
    lag, mean, running["objects"] = _followed(
        of_objects, seen & there, sights.times, before.running["objects"]
    )
    objects = np.concatenate((objects, lag, _far(mean[..., 3:]), ruled), -1)
    # Where an object is told, it is from a hand.
    shown = (there & np.isfinite(hand_time[:, 1:]))[..., None]
    told = {"hand": np.where(seen[..., None], hand, 0.0), "objects": np.where(shown, objects, 0.0)}
    told["hand"][..., _BASIC["hand"] - 1] = np.minimum(sights.times - hand_time[:, :-1], 1.0)
    after = Before(joints[:, -1:], hand_time[:, -1:], place[:, -1:], object_time[:, -1:], running)
    return {name: value.astype(np.float32) for name, value in told.items()}, after


def _hand(sights: Sights, joints: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``(B, T + 1, 21, 3)`` hands, the last one before all frames first; and what of them is
    followed."""
    palm = palm_frames(joints)
    wrist = joints[:, :, Keypoint.WRIST]
    shape = (joints - wrist[:, :, None]) @ palm
    rate = _rate(times)
    now = palm[:, 1:]
    speed = np.einsum("bti,btij->btj", wrist[:, 1:] - wrist[:, :-1], now) * rate
    relative = palm[:, :-1].swapaxes(-1, -2) @ now
    odd = 0.5 * (relative - relative.swapaxes(-1, -2))
    turn = np.stack((odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]), -1) * rate
    bend = (shape[:, 1:] - shape[:, :-1]) * rate[..., None]
    flat = sights.seen.shape
    pads = (touch_points(joints[:, 1:])[..., 1, :] - wrist[:, 1:, None]) @ now
    told = np.concatenate(
        (
            shape[:, 1:].reshape(*flat, -1) / _SHAPE,
            _bounded(bend / _BEND).reshape(*flat, -1),
            _bounded(speed / _SPEED),
            _bounded(turn / _TURN),
            aperture(joints[:, 1:])[..., None] / _PLACE,
            sights.contact,
            sights.confidence[..., None],
            np.ones((*flat, 2)),
            beside_index(joints[:, 1:]) / np.array((_PLACE, 1.0, 1.0)),
        ),
        -1,
    )
    return told, pads.reshape(*flat, -1)


def _objects(
    sights: Sights, joints: np.ndarray, place: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of ``(B, T, 21, 3)`` hands and ``(B, T + 1, 3)`` places; what of them is followed; and what
    the labels' rule would say."""
    palm, wrist = palm_frames(joints), joints[:, :, Keypoint.WRIST]
    there = sights.object_confidence > 0
    rotation = np.where(there[..., None, None], sights.object_rotation, np.eye(3))
    size = np.where(there[..., None], sights.object_size, 0.0)
    away, round_away = (gaps(joints, rotation, place[:, 1:], size, box) for box in (True, False))
    turned = palm.swapaxes(-1, -2) @ rotation
    moved = np.einsum("bti,btij->btj", place[:, 1:] - place[:, :-1], palm) * _rate(times)
    centre = np.einsum("bti,btij->btj", place[:, 1:] - wrist, palm)
    known = (size > 0).all(-1)[..., None]
    along = np.abs(np.einsum("bti,btij->btj", grip_axis(joints, away), rotation))
    likely = np.where(round_sided(size)[..., None], round_away, away)
    ruled = expected_types(likely, beside_index(joints), along, size)
    told = np.concatenate(
        (
            _bounded(centre / _PLACE),
            turned[..., 0],
            turned[..., 1],
            size / _PLACE,
            known,
            _far(away),
            _bounded(moved / _SPEED),
            sights.object_confidence[..., None],
            _far(round_away),
            np.tanh((away - NEAR) / _TOUCH),
            np.tanh((round_away - NEAR) / _TOUCH),
            np.where(known, _proportions(size, along), 0.0),
        ),
        -1,
    )
    followed = np.concatenate((centre, away, round_away), -1)
    return told, followed, np.where(known, ruled, 0.0)


def _proportions(size: np.ndarray, along: np.ndarray) -> np.ndarray:
    """``(B, T, 8)`` of an object's sides, from the shortest on: the logarithms of their ratios, of
    the mean of the shorter two [dm], and of a cylinder's two diameters; and how far the fingers'
    grip is ``along`` each of them."""
    order = np.argsort(size, -1, kind="stable")
    sides = np.log(np.maximum(np.take_along_axis(size, order, -1), 1e-3))
    a, b, c = np.moveaxis(sides, -1, 0)
    across = np.log(np.maximum(size[..., :2], 1e-3))
    logs = (b - a, c - b, c - a, 0.5 * (a + b) - np.log(_PLACE), across[..., 1] - across[..., 0])
    logs = _bounded(np.stack(logs, -1))
    return np.concatenate((logs, np.take_along_axis(along, order, -1)), -1)


def _followed(
    values: np.ndarray, there: np.ndarray, times: np.ndarray, before: Running
) -> tuple[np.ndarray, np.ndarray, Running]:
    """How fast ``(B, T, n)`` [m] leave their running means, in units of ``_SPEED``, the quickest's
    first ``(B, T, 2 n)``; the slowest means ``(B, T, n)`` [m]; and what comes before the next.

    Args:
        values: What is followed.
        there: ``(B, T)`` bool, frames that count.
        times: ``(B, T)`` [s].
        before: As this function returned it last.
    """
    mean, last = before.mean, before.time
    memories = np.array(MEMORIES)[:, None]
    means = np.empty((*values.shape[:2], *mean.shape[1:]))
    for frame in range(values.shape[1]):
        now, counts = times[:, frame], there[:, frame]
        ago = np.where(np.isfinite(last), now - np.where(np.isfinite(last), last, 0.0), np.inf)
        ago = np.where(ago < _RECENT, ago, np.inf)[:, None, None]
        share = np.where(counts[:, None, None], 1 - np.exp(-ago / memories), 0.0)
        mean = mean + share * (values[:, frame, None] - mean)
        last = np.where(counts, now, last)
        means[:, frame] = mean
    lag = (values[:, :, None] - means) / memories / _SPEED
    lag = np.where(there[..., None, None], _bounded(lag), 0.0)
    return lag.reshape(*values.shape[:2], -1), means[:, :, -1], Running(mean, last)


def _far(away: np.ndarray) -> np.ndarray:
    """Gaps [m] in units."""
    return np.clip(away / _GAP, -_MOST, _FAR)


def _filled(there: np.ndarray, before, *values: np.ndarray) -> list[np.ndarray]:
    """``(B, T + 1, …)`` the last value that was there, row 0 being what came before all."""
    frames = there.shape[1]
    row = np.where(there, np.arange(1, frames + 1), 0)
    row = np.maximum.accumulate(np.pad(row, ((0, 0), (1, 0))), 1)
    which = np.arange(len(row))[:, None]
    return [
        np.concatenate((first, value), 1)[which, row]
        for first, value in zip(before, values, strict=True)
    ]


def _rate(times: np.ndarray) -> np.ndarray:
    """``(B, T, 1)`` one over the time between neighbours of ``(B, T + 1)`` [1/s]; 0 where there is
    none, or it is long."""
    known = np.isfinite(times[:, :-1])
    step = np.where(known, times[:, 1:] - np.where(known, times[:, :-1], 0.0), np.inf)
    usable = (step > 1e-3) & (step < _RECENT)
    return np.where(usable, 1 / np.where(usable, step, 1.0), 0.0)[..., None]


def _bounded(units: np.ndarray) -> np.ndarray:
    return np.clip(units, -_MOST, _MOST)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-9)


def action_answers(values):
    """The network's ``(…, NUM_ACTION_ANSWERS)`` by name; an array or a tensor."""
    found, first = {}, 0
    for name, count in ACTION_ANSWERS.items():
        found[name] = values[..., first : first + count]
        first += count
    return found
