"""What temporal fusion is told of each frame, and how its answer becomes a hand. Without torch.

A frame is told by itself, by what changed since the last one that showed a hand, and by how it
differs from what was seen on average for longer than the window, never by its place in the window,
so that what was computed of earlier frames holds for later ones as well. All of right hands: left
ones are seen in the mirror.

What the network says is how the hand that was seen is wrong, how far to believe it, and how it
moves: :func:`follow` then leads a hand of its own towards it, as a Kalman filter would whose gains
were learnt. So it remembers for as long as gains are small, whatever the window.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.hand_skeleton import NUM_KEYPOINTS, Keypoint

# Of the file that training writes.
FORMAT = "manip-temporal-3"
NUM_OBJECT_FEATURES, NUM_CONTACT_FEATURES = 10, 14
# A hand of units of about one: shape and place [m], changes from frame to frame [m], deviations.
_SHAPE, _CHANGE, _DEVIATION = 0.05, 0.01, 0.01
# Changes beyond this many units are outliers, whatever their size.
_MOST_CHANGE = 5.0
# What the network's answer of one unit means: joints against the wrist [m], and the wrist's line of
# sight and the logarithm of its depth.
UNIT_SHAPE, UNIT_PLACE = 0.01, 0.01
_JOINTS = 3 * NUM_KEYPOINTS
# Time constants of the means of what was seen [s]: of a gesture, and of an estimator's mood.
MEANS = (0.15, 1.0)
# Of a hand: what the frame tells by itself, then how that differs from others, then the rest.
NUM_FRAME_FEATURES = _JOINTS + 3 + NUM_KEYPOINTS + 3
# The correction that a frame alone tells is the mean of what is said of it turned so many ways.
TURNS = 8
NUM_HAND_FEATURES = NUM_FRAME_FEATURES + (1 + len(MEANS)) * (_JOINTS + 3) + 3
# A hand in the network's units: a row for each joint against the wrist, one for the wrist's place.
ROWS = NUM_KEYPOINTS + 1
# Its answer: what is wrong with the hand that was seen; how far each row is believed across the
# line of sight, then along it (before the sigmoid): one eye sees the former well, so that it need
# not be as late as the latter; deviations; speed and acceleration [units a second]; touch of the
# four fingers.
ANSWERS = {
    "correction": 3 * ROWS,
    "gain": 2 * ROWS,
    "log_variance": 3 * ROWS,
    "speed": 3 * ROWS,
    "acceleration": 3 * ROWS,
    "contact": 4,
}
# Which of the gains moves which number of a hand.
_GAIN_OF = np.arange(ROWS)[:, None] + (0, 0, ROWS)
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
        means: ``(B, T, len(MEANS), 66)`` of shape and place, as they were seen, over time.
    """

    shape: np.ndarray
    place: np.ndarray
    times: np.ndarray
    means: np.ndarray


def nothing_carried(size: int) -> Carried:
    """Before anything was seen."""
    return Carried(
        np.zeros((size, 1, NUM_KEYPOINTS, 3)),
        np.zeros((size, 1, 3)),
        np.full((size, 1), -np.inf),
        np.zeros((size, 1, len(MEANS), _JOINTS + 3)),
    )


def carry(moments: Moments, before: Carried) -> tuple[Carried, Carried]:
    """What was last seen before each frame, and at or before it.

    Args:
        moments: T frames.
        before: What was last seen before all of them.
    """
    joints = np.where(moments.seen[..., None, None], moments.joints, 1.0)
    wrist = joints[:, :, Keypoint.WRIST]
    depth = np.maximum(wrist[..., 2:], 0.02)
    own = (
        joints - wrist[:, :, None],
        np.concatenate((wrist[..., :2] / depth, np.log(depth)), -1),
        np.where(moments.seen, moments.times, -np.inf),
    )
    frames = moments.seen.shape[1]
    # Row 0 is what came before; every row points to the last one that was seen.
    row = np.where(moments.seen, np.arange(1, frames + 1), 0)
    row = np.maximum.accumulate(np.pad(row, ((0, 0), (1, 0))), 1)
    which = np.arange(len(row))[:, None]
    earlier = (before.shape, before.place, before.times)
    values = [
        np.concatenate((old[:, -1:], new), 1)[which, row]
        for old, new in zip(earlier, own, strict=True)
    ]
    means = _means(values, moments.seen, before.means[:, -1])
    values.append(np.concatenate((before.means[:, -1:], means), 1))
    return Carried(*(v[:, :-1] for v in values)), Carried(*(v[:, 1:] for v in values))


