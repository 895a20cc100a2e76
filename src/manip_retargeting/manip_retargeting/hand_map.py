"""The human hand in the robot's terms: fingertip and segment targets in the robot's palm frame."""

from dataclasses import dataclass

import numpy as np

from manip_core.hand import Hand, palm_rotation
from manip_core.hand_skeleton import FINGER_CHAINS, Keypoint

# The Allegro's fingers in the order used throughout this package; the little finger is left out.
FINGERS = ("thumb", "index", "middle", "ring")
_CHAINS = FINGER_CHAINS[:4]
_MIRROR = np.array([1.0, -1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class HandScale:
    """How a human hand is enlarged to the robot's.

    Attributes:
        tips: ``(4,)`` robot metres per human metre of the wrist-to-tip vector of each of FINGERS.
        wrist: ``(3,)`` where the human wrist lies in ``allegro_palm`` [m].
    """

    tips: np.ndarray
    wrist: np.ndarray

    def __post_init__(self):
        for name, shape in (("tips", (4,)), ("wrist", (3,))):
            value = np.array(getattr(self, name), dtype=float)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"{name} must be {shape} and finite, got {getattr(self, name)}")
            object.__setattr__(self, name, value)
        if not (self.tips > 0).all():
            raise ValueError(f"tips must be positive, got {self.tips}")


@dataclass(frozen=True, kw_only=True)
class HandTargets:
    """What the robot's hand should look like, in ``allegro_palm``.

    Attributes:
        tips: ``(4, 3)`` fingertip positions of FINGERS [m].
        directions: ``(4, 3, 3)`` unit vectors along the three segments of each finger, base to tip.
    """

    tips: np.ndarray
    directions: np.ndarray


def palm_points(hand: Hand, mirror: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints ``(21, 3)`` [m] in the hand's own palm frame, and that frame ``(3, 3)``.

    The wrist is the origin. ``mirror`` reflects the points to those of a hand of the other side.
    """
    rotation = palm_rotation(hand.keypoints, hand.side)
    points = (hand.keypoints - hand.keypoints[Keypoint.WRIST]) @ rotation
    return (points * _MIRROR if mirror else points), rotation


def hand_targets(points: np.ndarray, scale: HandScale) -> HandTargets:
    """Targets of the robot's hand for keypoints ``(21, 3)`` in the palm frame."""
    chains = points[_CHAINS]
    segments = chains[:, 1:] - chains[:, :-1]
    lengths = np.sqrt((segments * segments).sum(-1, keepdims=True))
    return HandTargets(
        tips=scale.wrist + scale.tips[:, None] * chains[:, 3],
        directions=segments / np.maximum(lengths, 1e-6),
    )


def calibrate(hands: list[Hand], knuckle_height: float, finger_lengths: np.ndarray) -> HandScale:
    """Scale of this user's hand, from a few observations of it in any posture.

    Bone lengths do not change with posture, so the fingers' scale is the robot's finger length over
    the human's, medians over the observations; the thumb, whose skeletons differ, takes the mean of
    the fingers'. The wrist is placed where the scaled middle knuckle meets the robot's.

    Args:
        hands: Observations of one hand, at least one usable.
        knuckle_height: z of the robot's finger bases in ``allegro_palm`` [m].
        finger_lengths: ``(3,)`` robot's index, middle, ring from the flexion axis to the tip [m].

    Raises:
        ValueError: No observation is usable.
    """
    usable = [hand for hand in hands if hand.tracked and hand.problem() is None]
    if not usable:
        raise ValueError(f"calibration needs a tracked, sound hand; got {len(hands)} without one")
    keypoints = np.array([hand.keypoints for hand in usable])
    chains = keypoints[:, _CHAINS[1:]]
    human = np.median(np.linalg.norm(np.diff(chains, axis=2), axis=-1).sum(-1), axis=0)
    palm = np.median(
        np.linalg.norm(keypoints[:, Keypoint.MIDDLE_MCP] - keypoints[:, Keypoint.WRIST], axis=-1)
    )
    if not (human > 0.01).all() or not palm > 0.01:
        raise ValueError(f"finger lengths {human} m and palm {palm} m are not those of a hand")
    fingers = finger_lengths / human
    mean = fingers.mean()
    return HandScale(
        tips=np.concatenate(([mean], fingers)), wrist=(0.0, 0.0, knuckle_height - mean * palm)
    )
