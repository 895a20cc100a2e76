"""Signed distances between parts of a posed hand's skin."""

import numpy as np
from scipy.spatial import cKDTree

from manip_core.hand_skeleton import CONTACT_FINGERS, FINGERS
from manip_model.hand_model import HandModel
from manip_model.hand_regions import MESH_CHAINS
from manip_training.synthetic.poses import PoseSpace

# Share of a face's skinning weight that makes it part of a bone.
OWN = 0.5
FAR = 0.02  # [m], from where on the nearest points are near enough
# Places on a face, as shares of its corners: flat triangles meet anywhere, not just at corners.
_GRID = np.array([(i, j, 4 - i - j) for i in range(5) for j in range(5 - i)]) / 4


class SkinPatch:
    """Part of the hand's surface, open at its rim.

    Args:
        faces: ``(F, 3)`` of the hand's vertices.
    """

    def __init__(self, faces: np.ndarray):
        self.rows, local = np.unique(faces, return_inverse=True)
        self.faces = local.reshape(-1, 3)
        sides = np.sort(self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        edges, count = np.unique(sides, axis=0, return_counts=True)
        self._rim = np.isin(np.arange(len(self.rows)), edges[count == 1])

    def gap(self, points: np.ndarray, hand: np.ndarray, near: int = 10) -> np.ndarray:
        """Signed distance ``(N,)`` [m] of points ``(N, 3)`` to the patch, negative inside it.

        A point whose nearest place is the rim counts as outside: there the patch does not say.

        Args:
            points: ``(N, 3)`` [m].
            hand: ``(778, 3)`` [m] posed vertices of the whole hand.
            near: Faces by whose nearest place each point is judged.
        """
        vertices = hand[self.rows]
        normals = vertex_normals(vertices, self.faces)
        corners = vertices[self.faces]
        near = min(near, len(corners))
        _, picked = cKDTree(corners.mean(axis=1)).query(points, k=near)
        picked = picked.reshape(len(points), -1)
        flat = self.faces[picked.ravel()]
        p = np.repeat(points, near, axis=0)
        shares = closest_on_triangles(p, vertices[flat])
        offset = p - np.einsum("nk,nkc->nc", shares, vertices[flat])
        distance = np.linalg.norm(offset, axis=1).reshape(picked.shape)
        normal = np.einsum("nk,nkc->nc", shares, normals[flat])
        on_rim = (shares * self._rim[flat]).sum(axis=1) > 0.999
        inside = (((offset * normal).sum(axis=1) < 0) & ~on_rim).reshape(picked.shape)
        best = np.arange(len(points)), distance.argmin(axis=1)
        return np.where(inside[best], -1.0, 1.0) * distance[best]


class PadGauge:
    """Measures the gaps between the thumb's pad and those of the fingers.

    A pad is the palmar half of the outermost phalanx. The gap is the least distance of either pad
    from the other phalanx, negative where they lie in each other.
    """

    def __init__(self, model: HandModel, space: PoseSpace):
        faces, weights = model.faces.numpy(), model.weights.numpy()
        template = model.template.numpy()
        normals = vertex_normals(template, faces)
        thumb, bend = space.thumb_axes[2:].numpy()
        palmar = {f: np.array((0.0, -1.0, 0.0)) for f in FINGERS} | {"thumb": np.cross(thumb, bend)}
        self._patch, self._pad = {}, {}
        for finger, chain in zip(FINGERS, MESH_CHAINS, strict=True):
            own = faces[weights[faces, chain[2]].mean(axis=1) > OWN]
            self._patch[finger] = SkinPatch(own)
            self._pad[finger] = own[(normals[own].mean(axis=1) @ palmar[finger]) > -0.1]

    def gap(self, hand: np.ndarray, finger: str) -> float:
        """[m] of ``finger`` and thumb on posed vertices ``(778, 3)``."""
        pads = [on_faces(hand[self._pad[name]]) for name in ("thumb", finger)]
        apart, _ = cKDTree(pads[0]).query(pads[1])
        if apart.min() > FAR:
            return float(apart.min())
        gaps = (
            self._patch[finger].gap(pads[0], hand),
            self._patch["thumb"].gap(pads[1], hand),
        )
        return float(min(gap.min() for gap in gaps))

    def gaps(self, hand: np.ndarray) -> np.ndarray:
        """``(4,)`` [m], in the order of ``CONTACT_FINGERS``."""
        return np.array([self.gap(hand, finger) for finger in CONTACT_FINGERS])


def on_faces(corners: np.ndarray) -> np.ndarray:
    """Points ``(15 F, 3)`` all over faces ``(F, 3, 3)``."""
    return (_GRID @ corners).reshape(-1, 3)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals ``(V, 3)``, outwards for counter-clockwise faces."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], np.cross(b - a, c - a))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)


def closest_on_triangles(p: np.ndarray, tri: np.ndarray) -> np.ndarray:
    """Barycentric shares ``(N, 3)`` of the places of triangles ``(N, 3, 3)`` closest to points."""
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
        shares = np.zeros_like(best)
        shares[:, i], shares[:, j] = 1 - t, t
        better = d < best_d
        best[better], best_d[better] = shares[better], d[better]
    return best
