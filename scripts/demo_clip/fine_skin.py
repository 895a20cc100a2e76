"""A finer skin than the hand's 778 vertices: smooth outlines, and the lines of palm and fingers."""

import itertools

import numpy as np
from scipy import sparse

from demo_clip.skin_gap import vertex_normals
from manip_core.hand_skeleton import FINGERS
from manip_model.hand_model import HandModel
from manip_model.hand_regions import MESH_CHAINS

LINE_WIDTH = 0.0012  # [m], of a crease


def split(faces: np.ndarray, num_vertices: int) -> tuple[np.ndarray, sparse.csr_array]:
    """Loop's subdivision: faces ``(4F, 3)``, and a matrix that makes fine vertices of coarse ones.

    Source: C. Loop, "Smooth Subdivision Surfaces Based on Triangles", 1987 (interior 3/8, 1/8;
    boundary 1/2, 1/2 and 1/8, 3/4, 1/8), with Warren's vertex weights.
    """
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, side, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    side, n, rim = side.reshape(-1, 3), num_vertices, count == 1
    entries = []

    def put(rows: np.ndarray, columns: np.ndarray, values: np.ndarray | float) -> None:
        entries.append((np.broadcast_to(values, rows.shape), rows, columns))

    on_rim = np.isin(np.arange(n), edges[rim])
    valence = np.bincount(edges.ravel(), minlength=n)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    for a, b in (edges.T, edges.T[::-1]):
        free = ~on_rim[a]
        put(a[free], b[free], beta[a[free]])
        put(a[rim], b[rim], 1 / 8)
        put(n + np.arange(len(edges)), a, np.where(rim, 1 / 2, 3 / 8))
    put(np.arange(n), np.arange(n), np.where(on_rim, 3 / 4, 1 - valence * beta))
    for k, apex in enumerate((2, 0, 1)):
        inner = ~rim[side[:, k]]
        put(n + side[inner, k], faces[inner, apex], 1 / 8)
    values, rows, columns = (np.concatenate(x) for x in zip(*entries, strict=True))
    matrix = sparse.csr_array((values, (rows, columns)), (n + len(edges), n))
    ab, bc, ca = (n + side).T
    a, b, c = faces.T
    quads = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.stack([np.stack(q, axis=1) for q in quads], axis=1).reshape(-1, 3), matrix


def palm_share(model: HandModel) -> np.ndarray:
    """``(778,)`` 1 where the skin looks to where the hand closes, 0 on its back."""
    normals = vertex_normals(model.template.numpy().astype(float), model.faces.numpy())
    return 1 / (1 + np.exp(6 * (normals[:, 1] + 0.05)))


def creases(model: HandModel, places: np.ndarray, palmar: np.ndarray) -> np.ndarray:
    """Depth ``(N,)``, 0 to 1, of the lines of palm, fingers and wrist at places ``(N, 3)`` at rest.

    Args:
        model: The hand.
        places: [m].
        palmar: ``(N,)`` 1 where the skin is the palm's, 0 on the back.
    """
    joints = model.joint_template.numpy().astype(float)
    tips = model.template[model.tips].numpy().astype(float)
    x, y, z = places.T
    wiggle = 0.0006 * (np.sin(310 * x + 170 * z) + np.sin(250 * z - 400 * x + 100 * y + 1))
    depth = np.zeros(len(places))
    for finger, chain in enumerate(MESH_CHAINS):
        for level in (1, 2):
            joint = joints[chain[level]]
            along = tips[finger] - joints[chain[level - 1]]
            offset = places - joint
            line = (offset @ (along / np.linalg.norm(along)) + wiggle) / LINE_WIDTH
            near = np.exp(-((np.linalg.norm(offset, axis=1) / 0.013) ** 2))
            depth = np.maximum(depth, np.exp(-(line**2)) * near**0.5)
    # In the palm's plane: towards the thumb, towards the fingers, from the wrist.
    flat = np.column_stack((z - joints[0, 2] + wiggle, joints[0, 0] - x + wiggle))
    knuckle = {
        name: np.array((joints[chain[0], 2] - joints[0, 2], joints[0, 0] - joints[chain[0], 0]))
        for name, chain in zip(FINGERS, MESH_CHAINS, strict=True)
    }
    index, middle, ring, little = (knuckle[name] for name in FINGERS[1:])
    edge = np.array((0.012, 0.0))
    lines = (
        (little - (0.013, 0.017), ring - (0, 0.020), middle - (0, 0.016),
         (index + middle) / 2 - (0, 0.004)),
        (index + edge - (0, 0.022), middle - (0, 0.036), ring - (0.004, 0.048),
         little - (0.004, 0.052)),
        (index + edge - (0, 0.024), index - (0.004, 0.037), middle - (-0.006, 0.056),
         (0.006, 0.022), (0.012, 0.010)),
        ((-0.03, -0.001), (0.0, -0.004), (0.03, -0.001)),
    )  # fmt: skip
    for line in lines:
        away = np.full(len(flat), np.inf)
        for a, b in itertools.pairwise(np.array(line)):
            t = np.clip((flat - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            away = np.minimum(away, np.linalg.norm(flat - a - t[:, None] * (b - a), axis=1))
        depth = np.maximum(depth, np.exp(-((away / LINE_WIDTH) ** 2)))
    return depth * palmar
