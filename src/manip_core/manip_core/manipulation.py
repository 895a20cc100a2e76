"""What a hand is about to do, as plain arrays: the pure twin of ``ManipulationCommand``."""

from dataclasses import dataclass, field

import numpy as np

from manip_core.grasp_types import GRASP_NAMES, NUM_GRASP_TYPES
from manip_core.hand import RIGHT

# Steps ahead, and the time between two [s]: half a second, which covers the latency from exposure
# to the robot's command (0.1 s at the 99th percentile) and the closing of a hand (0.3 to 0.5 s).
NUM_STEPS, STEP = 10, 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class Manipulation:
    """Step k lies ``(k + 1) * step`` after the stamp; frame ``camera_optical_frame``.

    Attributes:
        stamp: Exposure of the newest image behind it [s].
        side: ``"left"`` or ``"right"``.
        step: Time between two steps [s].
        position: ``(10, 3)`` of the wrist [m].
        rotation: ``(10, 3, 3)`` of the palm, as :func:`manip_core.hand.palm_rotation` has it.
        aperture: ``(10,)`` widest gap between the thumb's tip and the other fingers' [m].
        force: ``(10,)`` with which the object would be held [N]; 0 for none.
        grasping: ``(10,)`` probability that the hand holds something.
        approach: ``(3,)`` unit, direction in which the palm comes to the object; zeros for none.
        grasp_types: ``(10,)`` probability of each of ``GRASP_NAMES``.
        confidence: Probability that all this is right; 0 while no hand is seen.
    """

    stamp: float
    side: str = RIGHT
    step: float = STEP
    position: np.ndarray = field(default_factory=lambda: np.zeros((NUM_STEPS, 3)))
    rotation: np.ndarray = field(default_factory=lambda: np.tile(np.eye(3), (NUM_STEPS, 1, 1)))
    aperture: np.ndarray = field(default_factory=lambda: np.zeros(NUM_STEPS))
    force: np.ndarray = field(default_factory=lambda: np.zeros(NUM_STEPS))
    grasping: np.ndarray = field(default_factory=lambda: np.zeros(NUM_STEPS))
    approach: np.ndarray = field(default_factory=lambda: np.zeros(3))
    grasp_types: np.ndarray = field(
        default_factory=lambda: np.full(NUM_GRASP_TYPES, 1 / NUM_GRASP_TYPES)
    )
    confidence: float = 0.0

    def problem(self) -> str | None:
        """What makes this unusable, in words, or ``None`` where it is sound."""
        for name, shape in (
            *(("position", (NUM_STEPS, 3)), ("rotation", (NUM_STEPS, 3, 3)), ("approach", (3,))),
            *((name, (NUM_STEPS,)) for name in ("aperture", "force", "grasping")),
            ("grasp_types", (NUM_GRASP_TYPES,)),
        ):
            value = getattr(self, name)
            if value.shape != shape:
                return f"{name} must be {shape}, got {value.shape}"
            if not np.isfinite(value).all():
                bad = np.count_nonzero(~np.isfinite(value))
                return f"{name} must be finite, got {bad} values that are not"
        for name in ("aperture", "force"):
            if (getattr(self, name) < 0).any():
                return f"{name} must be at least 0, got {getattr(self, name).min()}"
        for name in ("grasping", "grasp_types", "confidence"):
            value = np.asarray(getattr(self, name))
            if not ((value >= 0) & (value <= 1 + 1e-6)).all():
                return f"{name} must be within 0 and 1, got {value}"
        return None if self.step > 0 else f"step must be positive, got {self.step}"

    @property
    def grasp_type(self) -> str:
        """Name of the likeliest grasp."""
        return GRASP_NAMES[int(np.argmax(self.grasp_types))]
