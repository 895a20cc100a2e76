"""From a landmark network's two views of a hand to 21 metric keypoints before the camera.

MediaPipe gives each keypoint twice: as an image point with a relative depth, and as a "world" point
in metres, hand-centred, of a hand of average size. Both are seen along the line of sight of a crop,
without the camera and without the user's true size. Here

1. both shapes, brought to one scale and turn, are averaged: their errors differ, the mean is better
   than either;
2. the user's hand length and running means of the bone lengths set the scale: the median over the
   bones of palm and finger roots, so that a few bones seen foreshortened do not move the hand;
3. the translation that puts the shape onto the image points follows in closed form;
4. each keypoint is moved onto its own line of sight, for image points are worth more than depths;
5. the hand is turned about its wrist towards what its palm's foreshortening says.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand_skeleton import BONES, FINGER_CHAINS, NUM_KEYPOINTS, Keypoint
from manip_core.metrics import align_similarity
from manip_perception.palm_turn import PalmTurn

# Wrist to middle fingertip: the bones whose summed length is the hand length.
LENGTH_CHAIN = np.array((Keypoint.WRIST, *FINGER_CHAINS[2]))

# (12, 2): bones that set the scale. Wrist to knuckles, knuckle to knuckle, and first phalanges.
_KNUCKLES = FINGER_CHAINS[1:, 0]
SCALE_BONES = np.array(
    [bone for bone in BONES.tolist() if bone[0] == Keypoint.WRIST and bone[1] in _KNUCKLES]
    + [*pairwise(_KNUCKLES), (_KNUCKLES[0], _KNUCKLES[-1])]
    + [bone for bone in BONES.tolist() if bone[0] in _KNUCKLES[:3]]
)

MIN_DEPTH = 0.03


@dataclass(frozen=True, kw_only=True)
class MetricConfig:
    """How a hand is placed in space.

    The errors are those measured on the bundled clip against its truth.

    Attributes:
        hand_length: Wrist to middle fingertip along the bones [m]. Mean of adult men and women:
            0.193 and 0.181 (ANSUR II survey, hand length, 2012).
        lateral_error: Standard deviation of an image point, as a fraction of the hand length.
        distance_error: Standard deviation of the hand's distance, as a fraction of it.
        shape_error: Standard deviation of a keypoint's depth in the hand, as a fraction of the
            hand length, at a fingertip; a third of it at the wrist.
    """

    hand_length: float = 0.187
    lateral_error: float = 0.02
    distance_error: float = 0.04
    shape_error: float = 0.1

    def __post_init__(self):
        if not 0.05 <= self.hand_length <= 0.4:
            raise ValueError(f"hand_length must be within 0.05 and 0.4 m, got {self.hand_length}")
        for name in ("lateral_error", "distance_error", "shape_error"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be within 0 and 1, got {getattr(self, name)}")


class MetricHand:
    """Places one user's hand in ``camera_optical_frame``, and learns its proportions on the way."""

    # Frames that the running mean of the proportions remembers: hands do not change, but the
    # network's view of them does with the pose.
    MEMORY = 200

    def __init__(self, config: MetricConfig | None = None):
        self.config = config or MetricConfig()
        self._frames = 0
        self._proportions = np.zeros(len(SCALE_BONES))
        self._turn = PalmTurn()

    def place(
        self, pixels: np.ndarray, depths: np.ndarray, world: np.ndarray, camera: CameraIntrinsics
    ) -> tuple[np.ndarray, np.ndarray]:
        """Metric keypoints of one frame.

        Args:
            pixels: ``(21, 2)`` image points [px].
            depths: ``(21,)`` relative depths in pixels, larger is farther, of any origin.
            world: ``(21, 3)`` hand-centred shape of any scale, axes as the camera's.
            camera: Intrinsics.

        Returns:
            keypoints ``(21, 3)`` [m] in ``camera_optical_frame``, and the standard deviation of
            each coordinate ``(21, 3)`` [m].
        """
        seen = np.column_stack((pixels, depths))
        shape = 0.5 * (seen + align_similarity(world, seen))
        shape = (shape - shape.mean(0)) * self._scale(shape, world)
        slopes = camera.rays(pixels)
        translation = fit_translation(shape, slopes)
        z = np.maximum(shape[:, 2] + translation[2], MIN_DEPTH)
        keypoints = self._turn.correct(np.column_stack((slopes * z[:, None], z)), slopes)
        return keypoints, self._deviations(slopes, keypoints[:, 2])

    def _scale(self, shape: np.ndarray, world: np.ndarray) -> float:
        """Metres per unit of ``shape``."""
        chain = np.linalg.norm(np.diff(world[LENGTH_CHAIN], axis=0), axis=1).sum()
        self._frames += 1
        share = max(1 / self._frames, 1 / self.MEMORY)
        self._proportions += share * (_lengths(world) / chain - self._proportions)
        return float(np.median(self._proportions / _lengths(shape))) * self.config.hand_length

    def _deviations(self, slopes: np.ndarray, z: np.ndarray) -> np.ndarray:
        c = self.config
        depth = np.hypot(c.distance_error * z, c.shape_error * c.hand_length * _REACH)
        lateral = c.lateral_error * c.hand_length
        # A wrong depth moves the point along its line of sight, so across it as well.
        return np.column_stack((np.hypot(lateral, slopes * depth[:, None]), depth))


# (21,): how much of the depth error within the hand each keypoint bears: grows towards the tips.
_REACH = np.full(NUM_KEYPOINTS, 1 / 3)
_REACH[FINGER_CHAINS] = np.linspace(1 / 3, 1, 4)


def _lengths(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points[SCALE_BONES[:, 0]] - points[SCALE_BONES[:, 1]], axis=1)


def fit_translation(
    shape: np.ndarray, slopes: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Translation ``(3,)`` [m] that puts ``shape`` on lines of sight.

    Closed-form weighted least squares of ``x + tx = u (z + tz)``, ``y + ty = v (z + tz)``.

    Args:
        shape: ``(n, 3)`` in [m], axes as the camera's, any origin.
        slopes: ``(n, 2)`` x/z and y/z of the lines of sight.
        weights: ``(n,)``, equal where not given.
    """
    w = np.ones((len(shape), 1)) if weights is None else weights[:, None]
    excess = slopes * shape[:, 2:] - shape[:, :2]
    mean_slope = (w * slopes).sum(0) / w.sum()
    mean_excess = (w * excess).sum(0) / w.sum()
    s, e = slopes - mean_slope, excess - mean_excess
    tz = -(w * s * e).sum() / max((w * s * s).sum(), 1e-12)
    return np.append(mean_excess + mean_slope * tz, tz)
