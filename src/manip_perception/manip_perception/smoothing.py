"""From hands as they are seen, one image at a time, to a hand that moves as hands do.

Positions across the line of sight are well seen and lightly filtered; depth is not, and is filtered
more. So the filters run on lines of sight (x/z, y/z), on the wrist's depth, and on the keypoints'
depths from the wrist's: a hand whose distance is misjudged for a moment does not appear to grow.
"""

from dataclasses import dataclass, replace

import numpy as np

from manip_core.hand import RIGHT, Hand
from manip_core.hand_skeleton import Keypoint
from manip_perception.contact import ContactFilter, close_gaps
from manip_perception.one_euro import OneEuroFilter


@dataclass(frozen=True, kw_only=True)
class SmoothingConfig:
    """Of the smoother. Cut-off frequencies are those of a hand at rest.

    Attributes:
        lateral_cutoff, lateral_beta: Across the line of sight (x/z, y/z), [Hz] and [Hz per 1/s].
        shape_cutoff, shape_beta: Depths of the keypoints from the wrist, [Hz per m/s].
        depth_cutoff, depth_beta: Depth of the wrist.
        contact_on, contact_off: Contact likelihood from which a touch is taken for one, and below
            which it has ended.
        max_gap: Longest loss [s] that is bridged.
        max_speed: Fastest wrist [m/s]; what moves faster is another hand, or none.
        jump: Distance [m] that is never too far, whatever the time.
        patience: For how long [s] a jump, or a hand of the other side, must last to be believed.
        doubt_rate: Growth of the standard deviations while bridging [m/s].
    """

    lateral_cutoff: float = 1.5
    lateral_beta: float = 30.0
    shape_cutoff: float = 1.5
    shape_beta: float = 20.0
    depth_cutoff: float = 0.2
    depth_beta: float = 0.7
    contact_on: float = 0.5
    contact_off: float = 0.3
    max_gap: float = 0.2
    max_speed: float = 4.0
    jump: float = 0.08
    patience: float = 0.1
    doubt_rate: float = 0.2

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        for name in ("lateral_cutoff", "shape_cutoff", "depth_cutoff", "max_speed"):
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be positive, got 0")
        if not self.contact_off < self.contact_on < 1:
            raise ValueError(
                "contact_off must lie below contact_on, and that below 1, got "
                f"{self.contact_off} and {self.contact_on}"
            )


