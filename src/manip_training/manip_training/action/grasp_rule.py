"""Which of ten grasps a closed hand makes, and how firmly it holds: by a rule.

What is asked, in this order (Feix et al. 2016 tell grasps apart by the same: opposition, the number
of fingers, power against precision, and the object's shape). Gaps are those between flesh and
surface of :func:`manip_model.action_features.gaps`; sides of the object are a, b, c from the
shortest on.

1. **Lateral**: the thumb is adducted to a curled index finger, whose last phalanx is turned by 80
   degrees or more against its first; from the thumb's pad to its middle phalanx is across the palm
   (within 60 degrees of its y axis) and no more than 80 mm; no other finger lies on the object.
2. **Power**: palm and two fingers or more lie on the object. It is a power disk where the object is
   flat (a < 0.5 b, b > 0.65 c) and thumb and fingers hold it by its rim (their axis leans less than
   45 degrees out of the plane); a power sphere where it is as long as thick (c < 1.7 a); else of
   large or small diameter, by the mean of a and b (geometric) of 52 mm.
3. **Precision** otherwise, by the fingers on it beside the thumb. One is a palmar pinch, two are a
   tripod; three or four a precision disk, a precision sphere, or else a prismatic four-finger
   grasp, by the object's shape as in 2.

The thresholds lie between the sizes of the YCB objects, away from any of them.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.grasp_types import GraspType
from manip_model.action_features import beside_index, gaps, grip_axis
from manip_model.grasp_rule import (
    ACROSS,
    COMPACT,
    CURLED,
    FLAT,
    IN_PLANE,
    LARGE,
    NEAR,
    PALM_NEAR,
    ROUND,
    SIDE,
)
from manip_training.data.primitives import BOX, Primitive

# Mean density [kg/m3]: the median of the masses over the volumes of the primitives (masses of table
# I of Calli et al. 2015, "The YCB object and model set").
DENSITY = 500.0
# Friction of skin on paper and plastic, and by how much people hold more firmly than slipping asks
# for: both of the middle of what is measured (Johansson and Westling 1984, "Roles of glabrous skin
# receptors and sensorimotor memory in automatic control of precision grip": ratios of grip to load,
# safety margins of 20 to 50 %).
FRICTION, SAFETY, GRAVITY = 0.5, 1.4, 9.81
_STRONGEST = 20.0  # [N]


@dataclass(frozen=True)
class Shape:
    """An object as the rule sees it.

    Attributes:
        size: ``(3,)`` [m] along its axes.
        box: A box; else a cylinder about z.
    """

    size: np.ndarray
    box: bool

    @classmethod
    def of(cls, primitive: Primitive) -> "Shape":
        """Of a primitive."""
        return cls(np.array(primitive.size), primitive.kind == BOX)

    def scaled(self, scale: float) -> "Shape":
        """So many times as large."""
        return Shape(scale * self.size, self.box)

    @property
    def mass(self) -> float:
        """[kg], by volume and ``DENSITY``."""
        return DENSITY * float(np.prod(self.size)) * (1.0 if self.box else 0.25 * np.pi)


def holding_force(shape: Shape) -> float:
    """Force [N] with which thumb and fingers press against each other to hold an object.

    Two contacts bear the weight by friction: ``m g = 2 mu F``, times the margin; no more than a
    hand likes to hold for long.
    """
    return min(SAFETY * shape.mass * GRAVITY / (2 * FRICTION), _STRONGEST)


def grasp_types(
    joints: np.ndarray, rotation: np.ndarray, position: np.ndarray, shape: Shape
) -> np.ndarray:
    """``(N,)`` rows of :class:`~manip_core.grasp_types.GraspType` that closed hands make.

    Args:
        joints: ``(N, 21, 3)`` [m].
        rotation, position: ``(N, 3, 3)`` and ``(N, 3)`` [m] of the object in the same frame.
        shape: Of the object.
    """
    away = gaps(joints, rotation, position, shape.size, shape.box)
    fingers = away[:, 1:5] < NEAR
    count = fingers.sum(1)
    apart, across, along = np.moveaxis(beside_index(joints), -1, 0)
    lateral = (across > ACROSS) & (apart < SIDE) & ~fingers[:, 1:].any(1) & (along < CURLED)
    power = (away[:, 5] < PALM_NEAR) & (count >= 2)

    a, b, c = np.sort(shape.size)
    flat, compact = a < FLAT * b and b > ROUND * c, c < COMPACT * a
    thin = rotation[:, :, int(np.argmin(shape.size))]
    rim = np.abs((grip_axis(joints, away) * thin).sum(-1)) < IN_PLANE
    disk = flat & rim
    large = np.sqrt(a * b) > LARGE
    in_palm = np.where(
        disk,
        GraspType.POWER_DISK,
        GraspType.POWER_SPHERE
        if compact
        else (GraspType.LARGE_DIAMETER if large else GraspType.SMALL_DIAMETER),
    )
    by_tips = np.where(
        disk,
        GraspType.PRECISION_DISK,
        GraspType.PRECISION_SPHERE if compact else GraspType.PRISMATIC_4_FINGER,
    )
    by_tips = np.where(count == 2, GraspType.TRIPOD, by_tips)
    by_tips = np.where(count < 2, GraspType.PALMAR_PINCH, by_tips)
    return np.where(lateral, GraspType.LATERAL, np.where(power, in_palm, by_tips))
