"""Where a hand touches objects, from the two meshes: the labels of the contact head.

No data set measures these; they follow from the poses by the rules stated here.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from manip_model.config import CONTACT_TYPES, NUM_CONTACTS
from manip_training.batch import NUM_SURFACE_POINTS

NONE, LIGHT, FIRM, MANIPULATION = range(len(CONTACT_TYPES))

# A vertex touches where it lies less than this outside the object, or inside it. Hand and object
# labels of DexYCB are each some millimetres off.
TOUCH = 4e-3  # [m]
# A region's contact is firm from this many touching vertices on, or from this depth on.
FIRM_VERTICES = 8
FIRM_DEPTH = 2e-3  # [m]
# A firm contact is manipulation where the object's material at the contact moves faster than this:
# well above the noise of poses labelled 30 times a second.
MANIPULATION_SPEED = 0.1  # [m/s]

SAMPLE_SPACING = 2e-3  # [m]
NEIGHBOURS = 3
NUM_MODEL_POINTS = 1024


class ObjectSurface:
    """A mesh in the object's own frame [m], prepared for distances from many points.

    Attributes:
        points: ``(1024, 3)`` spread evenly over the surface, for ADD-S.
        surface: ``(256, 6)`` points and outward normals, for penetration.
    """

    def __init__(self, mesh: trimesh.Trimesh, seed: int = 0):
        if not len(mesh.faces) or not mesh.area > 0:
            raise ValueError(f"the mesh must have faces with an area, got {len(mesh.faces)} faces")
        triangles = np.asarray(mesh.triangles, dtype=float)
        cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        twice = np.linalg.norm(cross, axis=1)
        # Scanned meshes hold slivers, whose normals mean nothing.
        sound = twice > 1e-12
        self._triangles, self._area = triangles[sound], 0.5 * twice[sound]
        self._normals = cross[sound] / twice[sound, None]
        self._seed = seed
        self.low, self.high = self._triangles.min((0, 1)), self._triangles.max((0, 1))
        rng = np.random.default_rng(seed)
        self.points = self._sample(NUM_MODEL_POINTS, rng)[0].astype(np.float32)
        points, faces = self._sample(NUM_SURFACE_POINTS, rng)
        self.surface = np.hstack((points, self._normals[faces])).astype(np.float32)

    @classmethod
    def load(cls, path: Path) -> "ObjectSurface":
        """The mesh of an OBJ file; ``ValueError`` where it holds none."""
        mesh = trimesh.load(path, force="mesh", process=False, skip_materials=True)
        if not isinstance(mesh, trimesh.Trimesh):
            raise ValueError(f"{path.name} holds no faces")
        return cls(mesh)

    def closest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Signed distance ``(N,)`` [m], negative inside; closest point, outward normal ``(N, 3)``.

        Exact on the triangles near the nearest of samples ``SAMPLE_SPACING`` apart.
        """
        tree, faces = self._samples
        near = faces[tree.query(points, k=NEIGHBOURS)[1]].ravel()
        repeated = np.repeat(points, NEIGHBOURS, axis=0)
        found = trimesh.triangles.closest_point(self._triangles[near], repeated)
        offset = (repeated - found).reshape(-1, NEIGHBOURS, 3)
        distance = np.linalg.norm(offset, axis=-1)
        normals = self._normals[near].reshape(-1, NEIGHBOURS, 3)
        along = (offset * normals).sum(-1)
        # Beside an edge two faces are equally near: the one that is looked at more squarely knows
        # whether the point is inside.
        best = np.lexsort((-np.abs(along), np.round(distance, 7)), axis=-1)[:, :1]
        pick = np.take_along_axis
        distance, along = pick(distance, best, 1)[:, 0], pick(along, best, 1)[:, 0]
        found = pick(found.reshape(-1, NEIGHBOURS, 3), best[..., None], 1)[:, 0]
        normals = pick(normals, best[..., None], 1)[:, 0]
        return np.where(along < 0, -distance, distance), found, normals

    @cached_property
    def _samples(self) -> tuple[cKDTree, np.ndarray]:
        count = int(np.clip(self._area.sum() / SAMPLE_SPACING**2, 2000, 40000))
        points, faces = self._sample(count, np.random.default_rng(self._seed))
        # Small faces may have no sample of their own.
        centres = self._triangles.mean(axis=1)
        faces = np.concatenate((faces, np.arange(len(centres))))
        return cKDTree(np.concatenate((points, centres))), faces

    def _sample(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        faces = rng.choice(len(self._area), count, p=self._area / self._area.sum())
        root, other = np.sqrt(rng.random(count)), rng.random(count)
        weights = np.stack((1 - root, root * (1 - other), root * other), axis=1)
        return np.einsum("nk,nkd->nd", weights, self._triangles[faces]), faces


@dataclass(frozen=True)
class PosedObject:
    """An object in a picture, camera frame [m].

    Attributes:
        surface: Its mesh.
        pose: ``(3, 4)`` rotation and position.
        previous: The pose one frame earlier, ``None`` where unknown.
    """

    surface: ObjectSurface
    pose: np.ndarray
    previous: np.ndarray | None = None

    def speed(self, point: np.ndarray, dt: float) -> float:
        """Of the object's material at a point ``(3,)``, in [m/s]; 0 where no earlier pose is."""
        if self.previous is None:
            return 0.0
        local = self.pose[:, :3].T @ (point - self.pose[:, 3])
        return float(np.linalg.norm(point - self.previous @ np.append(local, 1.0)) / dt)


@dataclass(frozen=True)
class Contacts:
    """Labels of the ten regions and 778 vertices; see ``manip_training.batch.FIELDS``.

    Attributes:
        type: ``(10,)`` int64.
        point, direction: ``(10, 3)`` float32, camera frame; zeros where the type is none.
        depth: ``(10,)`` [m] of the deepest vertex below the surface, 0 where none is below.
        map: ``(778,)`` float32, 0 or 1.
    """

    type: np.ndarray
    point: np.ndarray
    direction: np.ndarray
    depth: np.ndarray
    map: np.ndarray


def label_contacts(
    vertices: np.ndarray, regions: np.ndarray, objects: list[PosedObject], dt: float
) -> Contacts:
    """Contacts between a hand and objects.

    A region is ``light`` where one of its vertices touches, ``firm`` where ``FIRM_VERTICES`` do or
    one lies ``FIRM_DEPTH`` inside, and ``manipulation`` where it is firm and the object moves there
    faster than ``MANIPULATION_SPEED`` against the camera, which stands still. Its point is the mean
    of the surface points closest to the touching vertices, its direction the mean normal there,
    into the object.

    Args:
        vertices: ``(778, 3)`` of the hand in [m], camera frame.
        regions: ``(778,)`` the region of each, 0 to 9.
        objects: With the camera's poses.
        dt: Time since the earlier poses in [s].
    """
    distance = np.full(len(vertices), np.inf)
    closest, normal = np.zeros_like(vertices), np.zeros_like(vertices)
    owner = np.full(len(vertices), -1)
    for index, item in enumerate(objects):
        rotation, position = item.pose[:, :3], item.pose[:, 3]
        local = (vertices - position) @ rotation
        near = ((local > item.surface.low - TOUCH) & (local < item.surface.high + TOUCH)).all(1)
        rows = np.flatnonzero(near)
        if not len(rows):
            continue
        signed, points, normals = item.surface.closest(local[rows])
        nearer = signed < distance[rows]
        rows = rows[nearer]
        distance[rows] = signed[nearer]
        closest[rows] = points[nearer] @ rotation.T + position
        normal[rows] = normals[nearer] @ rotation.T
        owner[rows] = index
    touching = distance <= TOUCH
    result = Contacts(
        type=np.zeros(NUM_CONTACTS, dtype=np.int64),
        point=np.zeros((NUM_CONTACTS, 3), dtype=np.float32),
        direction=np.zeros((NUM_CONTACTS, 3), dtype=np.float32),
        depth=np.zeros(NUM_CONTACTS, dtype=np.float32),
        map=touching.astype(np.float32),
    )
    for region in np.unique(regions[touching]):
        rows = np.flatnonzero(touching & (regions == region))
        deepest = rows[distance[rows].argmin()]
        point, direction = closest[rows].mean(axis=0), -normal[rows].mean(axis=0)
        # Normals of a thin object's two sides may cancel.
        if np.linalg.norm(direction) < 0.1:
            direction = -normal[deepest]
        depth = max(-distance[deepest], 0.0)
        kind = LIGHT
        if len(rows) >= FIRM_VERTICES or depth >= FIRM_DEPTH:
            moving = objects[owner[deepest]].speed(point, dt) > MANIPULATION_SPEED
            kind = MANIPULATION if moving else FIRM
        result.type[region] = kind
        result.point[region] = point
        result.direction[region] = direction / np.linalg.norm(direction)
        result.depth[region] = depth
    return result