def _means(values: list[np.ndarray], seen: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """``(B, T, len(MEANS), 66)``: exponential means that stand still while nothing is seen.

    Args:
        values: Shape, place and times ``(B, 1 + T, …)``, that before the frames first.
        seen: ``(B, T)`` bool.
        mean: ``(B, len(MEANS), 66)`` before the frames.
    """
    shape, place, times = values
    hands = np.concatenate((shape.reshape(*times.shape, -1), place), -1)
    out = []
    for frame in range(seen.shape[1]):
        # An infinite gap takes the first hand as it is.
        gap = np.full(len(seen), np.inf)
        np.subtract(times[:, frame + 1], times[:, frame], gap, where=np.isfinite(times[:, frame]))
        share = np.where(seen[:, frame, None], 1 - np.exp(-gap[:, None] / MEANS), 0.0)
        mean = mean + share[..., None] * (hands[:, frame + 1, None] - mean)
        out.append(mean)
    return np.stack(out, 1)


def features(moments: Moments, before: Carried) -> tuple[dict[str, np.ndarray], Carried]:
    """What the network is told, float32 ``(B, T, …)`` by modality, and the hands carried on.

    Args:
        moments: T frames.
        before: What was last seen before all of them: :func:`nothing_carried`, or the last of what
            this function returned.
    """
    last, now = carry(moments, before)
    seen = moments.seen[..., None]
    frames = seen.shape[:2]
    known = np.isfinite(last.times)[..., None] & seen
    change = np.where(known[..., None], now.shape - last.shape, 0.0) / _CHANGE
    moved = np.where(known, now.place - last.place, 0.0) / UNIT_PLACE
    gap = np.where(np.isfinite(last.times), moments.times - last.times, 1.0)
    hands = np.concatenate((now.shape.reshape(*frames, -1), now.place), -1)
    unlike = np.where(seen[..., None], hands[:, :, None] - now.means, 0.0) / _CHANGE
    told = (
        np.where(seen[..., None], now.shape, 0.0).reshape(*frames, -1) / _SHAPE,
        np.where(seen, now.place, 0.0),
        np.where(seen, np.log1p(moments.deviation.mean(-1) / _DEVIATION), 0.0),
        # Across and along the line of sight: each estimator has its own.
        np.where(seen, np.log1p(moments.deviation.mean(-2) / _DEVIATION), 0.0),
        _bounded(change).reshape(*frames, -1),
        _bounded(moved),
        _bounded(unlike).reshape(*frames, -1),
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
    """The network's ``(…, NUM_ANSWERS)`` by name; an array or a tensor. Those of a hand's size are
    ``(…, ROWS, 3)``."""
    found, first = {}, 0
    for name, count in ANSWERS.items():
        found[name] = values[..., first : first + count]
        if count == 3 * ROWS:
            found[name] = found[name].reshape(*values.shape[:-1], ROWS, 3)
        first += count
    return found


def turns(count: int) -> np.ndarray:
    """``(count, 3, 3)`` turns about the line of sight, evenly spaced over the whole circle. They
    turn a wrist's place (x/z, y/z, log z) as they turn a joint."""
    angle = 2 * np.pi * np.arange(count) / count
    found = np.tile(np.eye(3), (count, 1, 1))
    found[:, 0, 0] = found[:, 1, 1] = np.cos(angle)
    found[:, 1, 0], found[:, 0, 1] = np.sin(angle), -np.sin(angle)
    return found


def in_units(hands: Carried) -> np.ndarray:
    """``(B, T, ROWS, 3)`` of hands as they were carried on."""
    return np.concatenate((hands.shape / UNIT_SHAPE, hands.place[..., None, :] / UNIT_PLACE), -2)


def placed(hand: np.ndarray) -> np.ndarray:
    """Joints ``(…, 21, 3)`` [m] of a hand ``(…, ROWS, 3)`` in the network's units."""
    place = UNIT_PLACE * hand[..., -1, :]
    depth = np.exp(place[..., 2:])
    wrist = np.concatenate((place[..., :2] * depth, depth), -1)
    return UNIT_SHAPE * hand[..., :-1, :] + wrist[..., None, :]


def belief(gain, seen, known):
    """How far a hand is led to what is seen, ``(…, ROWS, 3)``; arrays or tensors.

    Args:
        gain: ``(…, 44)`` of the answers, after the sigmoid.
        seen: ``(…)`` 1 where a hand is seen, else 0.
        known: ``(…)`` 1 where one was seen before: the first is taken as it comes.
    """
    seen, known = seen[..., None, None], known[..., None, None]
    return seen * (1 - known * (1 - gain[..., _GAIN_OF]))


def follow(seen, speed, belief, gaps, hand, before) -> list:
    """T hands ``(B, ROWS, 3)`` that go where they are led; arrays or tensors.

    Each is carried on by the speed that was said of the one before it, and led towards the hand
    that is seen.

    Args:
        seen: ``(B, T, ROWS, 3)`` as seen and corrected.
        speed: ``(B, T, ROWS, 3)`` [units a second].
        belief: ``(B, T, ROWS, 3)`` of :func:`belief`.
        gaps: ``(B, T)`` time since the frame before [s].
        hand: ``(B, ROWS, 3)`` before the frames.
        before: ``(B, ROWS, 3)`` its speed.
    """
    out = []
    for frame in range(seen.shape[1]):
        carried = hand + gaps[:, frame, None, None] * before
        hand = carried + belief[:, frame] * (seen[:, frame] - carried)
        before = speed[:, frame]
        out.append(hand)
    return out


def foreseen(said: dict, hand, ahead: float):
    """Hands ``(…, ROWS, 3)``, so many seconds ``ahead`` of each frame; arrays or tensors.

    Args:
        said: :func:`answers`.
        hand: ``(…, ROWS, 3)`` of :func:`follow`.
        ahead: [s].
    """
    return hand + ahead * said["speed"] + 0.5 * ahead**2 * said["acceleration"]
