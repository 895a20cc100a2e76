"""Smooths the few places in the webs between fingers where the flat skin folds onto itself."""

import numpy as np

_SHARP = 0.2  # cosine between the normals of faces that share an edge
_ROUNDS, _STEP = 30, 0.3


def unfolding(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A matrix ``(V, V)`` of rows that sum to 1 and smooths ``(V, 3)``; mostly the identity.

    Vertices of faces at sharp edges, inside the mesh, move towards the mean of their neighbours,
    until none is sharp or after some rounds. Being linear it serves all hands of these faces alike.
    """
    size = len(vertices)
    beside = np.zeros((size, size))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        beside[faces[:, a], faces[:, b]] = 1
    rim = (beside != beside.T).any(axis=1)
    beside = np.maximum(beside, beside.T)
    mean = beside / beside.sum(axis=1, keepdims=True)
    total = np.eye(size)
    for _ in range(_ROUNDS):
        sharp = np.isin(np.arange(size), _sharp_faces(total @ vertices, faces)) & ~rim
        if not sharp.any():
            break
        step = _STEP * sharp[:, None]
        total = (1 - step) * total + step * (mean @ total)
    return total


def _sharp_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The faces ``(K, 3)`` that meet another at a sharp angle."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    sides = faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    face_of = {tuple(side): k // 3 for k, side in enumerate(sides.tolist())}
    sharp = [
        face
        for (a, b), face in face_of.items()
        if (b, a) in face_of and normals[face] @ normals[face_of[b, a]] < _SHARP
    ]
    return faces[sharp]
