"""Takes vertices out of a mesh one by one, so that those that stay are some of the first ones."""

import heapq
import itertools

import numpy as np

# What a longer edge costs beside the distance to the planes, per squared length: evens triangles.
_EVENNESS = 0.02
_WORST_SHAPE = 0.25  # of 4 sqrt(3) area / sum of squared sides, which is 1 for equal sides
_WORST_TURN = 0.3  # cosine between a face's normals before and after
_WORST_FOLD = 0.0  # cosine between the normals of faces that share an edge


class Collapse:
    """Half-edge collapses in the order of their quadric error.

    Garland and Heckbert 1997, "Surface simplification using quadric error metrics"; the end of an
    edge moves onto the other, and only where the surface stays a manifold (link condition). Errors
    are summed over several poses, so that creases that open in a fist keep their vertices.

    Args:
        poses: ``(P, V, 3)`` the vertices in each pose; the first one is also kept from flipping.
        faces: ``(F, 3)``, with one open rim.
        fixed: Vertices that stay.
    """

    def __init__(self, poses: np.ndarray, faces: np.ndarray, fixed: np.ndarray):
        self._poses = poses
        self._faces = {i: tuple(map(int, face)) for i, face in enumerate(faces)}
        self._fixed = set(map(int, fixed))
        self._around = [set() for _ in range(poses.shape[1])]
        for i, face in self._faces.items():
            for v in face:
                self._around[v].add(i)
        self._alive = {v for v, own in enumerate(self._around) if own}
        self._rim = {v for e in self._rim_edges() for v in e}
        self._quadrics = self._first_quadrics(faces)

    def run(self, num_vertices: int, num_rim: int) -> tuple[np.ndarray, np.ndarray]:
        """Kept vertices ``(num_vertices,)``, rising, and faces among them, renumbered."""
        self._reduce(len(self._alive) - (len(self._rim) - num_rim), rim=True)
        self._reduce(num_vertices, rim=False)
        kept = np.array(sorted(self._alive))
        faces = np.array([self._faces[i] for i in sorted(self._faces)])
        return kept, np.searchsorted(kept, faces)

    def _reduce(self, num_vertices: int, rim: bool) -> None:
        heap, versions = [], dict.fromkeys(self._alive, 0)
        order = itertools.count()

        def push(u: int) -> None:
            for v in self._neighbours(u):
                for a, b in ((u, v), (v, u)):
                    if self._may(a, b, rim):
                        entry = (self._cost(a, b), next(order), a, b, versions[a], versions[b])
                        heapq.heappush(heap, entry)

        for u in sorted(self._alive):
            push(u)
        while len(self._alive) > num_vertices:
            if not heap:
                raise ValueError(f"no collapse left at {len(self._alive)} vertices")
            _, _, u, v, of_u, of_v = heapq.heappop(heap)
            if {u, v} - self._alive or (of_u, of_v) != (versions[u], versions[v]):
                continue
            if not self._sound(u, v):
                continue
            touched = self._merge(u, v)
            for w in touched:
                versions[w] += 1
            for w in touched:
                push(w)

    def _may(self, u: int, v: int, rim: bool) -> bool:
        """``u`` may end on ``v``, faces aside."""
        if u in self._fixed:
            return False
        if not rim:
            return u not in self._rim
        return u in self._rim and v in self._rim and len(self._around[u] & self._around[v]) == 1

    def _neighbours(self, u: int) -> set[int]:
        return {v for i in self._around[u] for v in self._faces[i]} - {u}

    def _cost(self, u: int, v: int) -> float:
        point = np.concatenate((self._poses[:, v], np.ones((len(self._poses), 1))), axis=1)
        quadric = self._quadrics[u] + self._quadrics[v]
        error = np.einsum("pi,pij,pj->", point, quadric, point)
        edge = self._poses[:, u] - self._poses[:, v]
        # Quadrics weigh by area, so the edge does as well.
        return float(error + _EVENNESS * (edge * edge).sum() ** 2)

    def _sound(self, u: int, v: int) -> bool:
        shared = self._around[u] & self._around[v]
        apexes = {w for i in shared for w in self._faces[i]} - {u, v}
        if self._neighbours(u) & self._neighbours(v) != apexes:
            return False
        changed = {
            i: tuple(v if w == u else w for w in self._faces[i]) for i in self._around[u] - shared
        }
        for i, face in changed.items():
            after = self._poses[0, list(face)]
            old, new = _normal(self._poses[0, list(self._faces[i])]), _normal(after)
            sides = after - np.roll(after, 1, axis=0)
            shape = 2 * np.sqrt(3) * np.linalg.norm(new) / (sides * sides).sum()
            if shape < _WORST_SHAPE or _cosine(old, new) < _WORST_TURN:
                return False
        near = {i for w in {v} | apexes | self._neighbours(u) for i in self._around[w]} - shared
        return self._unfolded(changed, {i: changed.get(i, self._faces[i]) for i in near})

    def _unfolded(self, changed: dict[int, tuple], near: dict[int, tuple]) -> bool:
        """No face of ``changed`` lies back on a neighbour in ``near``."""
        for i, face in changed.items():
            normal = _normal(self._poses[0, list(face)])
            for j, other in near.items():
                if (
                    i != j
                    and len({*face} & {*other}) == 2
                    and _cosine(normal, _normal(self._poses[0, list(other)])) < _WORST_FOLD
                ):
                    return False
        return True

    def _merge(self, u: int, v: int) -> set[int]:
        shared = self._around[u] & self._around[v]
        for i in shared:
            for w in self._faces[i]:
                self._around[w].discard(i)
            del self._faces[i]
        for i in self._around[u]:
            self._faces[i] = tuple(v if w == u else w for w in self._faces[i])
            self._around[v].add(i)
        self._quadrics[v] += self._quadrics[u]
        self._alive.discard(u)
        self._rim.discard(u)
        return {v} | self._neighbours(v)

    def _rim_edges(self) -> list[tuple[int, int]]:
        directed = {
            (face[k], face[(k + 1) % 3]): i for i, face in self._faces.items() for k in range(3)
        }
        return [edge for edge in directed if edge[::-1] not in directed]

    def _first_quadrics(self, faces: np.ndarray) -> np.ndarray:
        """``(V, P, 4, 4)``: squared distance to the planes of the faces, times a third of area."""
        quadrics = np.zeros((self._poses.shape[1], len(self._poses), 4, 4))
        for p, vertices in enumerate(self._poses):
            corners = vertices[faces]
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            double = np.linalg.norm(normal, axis=1, keepdims=True)
            normal /= double
            plane = np.concatenate((normal, -(normal * corners[:, 0]).sum(1, keepdims=True)), 1)
            own = double[:, :, None] / 6 * plane[:, :, None] * plane[:, None]
            for k in range(3):
                np.add.at(quadrics[:, p], faces[:, k], own)
            for a, b in self._rim_edges():
                # A wall along the rim holds it in place.
                (face,) = self._around[a] & self._around[b]
                edge = vertices[b] - vertices[a]
                wall = np.cross(edge, _normal(vertices[list(self._faces[face])]))
                wall /= np.linalg.norm(wall)
                plane = np.append(wall, -wall @ vertices[a])
                quadrics[[a, b], p] += (edge @ edge) * np.outer(plane, plane)
        return quadrics


def _normal(corners: np.ndarray) -> np.ndarray:
    return np.cross(corners[1] - corners[0], corners[2] - corners[0])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b) / float(np.linalg.norm(a) * np.linalg.norm(b))
