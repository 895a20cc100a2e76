"""The objects of the grasp benchmark: YCB objects as primitives of their published figures.

Sizes and masses are those of Calli et al. 2015, "Benchmarking in Manipulation Research: The YCB
Object and Model Set and Benchmarking Protocols" (IEEE Robotics & Automation Magazine 22:3), its
table of objects. Each lies as its scan does, with z up: the thin side of flat things, the axis of
cans. Handles (mug, pitcher, drill) and necks are not in those figures, and so are not here.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from manip_core.primitive import BOX, CAPSULE, CUP, CYLINDER, Primitive

# As of the suite's own objects (manip_core.scene).
_FRICTION = (1.0, 0.01, 0.0005)


@dataclass(frozen=True)
class Shape:
    """A primitive: ``kind``, full ``size`` along its own axes [m], ``mass`` [kg]."""

    kind: str
    size: tuple[float, float, float]
    mass: float

    @property
    def half(self) -> np.ndarray:
        """Half sizes ``(3,)`` [m]."""
        return np.array(self.size) / 2

    @property
    def primitive(self) -> Primitive:
        """What is known of it where grasps are planned."""
        return Primitive(self.kind, self.size)

    @property
    def turns(self) -> bool:
        """True where it looks the same when turned about z."""
        return self.kind in (CYLINDER, CUP)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Distance ``(…)`` [m] of points ``(…, 3)`` from the surface, negative inside; what is
        hollow counts as full."""
        half = self.half
        if self.kind == CAPSULE:
            along = np.clip(points[..., 0], -half[0] + half[2], half[0] - half[2])
            off = points - along[..., None] * np.array([1.0, 0.0, 0.0])
            return np.linalg.norm(off, axis=-1) - half[2]
        if self.kind == BOX:
            outside = np.abs(points) - half
        else:
            round_ = np.hypot(points[..., 0], points[..., 1]) - half[0]
            outside = np.stack((round_, np.abs(points[..., 2]) - half[2]), axis=-1)
        far = np.linalg.norm(np.maximum(outside, 0.0), axis=-1)
        return far + np.minimum(outside.max(axis=-1), 0.0)

    def height(self, rotation: np.ndarray) -> float:
        """How far it reaches below its centre [m], turned by ``rotation`` ``(3, 3)``."""
        down, half = np.abs(rotation[2]), self.half
        if self.kind == BOX:
            return float(down @ half)
        if self.kind == CAPSULE:
            return float(down[0] * (half[0] - half[2]) + half[2])
        return float(down[2] * half[2] + np.hypot(down[0], down[1]) * half[0])

    def add_to(self, spec: mujoco.MjSpec, name: str) -> None:
        """A free body of this shape."""
        look = {"condim": 4, "friction": _FRICTION, "rgba": [0.85, 0.45, 0.2, 1.0]}
        self.primitive.add_to(spec, name, mass=self.mass, **look)


OBJECTS = {
    "002_master_chef_can": Shape(CYLINDER, (0.102, 0.102, 0.139), 0.414),
    "003_cracker_box": Shape(BOX, (0.060, 0.158, 0.210), 0.411),
    "004_sugar_box": Shape(BOX, (0.038, 0.089, 0.175), 0.514),
    "005_tomato_soup_can": Shape(CYLINDER, (0.066, 0.066, 0.101), 0.349),
    "006_mustard_bottle": Shape(BOX, (0.085, 0.050, 0.175), 0.603),
    "007_tuna_fish_can": Shape(CYLINDER, (0.085, 0.085, 0.033), 0.171),
    "008_pudding_box": Shape(BOX, (0.110, 0.089, 0.035), 0.187),
    "009_gelatin_box": Shape(BOX, (0.085, 0.073, 0.028), 0.097),
    "010_potted_meat_can": Shape(BOX, (0.097, 0.050, 0.082), 0.370),
    "011_banana": Shape(CAPSULE, (0.190, 0.036, 0.036), 0.066),
    "019_pitcher_base": Shape(CUP, (0.108, 0.108, 0.235), 0.178),
    "021_bleach_cleanser": Shape(BOX, (0.098, 0.065, 0.250), 1.131),
    "024_bowl": Shape(CUP, (0.159, 0.159, 0.053), 0.147),
    "025_mug": Shape(CUP, (0.080, 0.080, 0.082), 0.118),
    "035_power_drill": Shape(BOX, (0.184, 0.046, 0.035), 0.895),
    "036_wood_block": Shape(BOX, (0.085, 0.085, 0.200), 0.729),
    "037_scissors": Shape(BOX, (0.200, 0.087, 0.014), 0.082),
    "040_large_marker": Shape(CAPSULE, (0.121, 0.018, 0.018), 0.0158),
    "051_large_clamp": Shape(BOX, (0.115, 0.090, 0.027), 0.125),
    "052_extra_large_clamp": Shape(BOX, (0.213, 0.165, 0.037), 0.202),
    "061_foam_brick": Shape(BOX, (0.075, 0.050, 0.050), 0.028),
}
