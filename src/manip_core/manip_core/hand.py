"""One observed human hand, as plain arrays, and the palm frame that is read off it."""

from dataclasses import dataclass, field

import numpy as np

from manip_core.hand_skeleton import NUM_KEYPOINTS, Keypoint

LEFT, RIGHT = "left", "right"
SIDES = (LEFT, RIGHT)


@dataclass(kw_only=True)
class Hand:
    """A hand in one image; the pure twin of ``manip_msgs/HandObservation``.

    Attributes:
        stamp: Exposure of the image [s].
        side: ``"left"`` or ``"right"``.
        keypoints: ``(21, 3)`` in [m], ``camera_optical_frame``.
        keypoints_std: ``(21, 3)`` standard deviation of each coordinate, in [m].
        keypoints_px: ``(21, 2)`` in [px], u right and v down.
        contact: ``(4,)`` probability that index, middle, ring and little finger touch the thumb.
        confidence: Probability that this is a hand of the stated side, 0 to 1.
        tracked: False where no hand was found; the arrays then mean nothing.
        bridged: True where a filter carried the last hand on.
    """

    stamp: float
    side: str = RIGHT
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((NUM_KEYPOINTS, 3)))
    keypoints_std: np.ndarray = field(default_factory=lambda: np.zeros((NUM_KEYPOINTS, 3)))
    keypoints_px: np.ndarray = field(default_factory=lambda: np.zeros((NUM_KEYPOINTS, 2)))
    contact: np.ndarray = field(default_factory=lambda: np.zeros(4))
    confidence: float = 0.0
    tracked: bool = False
    bridged: bool = False
    mano_pose: np.ndarray | None = None
    mano_shape: np.ndarray | None = None

    def problem(self) -> str | None:
        """What makes this hand unusable, in words, or ``None`` where it is sound."""
        for name, shape in (
            ("keypoints", (NUM_KEYPOINTS, 3)),
            ("keypoints_std", (NUM_KEYPOINTS, 3)),
            ("keypoints_px", (NUM_KEYPOINTS, 2)),
            ("contact", (4,)),
        ):
            value = getattr(self, name)
            if value.shape != shape:
                return f"{name} must be {shape}, got {value.shape}"
            if not np.isfinite(value).all():
                bad = np.count_nonzero(~np.isfinite(value))
                return f"{name} must be finite, got {bad} values that are not"
        if not 0.0 <= self.confidence <= 1.0:
            return f"confidence must be within 0 and 1, got {self.confidence}"
        if self.side not in SIDES:
            return f"side must be one of {SIDES}, got {self.side!r}"
        return None


def palm_rotation(keypoints: np.ndarray, side: str = RIGHT) -> np.ndarray:
    """Orientation of the palm frame in the keypoints' own frame.

    z runs from the wrist to the middle knuckle, x out of the palm (the side the fingers close
    to), y completes the right-handed frame: towards the index finger on a right hand, away from it
    on a left one. This is the convention of ``allegro_palm`` in the robot model.

    Args:
        keypoints: ``(21, 3)``, any unit.
        side: ``"left"`` or ``"right"``.

    Returns:
        ``(3, 3)`` proper rotation, columns x, y, z.

    Raises:
        ValueError: The wrist and the knuckles lie on one line, so no palm plane exists.
    """
    wrist = keypoints[Keypoint.WRIST]
    z = keypoints[Keypoint.MIDDLE_MCP] - wrist
    across = keypoints[Keypoint.INDEX_MCP] - keypoints[Keypoint.RING_MCP]
    if side == LEFT:
        across = -across
    x = _cross(across, z)
    z_norm, x_norm = np.sqrt(z @ z), np.sqrt(x @ x)
    if not x_norm > 1e-6 * max(z_norm, 1e-12) ** 2:
        raise ValueError("wrist and knuckles lie on one line: the palm has no orientation")
    x = x / x_norm
    z = z / z_norm
    return np.column_stack((x, _cross(z, x), z))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of two ``(3,)``; ten times as fast as numpy's, which is made for stacks."""
    (a0, a1, a2), (b0, b1, b2) = a.tolist(), b.tolist()
    return np.array((a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0))
