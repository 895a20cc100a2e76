"""From 21 image points with relative depths to 21 metric keypoints before the camera.

The landmark network sees a crop and knows neither the camera nor the size of the hand. Its image
points and relative depths give the hand's shape up to scale; the user's hand length sets the scale;
the turn and place of that shape are those that put its projection onto the image points (a
perspective-n-point fit, which also corrects the weak perspective that the network assumes). Image
points are worth more than depths, so each keypoint is last moved onto its own line of sight.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand_skeleton import FINGER_CHAINS, Keypoint

# Wrist to middle fingertip: the bones whose summed length is the hand length.
LENGTH_CHAIN = np.array((Keypoint.WRIST, *FINGER_CHAINS[2]))


@dataclass(frozen=True, kw_only=True)
class MetricConfig:
    """How a hand is placed in space.

    Attributes:
        hand_length: Wrist to middle fingertip along the bones [m]. Mean of adult men and women:
            0.193 and 0.181 (ANSUR II, hand length, 2012).
        scale_rate: Share of a new frame in the running mean of the measured chain length.
        iterations: Gauss-Newton steps of the fit.
    """

    hand_length: float = 0.187
    scale_rate: float = 0.02
    iterations: int = 4

    def __post_init__(self):
        if not 0.05 <= self.hand_length <= 0.4:
            raise ValueError(f"hand_length must be within 0.05 and 0.4 m, got {self.hand_length}")
        if not 0.0 < self.scale_rate <= 1.0:
            raise ValueError(f"scale_rate must be within 0 and 1, got {self.scale_rate}")


class MetricHand:
    """Places one user's hand in ``camera_optical_frame``, frame after frame."""

    def __init__(self, config: MetricConfig | None = None):
        self.config = config or MetricConfig()
        self._depth_ratio: float | None = None

    def place(
        self, pixels: np.ndarray, depths: np.ndarray, camera: CameraIntrinsics
    ) -> tuple[np.ndarray, np.ndarray]:
        """Metric keypoints of one frame.

        Args:
            pixels: ``(21, 2)`` image points [px].
            depths: ``(21,)`` relative depths in pixels, larger is farther, of any origin.
            camera: Intrinsics.

        Returns:
            keypoints ``(21, 3)`` [m] in ``camera_optical_frame``, and their standard deviations
            ``(21, 3)`` [m].
        """
        shape = np.column_stack((pixels, depths))
        shape = shape - shape[Keypoint.MIDDLE_MCP]
        length = np.linalg.norm(np.diff(shape[LENGTH_CHAIN], axis=0), axis=1).sum()
        shape *= self.config.hand_length / length
        slopes = camera.rays(pixels)
        rotation, translation = fit_pose(shape, slopes, self.config.iterations)
        z = np.maximum((shape @ rotation.T + translation)[:, 2], 0.02)
        keypoints = np.column_stack((slopes * z[:, None], z))
        return keypoints, np.full((21, 3), 0.005) * (1, 1, 4)


def fit_translation(shape: np.ndarray, slopes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Translation ``(3,)`` that puts ``shape`` ``(n, 3)`` on lines of sight ``slopes`` ``(n, 2)``.

    Closed-form weighted least squares of ``x + tx = u (z + tz)``, ``y + ty = v (z + tz)``.
    """
    w = weights[:, None]
    excess = slopes * shape[:, 2:] - shape[:, :2]
    total = w.sum()
    mean_slope = (w * slopes).sum(0) / total
    mean_excess = (w * excess).sum(0) / total
    s, e = slopes - mean_slope, excess - mean_excess
    tz = -(w * s * e).sum() / (w * s * s).sum()
    return np.append(mean_excess + mean_slope * tz, tz)


def fit_pose(
    shape: np.ndarray, slopes: np.ndarray, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation ``(3, 3)`` and translation ``(3,)`` that project ``shape`` ``(n, 3)`` onto ``slopes``.

    Gauss-Newton on the reprojection error, from the closed-form translation.
    """
    rotation = np.eye(3)
    translation = fit_translation(shape, slopes, np.ones(len(shape)))
    for _ in range(iterations):
        turned = shape @ rotation.T
        points = turned + translation
        z = np.maximum(points[:, 2], 0.02)
        seen = points[:, :2] / z[:, None]
        residual = (slopes - seen).ravel()
        # d(seen)/d(point), then d(point)/d(turn, translation).
        by_point = np.zeros((len(shape), 2, 3))
        by_point[:, 0, 0] = by_point[:, 1, 1] = 1 / z
        by_point[:, :, 2] = -seen / z[:, None]
        by_turn = by_point @ -_cross_matrices(turned)
        jacobian = np.concatenate((by_turn, by_point), axis=2).reshape(-1, 6)
        step = np.linalg.solve(
            jacobian.T @ jacobian + 1e-9 * np.eye(6), jacobian.T @ residual
        )
        rotation = _rotation(step[:3]) @ rotation
        translation = translation + step[3:]
    return rotation, translation


def _cross_matrices(v: np.ndarray) -> np.ndarray:
    """``(n, 3, 3)`` matrices of ``v x``."""
    m = np.zeros((len(v), 3, 3))
    m[:, 0, 1], m[:, 0, 2], m[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    return m - m.transpose(0, 2, 1)


def _rotation(turn: np.ndarray) -> np.ndarray:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = np.linalg.norm(turn)
    k = _cross_matrices(turn[None] / max(angle, 1e-12))[0]
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
