"""Distance fields of hands and objects: from meshes, and from the files that HOISDF learns from.

HOISDF (Qi et al. 2024, "HOISDF: Constraining 3D Hand-Object Pose Estimation with Global Signed
Distance Fields") keeps samples of both fields, in files as AlignSDF's preparation leaves them:
``sdf_hand/KEY.npz`` and ``sdf_obj/KEY.npz`` with points and distances ``pos`` and ``neg`` (outside
and inside, four columns) and ``pos_other`` and ``neg_other`` (the other field's distances there),
``norm/KEY.npz`` with ``scale`` and ``offset``, all in a box of unit size; and ``KEY.npy``, prepared
from those: x, y, z, distance of the hand, of the object, and the part of the hand, in metres in the
camera's frame.
"""

from pathlib import Path

import numpy as np
import trimesh
from scipy.spatial import cKDTree

from manip_model.distance_field import DistanceField
from manip_training.data.contacts import ObjectSurface

# Round about a surface [m]: as far as a finger that is near reaches.
MARGIN = 0.03
# Samples that a grid point is told by.
_NEIGHBOURS = 8
_HAND, _OBJECT = 3, 4


def of_mesh(mesh: trimesh.Trimesh, step: float = 0.004, margin: float = MARGIN) -> DistanceField:
    """The field of a closed mesh [m], on a grid round about it.

    Args:
        mesh: Its faces counter-clockwise from outside.
        step: Of the grid [m].
        margin: How far it reaches beyond the mesh [m].
    """
    surface = ObjectSurface(mesh)
    low, shape = _grid(surface.low - margin, surface.high + margin, step)
    empty = DistanceField(low, step, np.zeros(shape))
    distance = surface.closest(empty.points.reshape(-1, 3))[0]
    return DistanceField(low, step, distance.reshape(shape))


def of_samples(points: np.ndarray, distances: np.ndarray, step: float = 0.004) -> DistanceField:
    """The field of scattered samples, weighed by nearness.

    Args:
        points: ``(N, 3)`` [m].
        distances: ``(N,)`` [m].
        step: Of the grid, which spans the samples [m].
    """
    if points.shape != (len(distances), 3) or not len(points):
        raise ValueError(f"points must be ({len(distances)}, 3), 1 or more, got {points.shape}")
    low, shape = _grid(points.min(0), points.max(0), step)
    grid = DistanceField(low, step, np.zeros(shape)).points
    count = min(_NEIGHBOURS, len(points))
    far, near = cKDTree(points).query(grid.reshape(-1, 3), k=[*range(1, count + 1)])
    weight = 1 / np.maximum(far, 1e-6) ** 2
    values = (weight * distances[near]).sum(-1) / weight.sum(-1)
    return DistanceField(low, step, values.reshape(shape))


def of_hoisdf(path: str | Path, step: float = 0.004) -> tuple[DistanceField, DistanceField]:
    """Fields of the hand and of the object from HOISDF's files, camera frame.

    Args:
        path: ``KEY.npy``; or ``sdf_hand/KEY.npz``, whose folder has ``sdf_obj`` and ``norm`` beside
            it.
        step: Of the grids [m].

    Raises:
        FileNotFoundError: One of them is not there.
        ValueError: It holds something else.
    """
    path = Path(path)
    samples = _prepared(path) if path.suffix == ".npy" else _original(path)
    return tuple(
        of_samples(samples[:, :3], samples[:, column], step) for column in (_HAND, _OBJECT)
    )


def _prepared(path: Path) -> np.ndarray:
    samples = np.load(path, allow_pickle=False)
    if samples.ndim != 2 or samples.shape[1] != 6:
        raise ValueError(f"{path} must hold (N, 6) samples, got {samples.shape}")
    return samples[np.isfinite(samples).all(1)].astype(float)


def _original(path: Path) -> np.ndarray:
    """``(N, 5)``: points, distances of the hand and of the object [m]."""
    root = path.parent.parent
    parts = []
    for folder, own in (("sdf_hand", 0), ("sdf_obj", 1)):
        with np.load(root / folder / path.name, allow_pickle=False) as file:
            for kind in ("pos", "neg"):
                missing = [name for name in (kind, f"{kind}_other") if name not in file]
                if missing:
                    raise ValueError(f"{root / folder / path.name} holds no {', '.join(missing)}")
                points = file[kind].astype(float)
                other = file[f"{kind}_other"].astype(float).reshape(len(points), 1)
                distances = np.hstack((points[:, 3:4], other))
                parts.append(np.hstack((points[:, :3], distances[:, :: -1 if own else 1])))
    with np.load(root / "norm" / path.name, allow_pickle=False) as norm:
        scale, offset = float(norm["scale"]), norm["offset"].astype(float).reshape(3)
    samples = np.vstack(parts)
    samples = samples[np.isfinite(samples).all(1)] / scale
    samples[:, :3] -= offset
    return samples


def _grid(low: np.ndarray, high: np.ndarray, step: float) -> tuple[np.ndarray, tuple[int, ...]]:
    """Its first point and its size."""
    if not step > 0:
        raise ValueError(f"step must be positive, got {step}")
    counts = np.maximum(np.ceil((high - low) / step).astype(int) + 1, 2)
    return np.asarray(low, float), tuple(counts.tolist())
