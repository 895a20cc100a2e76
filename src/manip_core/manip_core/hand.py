"""One observed human hand, as plain arrays, and the palm frame that is read off it."""

from dataclasses import dataclass, field

import numpy as np

from manip_core.hand_skeleton import NUM_KEYPOINTS, Keypoint

LEFT, RIGHT = "left", "right"
SIDES = (LEFT, RIGHT)
# How a region of the hand touches something, from not at all to holding it firmly and moving it.
CONTACT_KINDS = ("none", "light", "firm", "manipulation")
# Vertices of the hand mesh, as of assets/hand/open_hand_right.npz.
NUM_VERTICES = 778


@dataclass(frozen=True, eq=False)
class SeenObject:
    """An object that is seen near or in a hand.

    Attributes:
        name: What it is.
        position: ``(3,)`` its centre in [m], ``camera_optical_frame``.
        rotation: ``(3, 3)`` proper rotation from its own axes to ``camera_optical_frame``.
        confidence: Probability that there is such an object, 0 to 1.
        size: ``(3,)`` along its own axes [m], or ``None`` where that is not known.
    """

    name: str
    position: np.ndarray
    rotation: np.ndarray
    confidence: float
    size: np.ndarray | None = None

    def problem(self) -> str | None:
        """What makes this object unusable, in words, or ``None`` where it is sound."""
        if not self.name:
            return "an object must have a name, got an empty one"
        problem = (
            _array_problem("position", self.position, (3,))
            or _array_problem("rotation", self.rotation, (3, 3))
            or _probability_problem("confidence", self.confidence)
        )
        if problem:
            return f"object {self.name}: {problem}"
        error = np.abs(self.rotation @ self.rotation.T - np.eye(3)).max()
        if error > 1e-3 or np.linalg.det(self.rotation) < 0:
            return f"object {self.name}: rotation must be proper, got {self.rotation.tolist()}"
        if self.size is not None:
            problem = _array_problem("size", self.size, (3,))
            if problem is None and (self.size <= 0).any():
                problem = f"size must be positive, got {self.size.tolist()}"
        return problem and f"object {self.name}: {problem}"


@dataclass(frozen=True, eq=False)
class SeenContact:
    """A region of a hand that touches something.

    Attributes:
        region: Name of the region.
        point: ``(3,)`` middle of the touch in [m], ``camera_optical_frame``.
        force_direction: ``(3,)`` unit vector of the force on the hand, ``camera_optical_frame``;
            zero where it is not known.
        force: Its size [N], or NaN where it is not known.
        kind: One of ``CONTACT_KINDS``.
        probability: That the region touches, 0 to 1.
    """

    region: str
    point: np.ndarray
    force_direction: np.ndarray
    force: float
    kind: str
    probability: float

    def problem(self) -> str | None:
        """What makes this contact unusable, in words, or ``None`` where it is sound."""
        problem = (
            _array_problem("point", self.point, (3,))
            or _array_problem("force_direction", self.force_direction, (3,))
            or _probability_problem("probability", self.probability)
        )
        if problem is None and self.kind not in CONTACT_KINDS:
            problem = f"kind must be one of {', '.join(CONTACT_KINDS)}, got {self.kind!r}"
        if problem is None and (self.force < 0 or np.isinf(self.force)):
            problem = f"force must be at least 0 N, or NaN, got {self.force}"
        if problem is None:
            length = float(np.linalg.norm(self.force_direction))
            if length > 0 and abs(length - 1) > 1e-3:
                problem = f"force_direction must have length 1 or 0, got {length:g}"
        return problem and f"contact {self.region}: {problem}"


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
        mano_pose: ``(48,)`` MANO articulation [rad], or ``None`` where the estimator has none.
        mano_shape: ``(10,)`` MANO shape, or ``None``.
        vertices: ``(778, 3)`` hand mesh in [m], ``camera_optical_frame``, or ``None``.
        objects: What is seen in or near this hand.
        contacts: Where this hand touches something.
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
    vertices: np.ndarray | None = None
    objects: tuple[SeenObject, ...] = ()
    contacts: tuple[SeenContact, ...] = ()

    def problem(self) -> str | None:
        """What makes this hand unusable, in words, or ``None`` where it is sound."""
        for name, shape in (
            ("keypoints", (NUM_KEYPOINTS, 3)),
            ("keypoints_std", (NUM_KEYPOINTS, 3)),
            ("keypoints_px", (NUM_KEYPOINTS, 2)),
            ("contact", (4,)),
        ):
            if problem := _array_problem(name, getattr(self, name), shape):
                return problem
        if problem := _probability_problem("confidence", self.confidence):
            return problem
        if self.side not in SIDES:
            return f"side must be one of {SIDES}, got {self.side!r}"
        if self.vertices is not None and (
            problem := _array_problem("vertices", self.vertices, (NUM_VERTICES, 3))
        ):
            return problem
        return next(filter(None, (seen.problem() for seen in self.objects + self.contacts)), None)


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


def _array_problem(name: str, value: np.ndarray, shape: tuple[int, ...]) -> str | None:
    """Why ``value`` is no finite array of ``shape``, or ``None`` where it is one."""
    if value.shape != shape:
        return f"{name} must be {shape}, got {value.shape}"
    if not np.isfinite(value).all():
        bad = np.count_nonzero(~np.isfinite(value))
        return f"{name} must be finite, got {bad} values that are not"
    return None


def _probability_problem(name: str, value: float) -> str | None:
    return None if 0.0 <= value <= 1.0 else f"{name} must be within 0 and 1, got {value}"


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of two ``(3,)``; ten times as fast as numpy's, which is made for stacks."""
    (a0, a1, a2), (b0, b1, b2) = a.tolist(), b.tolist()
    return np.array((a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0))
