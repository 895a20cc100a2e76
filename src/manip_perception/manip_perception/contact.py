"""Does a finger touch the thumb? From the gap seen across the line of sight and that along it."""

from dataclasses import dataclass

import numpy as np

from manip_core.hand_skeleton import TIPS


@dataclass(frozen=True, kw_only=True)
class ContactConfig:
    """Of the contact likelihood.

    Attributes:
        lateral_gap: Gap across the line of sight [m] at which touch is as likely as not.
        depth_gap: Gap along the line of sight [m] that counts as much.
        width: How far [m] beside it the odds change by e.
    """

    lateral_gap: float = 0.022
    depth_gap: float = 0.06
    width: float = 0.003


def contact_likelihood(keypoints: np.ndarray, config: ContactConfig) -> np.ndarray:
    """Probability ``(4,)`` that index, middle, ring, little touch the thumb.

    Args:
        keypoints: ``(21, 3)`` in [m], ``camera_optical_frame``.
        config: Figures.
    """
    gaps = keypoints[TIPS[1:]] - keypoints[TIPS[0]]
    line = keypoints[TIPS].mean(0)
    line /= np.linalg.norm(line)
    along = gaps @ line
    across = np.linalg.norm(gaps - along[:, None] * line, axis=1)
    reach = np.hypot(across, along * config.lateral_gap / config.depth_gap)
    logit = (config.lateral_gap - reach) / config.width
    return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))


class ContactFilter:
    """Holds contact likelihoods steady in time: a median against flicker, two levels against chatter.

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
    """Keypoints whose touching fingertips meet the thumb's depth: the image cannot show a gap there.

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
