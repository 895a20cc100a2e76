"""Mesh helpers on plain arrays: Loop subdivision, vertex normals, boundary loops, skin gaps."""

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree


def _edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unique edges ``(E, 2)``, edge of each face side ``(F, 3)``, faces per edge ``(E,)``."""
    sides = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, inverse, count = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    return edges, inverse.reshape(-1, 3), count


def split_faces(faces: np.ndarray, num_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """One-to-four split: new faces ``(4F, 3)``, and edges ``(E, 2)`` whose middles are appended."""
    edges, side, _ = _edges(faces)
    ab, bc, ca = (num_vertices + side).T
    a, b, c = faces.T
    quads = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.stack([np.stack(q, axis=1) for q in quads], axis=1).reshape(-1, 3), edges


def loop_matrix(faces: np.ndarray, num_vertices: int) -> sparse.csr_matrix:
    """Loop's subdivision as a matrix: fine vertices = matrix @ coarse vertices.

    Source: C. Loop, "Smooth Subdivision Surfaces Based on Triangles", 1987 (interior 3/8, 1/8;
    boundary 1/2, 1/2 and 1/8, 3/4, 1/8), with Warren's vertex weights.
    """
    edges, side, count = _edges(faces)
    n, boundary = num_vertices, count == 1
    inner = ~boundary
    rows, cols, vals = [], [], []

    def put(r: np.ndarray, c: np.ndarray, v: np.ndarray | float) -> None:
        rows.append(r)
        cols.append(c)
        vals.append(np.broadcast_to(v, r.shape))

    on_edge = np.isin(np.arange(n), edges[boundary])
    valence = np.bincount(edges.ravel(), minlength=n)
    beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
    for i, j in ((0, 1), (1, 0)):
        a, b = edges[:, i], edges[:, j]
        free = ~on_edge[a]
        put(a[free], b[free], beta[a[free]])
        put(a[boundary], b[boundary], 1 / 8)
    every = np.arange(n)
    put(every, every, np.where(on_edge, 3 / 4, 1 - valence * beta))
    middle = n + np.arange(len(edges))
    for i in (0, 1):
        put(middle, edges[:, i], np.where(inner, 3 / 8, 1 / 2))
    for k, apex in enumerate((2, 0, 1)):
        e, far = side[:, k], faces[:, apex]
        keep = inner[e]
        put(n + e[keep], far[keep], 1 / 8)
    shape = (n + len(edges), n)
    return sparse.csr_matrix(
        (np.concatenate(vals), (np.concatenate(rows), np.concatenate(cols))), shape
    )


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals ``(V, 3)``, outwards for counter-clockwise faces."""
    tri = vertices[faces]
    normal = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(normal[:, k], 3), len(vertices)) for k in range(3)], 1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def boundary_loop(faces: np.ndarray) -> np.ndarray:
    """Vertices of the mesh's single open rim, in the order in which the faces run along it."""
    directed = {(int(a), int(b)) for f in faces for a, b in zip(f, np.roll(f, -1), strict=True)}
    follow = {a: b for a, b in directed if (b, a) not in directed}
    start = min(follow)
    loop = [start]
    while follow[loop[-1]] != start:
        loop.append(follow[loop[-1]])
    if len(loop) != len(follow):
        raise ValueError(
            f"expected one open rim, got {len(follow)} rim edges, {len(loop)} in one loop"
        )
    return np.array(loop)


def _closest_on_triangles(p: np.ndarray, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Closest points ``(N, 3)`` and barycentrics ``(N, 3)``; ``tri`` is ``(N, 3, 3)``."""
    a, ab, ac = tri[:, 0], tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]
    d00, d01, d11 = (ab * ab).sum(1), (ab * ac).sum(1), (ac * ac).sum(1)
    ap = p - a
    d20, d21 = (ap * ab).sum(1), (ap * ac).sum(1)
    det = np.maximum(d00 * d11 - d01 * d01, 1e-24)
    v, w = (d11 * d20 - d01 * d21) / det, (d00 * d21 - d01 * d20) / det
    inside = (v >= 0) & (w >= 0) & (v + w <= 1)
    # Outside its own plane region the closest point lies on one of the three sides.
    best = np.stack([1 - v - w, v, w], axis=1)
    best_d = np.where(inside, ((ap - v[:, None] * ab - w[:, None] * ac) ** 2).sum(1), np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        e, s = tri[:, j] - tri[:, i], p - tri[:, i]
        t = np.clip((s * e).sum(1) / np.maximum((e * e).sum(1), 1e-24), 0, 1)
        d = ((s - t[:, None] * e) ** 2).sum(1)
        bary = np.zeros_like(best)
        bary[:, i], bary[:, j] = 1 - t, t
        better = d < best_d
        best[better], best_d[better] = bary[better], d[better]
    return (best[:, :, None] * tri).sum(1), best


def rim_vertices(faces: np.ndarray, num_vertices: int) -> np.ndarray:
    """``(V,)`` True at the open border of a patch."""
    edges, _, count = _edges(faces)
    return np.isin(np.arange(num_vertices), edges[count == 1])


def signed_gap(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, rim: np.ndarray, near: int = 10
) -> np.ndarray:
    """Signed distance ``(N,)`` in [m] of points to a surface patch, negative inside it.

    A point whose nearest place on the patch is its open ``rim`` counts as outside: there the patch
    does not say.
    """
    normals = vertex_normals(vertices, faces)
    centres = vertices[faces].mean(axis=1)
    near = min(near, len(faces))
    _, idx = cKDTree(centres).query(points, k=near)
    idx = idx.reshape(len(points), -1)
    flat = faces[idx.ravel()]
    p = np.repeat(points, idx.shape[1], axis=0)
    closest, bary = _closest_on_triangles(p, vertices[flat])
    offset = p - closest
    distance = np.linalg.norm(offset, axis=1).reshape(idx.shape)
    pick = (np.arange(len(points)), distance.argmin(axis=1))
    normal = (bary[:, :, None] * normals[flat]).sum(1)
    on_rim = (bary * rim[flat]).sum(1) > 0.999
    inside = (((offset * normal).sum(1) < 0) & ~on_rim).reshape(idx.shape)
    return np.where(inside[pick], -1.0, 1.0) * distance[pick]
