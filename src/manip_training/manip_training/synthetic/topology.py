"""What the kernels need to know of the triangles of a batch, once for every list of them."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Triangles and how they hang together, int32 on the device of the faces.

    Attributes:
        faces: ``(F, 3)``.
        part: ``(F,)``.
        group: ``(F,)`` triangles of one number are connected over shared vertices and of one part;
            their normals go over into each other.
        ring_start: ``(V + 1,)`` where the neighbours of each vertex begin in ``ring``.
        ring: ``(3F, 2)`` for each triangle at a vertex the two others, in its order.
    """

    faces: Tensor
    part: Tensor
    group: Tensor
    ring_start: Tensor
    ring: Tensor


def topology_of(faces: Tensor, face_part: Tensor, num_vertices: int, num_parts: int) -> Topology:
    """Checked and prepared triangles.

    Args:
        faces: ``(F, 3)`` int32.
        face_part: ``(F,)`` int32.
        num_vertices: That ``faces`` may name.
        num_parts: That ``face_part`` may name.

    Raises:
        ValueError: A vertex or part that does not exist.
    """
    corners, part = faces.cpu().numpy(), face_part.cpu().numpy()
    for name, values, limit in (("faces", corners, num_vertices), ("face_part", part, num_parts)):
        if values.min() < 0 or values.max() >= limit:
            raise ValueError(
                f"{name} must be 0 to {limit - 1}, got {values.min()} to {values.max()}"
            )
    others = corners[:, [[1, 2], [2, 0], [0, 1]]].reshape(-1, 2)
    order = np.argsort(corners.ravel(), kind="stable")
    counts = np.bincount(corners.ravel(), minlength=num_vertices)
    arrays = {
        "group": _groups(corners, part, num_vertices),
        "ring_start": np.concatenate(([0], np.cumsum(counts))),
        "ring": others[order],
    }
    made = {
        name: torch.as_tensor(np.ascontiguousarray(array, dtype=np.int32)).to(faces.device)
        for name, array in arrays.items()
    }
    return Topology(faces=faces.contiguous(), part=face_part.contiguous(), **made)


def _groups(corners: np.ndarray, part: np.ndarray, num_vertices: int) -> np.ndarray:
    """``(F,)`` the connected piece that each triangle belongs to."""
    count = len(corners)
    # A node for every triangle, and one for every vertex of every part.
    nodes = count + (part[:, None].astype(np.int64) * num_vertices + corners).ravel()
    _, nodes = np.unique(nodes, return_inverse=True)
    links = (np.ones(3 * count), (np.repeat(np.arange(count), 3), count + nodes))
    total = count + 3 * count
    _, labels = connected_components(coo_matrix(links, shape=(total, total)), directed=False)
    return labels[:count]
