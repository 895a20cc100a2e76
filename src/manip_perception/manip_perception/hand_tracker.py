"""Following hands from picture to picture: where to look next, whose it is, when it is lost."""

from dataclasses import dataclass

import numpy as np

from manip_core.hand import LEFT, RIGHT
from manip_core.preprocessing import CropBox
from manip_perception.hand_reading import BeliefConfig, Reading

# Log-odds of the side: what one look can add, and what all together amount to at most.
_LOOK, _SURE = 2.0, 4.0


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """When a hand that was followed is followed no longer, and when the network is asked anew.

    Attributes:
        belief: Limits of what is taken for a hand.
        jump: Largest step of the hand's middle from where it was sought, in sides of its box.
        growth: Largest factor by which its box grows or shrinks from one picture to the next.
        inside: Least share of keypoints within the picture.
        overlap: Largest share of the smaller of two boxes that lies in the other.
        horizon: Velocities count for so long at most [s].
        ask_every: Every so many pictures the network is not told the side, so that it can object;
            0 for one that has no opinion of its own, and must always be told.
    """

    belief: BeliefConfig
    jump: float = 0.6
    growth: float = 1.8
    inside: float = 0.35
    overlap: float = 0.7
    horizon: float = 0.15
    ask_every: int = 10

    def __post_init__(self):
        for name in ("jump", "growth", "inside", "overlap", "horizon"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        if self.ask_every < 0:
            raise ValueError(f"ask_every must be 0 or more, got {self.ask_every}")


class Track:
    """One hand that is followed.

    Attributes:
        side: ``"left"`` or ``"right"``, for which most looks spoke so far.
        belief: In the last reading, 0 to 1.
        confirmed: Stamp of when a detector last saw a hand there [s].
        missed: How often it did not since.
    """

    def __init__(self, pixels: np.ndarray, side: str, score: float, stamp: float):
        """From a detection.

        Args:
            pixels: ``(N, 2)`` of the hand in the undistorted picture.
            side: What the detector calls it.
            score: Its probability for that, 0 to 1.
            stamp: Of the picture [s].
        """
        self._evidence = 0.0
        self._velocity = np.zeros(3)
        self._stamp = stamp
        self._looks = 0
        self.belief = 0.0
        self.confirm(pixels, side, score, stamp)

    @property
    def side(self) -> str:
        return RIGHT if self._evidence >= 0 else LEFT

    @property
    def certainty(self) -> float:
        """Probability of the side, 0.5 to 1."""
        return float(1 / (1 + np.exp(-abs(self._evidence))))

    @property
    def settled(self) -> bool:
        """More looks would not make the side surer."""
        return abs(self._evidence) >= _SURE

    def confirm(self, pixels: np.ndarray, side: str, score: float, stamp: float) -> None:
        """A detector sees this hand; arguments as those of the initialisation."""
        # Crops that follow what was seen in crops can drift.
        self._place, self._stamp = _place(pixels), stamp
        odds = np.log(max(score, 0.5) / max(1 - score, 1e-3))
        self._hear(odds if side == RIGHT else -odds)
        self.confirmed, self.missed = stamp, 0

    def told(self, config: TrackerConfig) -> str | None:
        """The side that the network is told this time; None: nothing, so that it can object."""
        if not config.ask_every:
            return self.side
        unsure = abs(self._evidence) < 0.5 * _LOOK
        return None if unsure or self._looks % config.ask_every == 0 else self.side

    def points(self, stamp: float, config: TrackerConfig) -> np.ndarray:
        """``(2, 2)`` top left and bottom right of where the hand should be at ``stamp`` [px]."""
        middle, half = self._expected(stamp, config)
        return np.stack((middle - half, middle + half))

    def box(self, stamp: float, config: TrackerConfig) -> CropBox:
        """What to cut out at ``stamp``."""
        return CropBox.around_points(self.points(stamp, config))

    def why_lost(
        self, reading: Reading, stamp: float, size: tuple[int, int], config: TrackerConfig
    ) -> str | None:
        """Why ``reading`` is not this hand carried on, in words; None where it is.

        Args:
            reading: Of the crop that :meth:`box` named.
            stamp: Of the picture [s].
            size: Width and height of the picture [px].
            config: Limits.
        """
        if not (np.isfinite(reading.keypoints).all() and np.isfinite(reading.outline).all()):
            return "what the network says is not finite"
        if (reading.keypoints[:, 2] <= 0).any():
            return "it would lie behind the camera"
        inside = ((reading.pixels >= 0) & (reading.pixels < size)).all(axis=1).mean()
        if inside < config.inside:
            return f"only {inside:.0%} of it lie within the picture"
        middle, half = self._expected(stamp, config)
        place = _place(reading.outline)
        jump = np.linalg.norm(place[:2] - middle) / (2 * half)
        if jump > config.jump:
            return f"it would have jumped by {jump:.1f} of its size"
        growth = np.exp(abs(place[2] - np.log(half)))
        if growth > config.growth:
            return f"it would have grown or shrunk by {growth:.1f}"
        return None

    def follow(self, reading: Reading, stamp: float, config: TrackerConfig) -> None:
        """Carry on with a reading that is this hand."""
        if self.told(config) is None:
            self._hear(reading.right)
        self._looks += 1
        place, passed = _place(reading.outline), stamp - self._stamp
        fresh = 0 < passed <= config.horizon
        self._velocity = (place - self._place) / passed if fresh else np.zeros(3)
        self._place, self._stamp = place, stamp
        self.belief = reading.belief(config.belief)

    def _hear(self, odds: float) -> None:
        """Log-odds of a right hand, from one look."""
        heard = self._evidence + float(np.clip(odds, -_LOOK, _LOOK))
        self._evidence = float(np.clip(heard, -_SURE, _SURE))

    def _expected(self, stamp: float, config: TrackerConfig) -> tuple[np.ndarray, float]:
        """Middle ``(2,)`` and half side [px] at ``stamp``, at constant velocity."""
        passed = stamp - self._stamp
        passed = passed if 0 < passed <= config.horizon else 0.0
        half = float(np.exp(self._place[2]))
        step = passed * self._velocity
        # Further than this, a wrong velocity would lose the hand sooner than none.
        step[:2] = np.clip(step[:2], -half, half)
        return self._place[:2] + step[:2], half * float(np.exp(np.clip(step[2], -0.2, 0.2)))


def _place(pixels: np.ndarray) -> np.ndarray:
    """Middle of the points' box [px] and log of half its longer side: ``(3,)``."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    half = max(0.5 * float((high - low).max()), 1.0)
    return np.append(0.5 * (low + high), np.log(half))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the smaller of the boxes around points ``(N, 2)`` that lies in the other."""
    low = np.maximum(a.min(axis=0), b.min(axis=0))
    high = np.minimum(a.max(axis=0), b.max(axis=0))
    common = np.prod(np.maximum(high - low, 0.0))
    areas = (np.prod(np.maximum(np.ptp(x, axis=0), 1.0)) for x in (a, b))
    return float(common / min(areas))
