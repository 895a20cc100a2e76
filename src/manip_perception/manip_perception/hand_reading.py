"""What the pose transformer says of one crop, in the camera's terms, and how far to believe it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from manip_core.preprocessing import Crop
from manip_model.doubt import project, signs

# Of the distance to the hand: what a single picture tells least about. It is the error that
# MediaPipe's hands have on the bundled clip (manip_perception.metric), and no better is promised.
DISTANCE_ERROR = 0.04


@dataclass(frozen=True, kw_only=True)
class BeliefConfig:
    """Where belief in a hand is as good as none; an exported model brings its own figures.

    Attributes:
        spread, disagreement, doubt: Limits of :class:`manip_model.doubt.Signs`.
    """

    spread: float
    disagreement: float
    doubt: float

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """One hand in one picture.

    Attributes:
        keypoints: ``(21, 3)`` [m], ``camera_optical_frame``.
        std: ``(21, 3)`` standard deviation of each coordinate [m].
        pixels: ``(21, 2)`` in the undistorted picture [px], from what is seen and what projects.
        outline: ``(42, 2)`` the two that those are the mean of: what is to be within the next crop.
        right: Log-odds that it is a right hand.
        spread, disagreement, doubt: Signs that it is none, see :class:`manip_model.doubt.Signs`.
        fields: All outputs of the network for this crop, by name.
    """

    keypoints: np.ndarray
    std: np.ndarray
    pixels: np.ndarray
    outline: np.ndarray
    right: float
    spread: float
    disagreement: float
    doubt: float
    fields: Mapping[str, np.ndarray]

    def belief(self, config: BeliefConfig) -> float:
        """0 to 1, one half where the most telling of the three signs is at its limit."""
        # Numpy's maximum, for Python's passes over what is not a number.
        worst = np.max([getattr(self, name) / getattr(config, name) for name in vars(config)])
        # The fourth power tells hands from the rest within a factor of two about the limit.
        return float(1 / (1 + worst**4)) if np.isfinite(worst) else 0.0


def read(found: Mapping[str, np.ndarray], row: int, crop: Crop) -> Reading:
    """The reading of one crop of a batch.

    Args:
        found: As :meth:`manip_perception.runtimes.Runtime.infer` gives it.
        row: Of the crop in the batch.
        crop: The crop.
    """
    fields = {name: values[row] for name, values in found.items()}
    one = slice(row, row + 1)
    camera = np.array([(crop.camera.fx, crop.camera.fy, crop.camera.cx, crop.camera.cy)])
    against = signs(
        *(
            found[name][one]
            for name in ("joints", "joints_log_variance", "keypoints_px", "keypoint_logits")
        ),
        camera,
    )
    keypoints = fields["joints"].astype(np.float64)
    seen, projected = fields["keypoints_px"], project(keypoints[None], camera)[0]
    relative = np.exp(0.5 * fields["joints_log_variance"].astype(np.float64))
    left, right = fields["side_logits"].astype(np.float64)
    return Reading(
        keypoints=keypoints,
        std=_std(relative, keypoints),
        pixels=crop.to_picture(0.5 * (seen + projected)),
        outline=crop.to_picture(np.concatenate((seen, projected))),
        right=float(right - left),
        **{name: float(values[0]) for name, values in vars(against).items()},
        fields=fields,
    )


def _std(relative: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Of each coordinate: the network's doubt of the shape, and what the distance is off by."""
    # A wrong distance moves a point along its line of sight, so across the view as well.
    return np.hypot(relative, DISTANCE_ERROR * np.abs(keypoints))