class HandSmoother:
    """Smooths the observations of one hand.

    Attributes:
        reason: Why the last observation was not used as it came; empty where it was.
        rejected: Number of observations that were not used.
    """

    def __init__(self, config: SmoothingConfig | None = None):
        self.config = c = config or SmoothingConfig()
        self.reason = ""
        self.rejected = 0
        self._lateral = OneEuroFilter(c.lateral_cutoff, c.lateral_beta)
        self._shape = OneEuroFilter(c.shape_cutoff, c.shape_beta)
        self._depth = OneEuroFilter(c.depth_cutoff, c.depth_beta)
        self._contact = ContactFilter(c.contact_on, c.contact_off)
        self._side = RIGHT
        self.reset()

    def reset(self) -> None:
        """Forget the hand: the next one is taken as it comes."""
        for part in (self._lateral, self._shape, self._depth, self._contact):
            part.reset()
        self._seen: Hand | None = None
        self._given: Hand | None = None
        self._odd_since: float | None = None
        self._stamp: float | None = None

    def update(self, hand: Hand | None, stamp: float) -> Hand:
        """The smoothed hand at ``stamp``.

        Args:
            hand: What was seen in the image of this stamp; ``None``: nothing.
            stamp: Exposure of the image [s].

        Returns:
            A hand with this stamp: filtered; or carried on (``bridged``) through a short loss; or
            ``tracked=False``. :attr:`reason` says why an observation was put aside.
        """
        self.reason = ""
        if not np.isfinite(stamp):
            self._reject(f"stamp must be finite, got {stamp}")
            return Hand(stamp=0.0, side=self._side)
        if self._stamp is not None and stamp <= self._stamp:
            back = self._stamp
            self.reset()
            self._reject(f"stamp {stamp:.3f} s is not later than the last, {back:.3f} s: reset")
        self._stamp = stamp
        if hand is not None and not hand.tracked:
            hand = None
        if hand is not None and (problem := hand.problem() or _behind(hand)):
            self._reject(problem)
            hand = None
        if hand is not None and (oddity := self._oddity(hand, stamp)):
            since = self._odd_since if self._odd_since is not None else stamp
            if stamp - since < self.config.patience:
                self._odd_since = since
                self._reject(oddity)
                hand = None
            else:
                self.reset()
                self._stamp = stamp
                self.reason = f"{oddity}: taken as a new hand"
        if hand is None:
            return self._carry(stamp)
        self._odd_since = None
        return self._filter(hand, stamp)

    def _reject(self, reason: str) -> None:
        self.reason = reason
        self.rejected += 1

    def _oddity(self, hand: Hand, stamp: float) -> str:
        """Why this is hardly the hand that was followed; empty where it may be."""
        last = self._seen
        if last is None or stamp - last.stamp > self.config.max_gap:
            return ""
        if hand.side != last.side:
            return f"a {hand.side} hand where a {last.side} one is followed"
        moved = hand.keypoints[Keypoint.WRIST] - last.keypoints[Keypoint.WRIST]
        allowed = self.config.jump + self.config.max_speed * (stamp - last.stamp)
        distance = float(np.linalg.norm(moved))
        return f"the wrist jumped {distance:.2f} m" if distance > allowed else ""

    def _filter(self, hand: Hand, stamp: float) -> Hand:
        if self._seen is not None and stamp - self._seen.stamp > self.config.max_gap:
            self.reset()
            self._stamp = stamp
        keypoints, deviation = self._placed(hand, stamp)
        contact, touching = self._contact.update(hand.contact)
        self._seen = hand
        self._side = hand.side
        self._given = replace(
            hand,
            stamp=stamp,
            keypoints=close_gaps(keypoints, contact * touching),
            keypoints_std=deviation,
            contact=contact,
            bridged=False,
        )
        return self._given

    def _placed(self, hand: Hand, stamp: float) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints ``(21, 3)`` [m] and their standard deviations, of a hand that is believed."""
        z = hand.keypoints[:, 2]
        wrist_z = z[Keypoint.WRIST]
        slopes = hand.keypoints[:, :2] / z[:, None]
        lateral = self._lateral.update(slopes, stamp)
        depth = self._depth.update(np.array([wrist_z]), stamp)
        shape = self._shape.update((z - wrist_z)[:, None], stamp)
        new_z = np.maximum(depth + shape[:, 0], 0.02)
        return np.column_stack((lateral * new_z[:, None], new_z)), hand.keypoints_std

    def _awaited(self, stamp: float) -> np.ndarray:
        """Keypoints ``(21, 3)`` [m] of the followed hand, which is not seen at ``stamp``."""
        return self._given.keypoints

    def _carry(self, stamp: float) -> Hand:
        lost = None if self._seen is None else stamp - self._seen.stamp
        if lost is None or lost > self.config.max_gap:
            self._given = None
            return Hand(stamp=stamp, side=self._side)
        last = self._given
        return replace(
            last,
            stamp=stamp,
            keypoints=self._awaited(stamp),
            keypoints_std=last.keypoints_std + self.config.doubt_rate * lost,
            confidence=last.confidence * (1.0 - lost / (2 * self.config.max_gap)),
            bridged=True,
        )


def _behind(hand: Hand) -> str:
    nearest = hand.keypoints[:, 2].min()
    return f"keypoints must lie before the camera, got z = {nearest:.3f} m" if nearest <= 0 else ""
