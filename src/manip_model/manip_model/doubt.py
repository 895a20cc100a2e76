"""Signs that there is no hand in a crop: a network that has only ever seen hands answers anyway.

Where each keypoint lies in the picture then spreads over the crop, the joints in space do not fall
on those places, and the network's own doubt about the joints is large. Without torch.
"""

from dataclasses import dataclass

import numpy as np

# Of the pictures of hands that a model is checked on, so many show less of a sign than its limit,
# once that is this much larger: real pictures are not rendered ones.
_SHARE, _MARGIN = 0.95, 1.3


@dataclass(frozen=True, kw_only=True, eq=False)
class Signs:
    """Of B crops.

    Attributes:
        spread: ``(B,)`` standard deviation of where a keypoint is, of the crop's side.
        disagreement: ``(B,)`` distance of projected joints from the keypoints seen, of the hand's
            extent.
        doubt: ``(B,)`` standard deviation of the joints as the network has it [m].
    """

    spread: np.ndarray
    disagreement: np.ndarray
    doubt: np.ndarray

    def limits(self) -> dict[str, float]:
        """What lies beyond is no hand, judging by these crops of hands."""
        return {
            name: float(_MARGIN * np.quantile(values, _SHARE))
            for name, values in vars(self).items()
        }


def project(joints: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Pixels ``(B, 21, 2)`` of joints ``(B, 21, 3)`` [m]; depths below 1 cm count as 1 cm.

    Args:
        joints: In the camera's frame.
        camera: ``(B, 4)`` fx, fy, cx, cy [px].
    """
    depth = np.maximum(joints[..., 2:], 0.01)
    return joints[..., :2] / depth * camera[:, None, :2] + camera[:, None, 2:]


def signs(
    joints: np.ndarray,
    log_variance: np.ndarray,
    pixels: np.ndarray,
    logits: np.ndarray,
    camera: np.ndarray,
) -> Signs:
    """Signs of no hand in what a network says of B crops.

    Args:
        joints, log_variance, pixels, logits: Fields ``joints``, ``joints_log_variance``,
            ``keypoints_px`` and ``keypoint_logits`` of :class:`manip_model.outputs.ModelOutput`.
        camera: ``(B, 4)`` fx, fy, cx, cy [px].
    """
    joints, pixels, logits = (x.astype(np.float64) for x in (joints, pixels, logits))
    extent = np.maximum(np.ptp(pixels, axis=1).max(axis=-1), 1.0)
    off = np.linalg.norm(project(joints, camera.astype(np.float64)) - pixels, axis=-1)
    return Signs(
        spread=_spread(logits),
        disagreement=off.mean(axis=1) / extent,
        doubt=np.exp(0.5 * log_variance.astype(np.float64)).mean(axis=(1, 2)),
    )


def _spread(logits: np.ndarray) -> np.ndarray:
    """``(B,)`` mean standard deviation of distributions ``(B, 21, G*G)`` over patches."""
    grid = round(logits.shape[-1] ** 0.5)
    heat = np.exp(logits - logits.max(axis=-1, keepdims=True))
    heat = (heat / heat.sum(axis=-1, keepdims=True)).reshape(*logits.shape[:2], grid, grid)
    place = np.arange(grid) / grid
    lines = [heat.sum(axis=axis) for axis in (-2, -1)]
    variance = sum(line @ place**2 - (line @ place) ** 2 for line in lines)
    return np.sqrt(np.maximum(variance, 0.0)).mean(axis=-1)
