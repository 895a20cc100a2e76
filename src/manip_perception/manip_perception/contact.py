"""Does a finger touch the thumb? From the gap seen across the line of sight and that along it."""

from dataclasses import dataclass

import numpy as np

from manip_core.hand import RIGHT, palm_rotation
from manip_core.hand_skeleton import TIPS


@dataclass(frozen=True, kw_only=True)
class ContactConfig:
    """Of the contact likelihood.

    The tip keypoints lie inside the fingertips: when pads touch, they are a fingertip's thickness
    apart (10 to 19 mm in the truth of the bundled clip).

    Attributes:
        touch_gap: Gap between the tips [m] at which touch is as likely as not.
        width: How far [m] beside it the odds change by e.
        depth_weight: What a gap along the line of sight counts, where one across it counts 1:
            depths are seen far worse, and fingers that pinch are drawn apart by 20 to 30 mm.
        curl: Flexion of a finger, from its palm bone to its tip [rad], up to which a pad can meet
            the thumb's. Beyond it (a fist, fingers held down by the thumb) the thumb lies on the
            back of the finger.
        curl_gap: What each radian beyond counts as a gap [m].
    """

    touch_gap: float = 0.0235
    width: float = 0.002
    depth_weight: float = 0.3
    curl: float = 2.6
    curl_gap: float = 0.06

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")


def contact_likelihood(
    keypoints: np.ndarray, side: str = RIGHT, config: ContactConfig | None = None
) -> np.ndarray:
    """Probability ``(4,)`` that index, middle, ring, little touch the thumb, pad to pad.

    Args:
        keypoints: ``(21, 3)`` in [m], ``camera_optical_frame``, each on its own line of sight.
        side: ``"left"`` or ``"right"``.
        config: Figures.
    """
    config = config or ContactConfig()
    gaps = keypoints[TIPS[1:]] - keypoints[TIPS[0]]
    line = keypoints[TIPS].mean(0)
    line = line / np.linalg.norm(line)
    along = gaps @ line
    across = np.linalg.norm(gaps - along[:, None] * line, axis=1)
    excess = np.maximum(finger_curl(keypoints, side) - config.curl, 0.0)
    gap = np.hypot(across, config.depth_weight * along) + config.curl_gap * excess
    logit = (config.touch_gap - gap) / config.width
    return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


def finger_curl(keypoints: np.ndarray, side: str = RIGHT) -> np.ndarray:
    """Flexion ``(4,)`` [rad] of index to little: from the palm's direction to the tip's.

    Turns towards the palm count positive and are summed over the joints, so a closed fist has about
    3 to 4; the result lies within -pi/2 and 3 pi/2, for fingers bend backwards but little.
    """
    tip_bones = keypoints[TIPS[1:]] - keypoints[TIPS[1:] - 1]
    local = tip_bones @ palm_rotation(keypoints, side)
    turn = np.arctan2(local[:, 0], local[:, 2])
    return np.where(turn < -np.pi / 2, turn + 2 * np.pi, turn)


class ContactFilter:
    """Contact likelihoods held steady: a median against flicker, two levels against chatter.

    A touch is taken from the median of the last three values, so it comes and goes one frame late
    at most, and one odd frame does not show.
    """

    def __init__(self, on: float, off: float):
        self.on, self.off = on, off
        self.reset()

    def reset(self) -> None:
        """Forget the past."""
        self._past: list[np.ndarray] = []
        self._touching = np.zeros(len(TIPS) - 1, dtype=bool)

    def update(self, contact: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steady likelihoods ``(4,)`` and which fingers touch ``(4,)`` bool."""
        self._past = [*self._past[-2:], contact]
        steady = np.median(self._past, axis=0)
        self._touching = np.where(self._touching, steady > self.off, steady > self.on)
        # What is reported stays on the side of the decision, else a consumer would decide anew.
        held = np.where(self._touching, np.maximum(steady, self.on), np.minimum(steady, self.off))
        return held, self._touching


def close_gaps(keypoints: np.ndarray, contact: np.ndarray) -> np.ndarray:
    """Keypoints whose touching fingertips lie at one depth, where the image shows no gap.

    The gap along the line of sight between the thumb's tip and that of the finger in contact is
    closed by the contact likelihood, shared between both; the gap across it stays as it is seen.

    Args:
        keypoints: ``(21, 3)`` in [m], ``camera_optical_frame``.
        contact: ``(4,)``, 0 to 1.
    """
    finger = int(np.argmax(contact))
    if contact[finger] <= 0:
        return keypoints
    thumb, tip = TIPS[0], TIPS[finger + 1]
    gap = contact[finger] * (keypoints[tip, 2] - keypoints[thumb, 2])
    closed = keypoints.copy()
    for end, shift in ((thumb, 0.5 * gap), (tip, -0.5 * gap)):
        # Along the finger the shift fades towards its base.
        for joint, share in ((end, 1.0), (end - 1, 0.5)):
            z = keypoints[joint, 2]
            closed[joint] = keypoints[joint] * (1 + share * shift / z)
    return closed
