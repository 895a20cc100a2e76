"""Boxes and cylinders as large as the YCB objects, which stand in for their scans."""

import colorsys
from dataclasses import dataclass

import numpy as np
import trimesh

from manip_model.config import YCB_CLASSES
from manip_training.data.contacts import ObjectSurface

BOX, CYLINDER = "box", "cylinder"
CYLINDER_SECTIONS = 48


@dataclass(frozen=True)
class Primitive:
    """A solid about its centre, its longest or upright side along z.

    Attributes:
        kind: ``"box"`` or ``"cylinder"``.
        size: Along x, y and z in [m]; a cylinder's first two are its diameter.
    """

    kind: str
    size: tuple[float, float, float]

    def mesh(self) -> trimesh.Trimesh:
        """Its surface, closed."""
        if self.kind == BOX:
            return trimesh.creation.box(self.size)
        return trimesh.creation.cylinder(
            0.5 * self.size[0], self.size[2], sections=CYLINDER_SECTIONS
        )

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance ``(…)`` [m] of points ``(…, 3)`` from its surface, negative inside."""
        half = 0.5 * np.array(self.size)
        if self.kind == BOX:
            beyond = np.abs(points) - half
        else:
            radial = np.hypot(points[..., 0], points[..., 1]) - half[0]
            beyond = np.stack((radial, np.abs(points[..., 2]) - half[2]), axis=-1)
        outside = np.linalg.norm(np.maximum(beyond, 0), axis=-1)
        return outside + np.minimum(beyond.max(axis=-1), 0)


def _box(x: float, y: float, z: float) -> Primitive:
    return Primitive(BOX, (1e-3 * x, 1e-3 * y, 1e-3 * z))


def _can(diameter: float, height: float) -> Primitive:
    return Primitive(CYLINDER, (1e-3 * diameter, 1e-3 * diameter, 1e-3 * height))


# Outer dimensions in [mm] from table I of Calli et al. 2015, "The YCB object and model set"; round
# or box-like things by their own shape, the others by a box or a rod about them or their handle.
PRIMITIVES = dict(
    zip(
        YCB_CLASSES,
        (
            _can(102, 139),
            _box(60, 158, 210),
            _box(38, 89, 175),
            _can(66, 101),
            _box(58, 95, 190),
            _can(85, 33),
            _box(35, 89, 110),
            _box(28, 73, 85),
            _box(50, 82, 97),
            _can(36, 190),
            _can(108, 235),
            _box(65, 98, 250),
            _can(159, 53),
            _can(80, 82),
            _box(35, 46, 184),
            _box(85, 85, 200),
            _box(14, 87, 200),
            _can(18, 121),
            _box(27, 90, 115),
            _box(37, 165, 213),
            _box(50, 50, 75),
        ),
        strict=True,
    )
)


def primitive_points() -> dict[int, np.ndarray]:
    """``(1024, 3)`` points [m] on each primitive's surface, by index of its class, for ADD-S."""
    return {
        index: ObjectSurface(PRIMITIVES[name].mesh()).points
        for index, name in enumerate(YCB_CLASSES)
    }


class Pattern:
    """Colours of a primitive by place: all sides and ends differ, so that no turn looks alike.

    Args:
        primitive: Whose surface.
        index: Of its class; sets the hues.
    """

    def __init__(self, primitive: Primitive, index: int):
        self._half = 0.5 * np.array(primitive.size)
        rng = np.random.default_rng(index)
        hues = (0.381966 * index + np.array((0.0, 0.06, 0.5, 0.94, 0.1, 0.55))) % 1.0
        brightness = rng.permutation(np.linspace(0.45, 0.95, 6))
        self._sides = np.array(
            [
                colorsys.hsv_to_rgb(h, rng.uniform(0.5, 0.9), v)
                for h, v in zip(hues, brightness, strict=True)
            ]
        )
        self._stripes = rng.uniform(0.0, 0.9, 3)
        self._waves = rng.uniform(2, 6, 3)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """``(N, 3)`` colours, 0 to 1, of points ``(N, 3)`` of the surface, object frame."""
        x, y, z = (points / self._half).T
        quarter = np.floor(2 * np.arctan2(y, x) / np.pi + 0.5).astype(int) % 4
        side = np.where(z > 0.999, 4, np.where(z < -0.999, 5, quarter))
        colours = self._sides[side]
        for k, start in enumerate(self._stripes):
            stripe = np.abs(0.5 * (z + 1) - start) < 0.02 + 0.015 * k
            colours = np.where(stripe[:, None] & (side < 4)[:, None], (0.95, 0.93, 0.85), colours)
        wave = (
            np.sin(self._waves[0] * x + 1)
            * np.sin(self._waves[1] * y)
            * np.sin(self._waves[2] * z + 2)
        )
        return colours * np.where(wave > 0.35, 0.55, 1.0)[:, None]
