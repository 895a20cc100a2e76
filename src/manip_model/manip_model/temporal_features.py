"""What temporal fusion is told of each frame, and how its answer becomes a hand. Without torch.

A frame is told by itself and by what changed since the last one that showed a hand, never by its
place in the window, so that what was computed of earlier frames holds for later ones as well. All
of right hands: left ones are seen in the mirror.
"""

from dataclasses import dataclass, fields

import numpy as np

from manip_core.hand_skeleton import NUM_KEYPOINTS, Keypoint

# Of the file that training writes.
FORMAT = "manip-temporal-1"
NUM_OBJECT_FEATURES, NUM_CONTACT_FEATURES = 10, 14
# A hand of units of about one: shape and place [m], changes from frame to frame [m], deviations.
_SHAPE, _CHANGE, _DEVIATION = 0.05, 0.01, 0.01
# Changes beyond this many units are outliers, whatever their size.
_MOST_CHANGE = 5.0
# What the network's answer of one unit means: joints against the wrist [m], and the wrist's line of
# sight and the logarithm of its depth.
UNIT_SHAPE, UNIT_PLACE = 0.01, 0.01
_JOINTS = 3 * NUM_KEYPOINTS
NUM_HAND_FEATURES = 2 * _JOINTS + NUM_KEYPOINTS + 3 + 3 + 3
# Its answer: change of shape and place; deviations; speed and acceleration of shape and place
# [units a second]; touch of the four fingers.
ANSWERS = {
    "shape": _JOINTS,
    "place": 3,
    "shape_log_variance": _JOINTS,
    "place_log_variance": 3,
    "shape_speed": _JOINTS,
    "place_speed": 3,
    "shape_acceleration": _JOINTS,
    "place_acceleration": 3,
    "contact": 4,
}
NUM_ANSWERS = sum(ANSWERS.values())


@dataclass(kw_only=True)
class Moments:
    """What was seen in frames, ``(B, T, …)``.

    Attributes:
        times: ``(B, T)`` exposure [s], rising.
        seen: ``(B, T)`` bool, a hand was seen; where not, only the time counts.
        joints: ``(B, T, 21, 3)`` [m], ``camera_optical_frame``.
        deviation: ``(B, T, 21, 3)`` standard deviation of each coordinate [m].
        confidence: ``(B, T)``.
        contact: ``(B, T, 4)`` probability that each finger touches the thumb.
        objects: ``(B, T, 10)`` the nearest object: position from the wrist in decimetres (3), the
            first two columns of its rotation (6), probability (1); zeros for none.
        regions: ``(B, T, 10)`` probability that each region of the hand touches something.
    """

    times: np.ndarray
    seen: np.ndarray
    joints: np.ndarray
    deviation: np.ndarray
    confidence: np.ndarray
    contact: np.ndarray
    objects: np.ndarray
    regions: np.ndarray


@dataclass
class Carried:
    """The last hand that was seen at or before each frame.

    Attributes:
        shape: ``(B, T, 21, 3)`` joints against the wrist [m].
        place: ``(B, T, 3)`` x/z, y/z and log z of the wrist.
        times: ``(B, T)`` when that was [s]; -inf before the first.
    """

    shape: np.ndarray
    place: np.ndarray
    times: np.ndarray


def nothing_carried(size: int) -> Carried:
    """Before anything was seen."""
    shape = np.zeros((size, 1, NUM_KEYPOINTS, 3))
    return Carried(shape, np.zeros((size, 1, 3)), np.full((size, 1), -np.inf))


def carry(moments: Moments, before: Carried) -> tuple[Carried, Carried]:
    """What was last seen before each frame, and at or before it.

    Args:
        moments: T frames.
        before: What was last seen before all of them.
    """
    joints = np.where(moments.seen[..., None, None], moments.joints, 1.0)
    wrist = joints[:, :, Keypoint.WRIST]
    depth = np.maximum(wrist[..., 2:], 0.02)
    own = Carried(
        joints - wrist[:, :, None],
        np.concatenate((wrist[..., :2] / depth, np.log(depth)), -1),
        np.where(moments.seen, moments.times, -np.inf),
    )
    frames = moments.seen.shape[1]
    # Row 0 is what came before; every row points to the last one that was seen.
    row = np.where(moments.seen, np.arange(1, frames + 1), 0)
    row = np.maximum.accumulate(np.pad(row, ((0, 0), (1, 0))), 1)
    which = np.arange(len(row))[:, None]
    values = [
        np.concatenate((getattr(before, f.name), getattr(own, f.name)), 1)[which, row]
        for f in fields(Carried)
    ]
    return Carried(*(v[:, :-1] for v in values)), Carried(*(v[:, 1:] for v in values))


def features(moments: Moments, before: Carried) -> tuple[dict[str, np.ndarray], Carried]:
    """What the network is told, float32 ``(B, T, …)`` by modality, and the hands carried on.

    Args:
        moments: T frames.
        before: What was last seen before all of them: :func:`nothing_carried`, or the last of what
            this function returned.
    """
    last, now = carry(moments, before)
    seen = moments.seen[..., None]
    known = np.isfinite(last.times)[..., None] & seen
    change = np.where(known[..., None], now.shape - last.shape, 0.0) / _CHANGE
    moved = np.where(known, now.place - last.place, 0.0) / UNIT_PLACE
    gap = np.where(np.isfinite(last.times), moments.times - last.times, 1.0)
    told = (
        np.where(seen[..., None], now.shape, 0.0).reshape(*seen.shape[:2], -1) / _SHAPE,
        _bounded(change).reshape(*seen.shape[:2], -1),
        np.where(seen, np.log1p(moments.deviation.mean(-1) / _DEVIATION), 0.0),
        np.where(seen, now.place, 0.0),
        _bounded(moved),
        np.where(seen, moments.confidence[..., None], 0.0),
        seen,
        np.minimum(gap, 1.0)[..., None],
    )
    hand = np.concatenate(told, -1)
    contacts = np.concatenate((moments.contact, moments.regions), -1)
    by_name = {"hand": hand, "objects": moments.objects, "contacts": np.where(seen, contacts, 0.0)}
    return {name: value.astype(np.float32) for name, value in by_name.items()}, now


def _bounded(units: np.ndarray) -> np.ndarray:
    return np.clip(units, -_MOST_CHANGE, _MOST_CHANGE)


def answers(values):
    """The network's ``(…, NUM_ANSWERS)`` by name; an array or a tensor."""
    found, first = {}, 0
    for name, count in ANSWERS.items():
        found[name] = values[..., first : first + count]
        first += count
    return found


def placed(shape: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Joints ``(…, 21, 3)`` [m] of a shape ``(…, 21, 3)`` and a place ``(…, 3)``."""
    depth = np.exp(place[..., 2:])
    wrist = np.concatenate((place[..., :2] * depth, depth), -1)
    return shape + wrist[..., None, :]


def foreseen(said: dict[str, np.ndarray], now: Carried, ahead: float) -> np.ndarray:
    """Joints ``(B, T, 21, 3)`` [m], so many seconds ``ahead`` of each frame.

    Args:
        said: :func:`answers`.
        now: The hands that were carried on.
        ahead: [s]; 0 for the frame itself.
    """

    def moved(name: str) -> np.ndarray:
        speed, acceleration = said[f"{name}_speed"], said[f"{name}_acceleration"]
        return said[name] + ahead * speed + 0.5 * ahead**2 * acceleration

    shape = now.shape + UNIT_SHAPE * moved("shape").reshape(now.shape.shape)
    return placed(shape, now.place + UNIT_PLACE * moved("place"))
