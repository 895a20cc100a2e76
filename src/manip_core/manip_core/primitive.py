"""Objects as primitives: a kind and a size, what grasps are planned about."""

from dataclasses import dataclass

import mujoco
import numpy as np

KINDS = BOX, CYLINDER, CAPSULE, CUP = ("box", "cylinder", "capsule", "cup")
# Of cups: thickness of wall and bottom [m]; boxes of which the wall is made.
WALL, _STAVES = 0.004, 16
_THINNEST = 3 * WALL
# Sides of what is taken for an object [m].
LEAST, MOST = 0.001, 10.0
_GEOM = mujoco.mjtGeom
_STRAIGHT = (1.0, 0.0, 0.0, 0.0)
_ALONG = {0: (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0), 1: (np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0)}


@dataclass(frozen=True)
class Primitive:
    """A shape about its own centre.

    Attributes:
        kind: One of KINDS. Cylinders and cups have their axis along z, and cups are open towards
            +z, with a wall of WALL; a capsule lies along its longest side.
        size: Whole size along its own axes [m].

    Raises:
        ValueError: No such kind, or a size that is none: sides are from LEAST to MOST, and a cup
            has room within its wall.
    """

    kind: str
    size: tuple[float, float, float]

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        size = np.asarray(self.size, float)
        if size.shape != (3,) or not ((size >= LEAST) & (size <= MOST)).all():
            raise ValueError(
                f"size must be three numbers from {LEAST} to {MOST} [m], got {self.size}"
            )
        if self.kind == CUP and not (min(size[:2]) > _THINNEST and size[2] > WALL):
            raise ValueError(
                f"a cup must be wider than {_THINNEST} and taller than {WALL} [m], got {self.size}"
            )
        object.__setattr__(self, "size", tuple(size.tolist()))

    @property
    def half(self) -> np.ndarray:
        """Half sizes ``(3,)`` [m]."""
        return np.array(self.size) / 2

    def geoms(self) -> list[tuple]:
        """What it is made of: kind, MuJoCo's size, place [m], orientation (w first), volume."""
        half, here = self.half, np.zeros(3)
        if self.kind == BOX:
            return [(_GEOM.mjGEOM_BOX, half, here, _STRAIGHT, float(np.prod(half)))]
        if self.kind == CYLINDER:
            size = [half[0], half[2], 1.0]
            return [(_GEOM.mjGEOM_CYLINDER, size, here, _STRAIGHT, 1.0)]
        if self.kind == CAPSULE:
            along = int(half.argmax())
            size = [half.min(), max(half[along] - half.min(), 1e-4), 1.0]
            return [(_GEOM.mjGEOM_CAPSULE, size, here, _ALONG.get(along, _STRAIGHT), 1.0)]
        radius = half[0] - WALL / 2
        stave = np.array([WALL / 2, half[0] * np.tan(np.pi / _STAVES), half[2]])
        parts = []
        for turn in np.arange(_STAVES) * 2 * np.pi / _STAVES:
            place = np.array([radius * np.cos(turn), radius * np.sin(turn), 0.0])
            quat = (np.cos(turn / 2), 0.0, 0.0, np.sin(turn / 2))
            parts.append((_GEOM.mjGEOM_BOX, stave, place, quat, float(np.prod(stave))))
        # The bottom as a square within the wall: it bears on the table, and is not gripped.
        side = (half[0] - WALL) / np.sqrt(2)
        bottom = np.array([side, side, WALL / 2])
        low = np.array([0.0, 0.0, WALL / 2 - half[2]])
        return [*parts, (_GEOM.mjGEOM_BOX, bottom, low, _STRAIGHT, float(np.prod(bottom)))]

    def add_to(self, spec: mujoco.MjSpec, name: str, **same) -> None:
        """A free body of this shape.

        Args:
            spec: Where it is added.
            name: Of the body and its joint.
            **same: Of every geom; ``mass`` [kg] is shared out by volume.
        """
        body = spec.worldbody.add_body(name=name)
        body.add_freejoint(name=name)
        geoms = self.geoms()
        mass = same.pop("mass", 0.1) / sum(volume for *_, volume in geoms)
        for kind, size, place, quat, volume in geoms:
            body.add_geom(type=kind, size=size, pos=place, quat=quat, mass=mass * volume, **same)


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownObject:
    """An object of the robot's scene.

    Attributes:
        name: What it is.
        primitive: Its shape.
        place, turn: Its centre ``(3,)`` [m] and rotation ``(3, 3)`` in ``world``.
    """

    name: str
    primitive: Primitive
    place: np.ndarray
    turn: np.ndarray
