"""Finger angles to posed skin and keypoints, and the solver that makes a pinch truly touch."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from demo_clip.hand_model import CHAINS, FOREARM, HAND, NUM_BONES, HandModel
from demo_clip.mesh_tools import rim_vertices, signed_gap, vertex_normals
from manip_core.hand_skeleton import CONTACT_FINGERS, FINGERS

# Angles of one finger in a pose [rad]: knuckle flexion, knuckle to the index side, PIP, DIP; of the
# thumb: base flexion, base to the side, base twist, MCP, IP. All are relative to anny's rest pose.
DOF = {"thumb": slice(0, 5), "index": slice(5, 9), "middle": slice(9, 13)}
DOF |= {"ring": slice(13, 17), "little": slice(17, 21)}
NUM_ANGLES = 21

# What a hand can do, relative to the rest pose (about 15 degrees flexed) [rad].
FINGER_LIMITS = np.radians([(-15, 85), (-10, 10), (-14, 100), (-10, 65)])
THUMB_LIMITS = np.radians([(-25, 60), (-30, 30), (-40, 40), (0, 55), (0, 75)])

# How readily each of those angles leaves the natural pose in a pinch: thumb, then finger [rad].
READINESS = np.radians([25, 12, 20, 15, 20, 25, 4, 25, 20])

PINCH_GAP = -0.0004  # [m], how far the pads press into each other


def angles_deg(**fingers: Sequence[float]) -> np.ndarray:
    """Pose ``(21,)`` in [rad] from degrees by finger; what is not named stays at rest."""
    pose = np.zeros(NUM_ANGLES)
    for finger, values in fingers.items():
        pose[DOF[finger]] = np.radians(values)
    return pose


def _about(rotation: np.ndarray, point: np.ndarray) -> np.ndarray:
    t = np.eye(4)
    t[:3, :3], t[:3, 3] = rotation, point - rotation @ point
    return t


def bone_transforms(
    model: HandModel, pose: np.ndarray, forearm: np.ndarray | None = None
) -> np.ndarray:
    """Transforms ``(21, 4, 4)`` from rest to posed, palm frame.

    Args:
        model: The hand.
        pose: ``(21,)`` angles in [rad], order of ``DOF``.
        forearm: ``(3, 3)`` rotation of the forearm about the wrist, against the hand.
    """
    out = np.tile(np.eye(4), (NUM_BONES, 1, 1))
    if forearm is not None:
        out[FOREARM] = _about(forearm, model.keypoints[0])
    for finger in FINGERS:
        chain, q = CHAINS[finger], pose[DOF[finger]]
        base = model.flex_axes[chain[0]] * q[0]
        turn = Rotation.from_rotvec(model.side_axes[chain[0]] * q[1])
        if finger == "thumb":
            along = np.cross(model.flex_axes[chain[0]], model.side_axes[chain[0]])
            turn = turn * Rotation.from_rotvec(base) * Rotation.from_rotvec(along * q[2])
        else:
            turn = turn * Rotation.from_rotvec(base)
        total = out[HAND]
        hinges = [
            Rotation.from_rotvec(model.flex_axes[bone] * angle)
            for bone, angle in zip(chain[1:], q[-2:], strict=True)
        ]
        total = out[HAND]
        for bone, rotation in zip(chain, (turn, *hinges), strict=True):
            total = total @ _about(rotation.as_matrix(), model.heads[bone])
            out[bone] = total
    return out


def skin(
    model: HandModel, transforms: np.ndarray, rows: np.ndarray | slice = slice(None)
) -> np.ndarray:
    """Linear-blend skinned vertices ``(V, 3)`` in [m], palm frame; ``rows`` picks some of them."""
    blend = (model.weights[rows] @ transforms[:, :3].reshape(NUM_BONES, 12)).reshape(-1, 3, 4)
    return np.einsum("nij,nj->ni", blend[:, :, :3], model.vertices[rows]) + blend[:, :, 3]


def keypoints(model: HandModel, transforms: np.ndarray) -> np.ndarray:
    """``(21, 3)`` in [m], palm frame."""
    t = transforms[model.keypoint_bone]
    return np.einsum("nij,nj->ni", t[:, :3, :3], model.keypoints) + t[:, :3, 3]


def patch(model: HandModel, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """The faces wholly among ``rows``: their vertices, themselves renumbered, and their rim."""
    faces = model.faces[np.isin(model.faces, rows).all(axis=1)]
    rows = np.unique(faces)
    faces = np.searchsorted(rows, faces)
    return rows, faces, rim_vertices(faces, len(rows))


class PadGauge:
    """Measures the gap in [m] between the thumb's pad and each finger's, negative in overlap."""

    def __init__(self, model: HandModel) -> None:
        self._model = model
        self._patch = {f: patch(model, model.distal_vertices(f)) for f in FINGERS}
        self._pad = {f: np.isin(self._patch[f][0], model.pad_vertices(f)) for f in FINGERS}
        self._centre = {f: self._pad_centre(f) for f in FINGERS}

    def _pad_centre(self, finger: str) -> int:
        """The vertex in the middle of the pad, where fingers meet."""
        rows = self._patch[finger][0]
        pad = rows[self._pad[finger]]
        bone = CHAINS[finger][2]
        along = (self._model.vertices[pad] - self._model.heads[bone]) @ self._model.tip_direction(
            finger
        )
        out = np.cross(self._model.flex_axes[bone], self._model.tip_direction(finger))
        facing = self._model.normals[pad] @ out
        score = np.abs(along / along.max() - 0.68) + 2.0 * (1 - facing)
        return int(np.flatnonzero(self._pad[finger])[score.argmin()])

    def posed(self, transforms: np.ndarray, finger: str) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and normals of the finger's last segment."""
        rows, faces, _ = self._patch[finger]
        v = skin(self._model, transforms, rows)
        return v, vertex_normals(v, faces)

    def gap(self, transforms: np.ndarray, finger: str) -> float:
        """Signed skin distance [m], the least over both pads; negative is the overlap's depth."""
        (rows_a, *a), (rows_b, *b) = self._patch["thumb"], self._patch[finger]
        va, vb = skin(self._model, transforms, rows_a), skin(self._model, transforms, rows_b)
        reach = 0.02  # further apart the nearest vertices are near enough
        pa, pb = va[self._pad["thumb"]], vb[self._pad[finger]]
        span = np.linalg.norm(pa[:, None] - pb[None], axis=2)
        if span.min() > reach:
            return float(span.min())
        near_a, near_b = (
            span.min(axis=1) < span.min() + 0.006,
            span.min(axis=0) < span.min() + 0.006,
        )
        return float(
            min(signed_gap(pa[near_a], vb, *b).min(), signed_gap(pb[near_b], va, *a).min())
        )

    def gaps(self, transforms: np.ndarray) -> np.ndarray:
        """``(4,)`` in [m], order of ``CONTACT_FINGERS``."""
        return np.array([self.gap(transforms, f) for f in CONTACT_FINGERS])

    def meeting(self, transforms: np.ndarray, finger: str) -> tuple[np.ndarray, float]:
        """Offset ``(3,)`` [m] between the pads' middles, cosine between their outward normals."""
        (va, na), (vb, nb) = self.posed(transforms, "thumb"), self.posed(transforms, finger)
        a, b = self._centre["thumb"], self._centre[finger]
        return va[a] - vb[b], float(na[a] @ nb[b])


def solve_pinch(model: HandModel, gauge: PadGauge, finger: str, start: np.ndarray) -> np.ndarray:
    """The pose nearest to ``start`` in which the pads of thumb and ``finger`` touch.

    Args:
        model: The hand.
        gauge: Its pads.
        finger: One of ``CONTACT_FINGERS``.
        start: ``(21,)`` a natural pose [rad]; the other fingers keep it.

    Raises:
        RuntimeError: The pads cannot be brought together within the joints' limits.
    """
    free = np.r_[np.arange(NUM_ANGLES)[DOF["thumb"]], np.arange(NUM_ANGLES)[DOF[finger]]]
    low, high = np.concatenate([THUMB_LIMITS, FINGER_LIMITS]).T
    natural = np.clip(start[free], low + 1e-3, high - 1e-3)

    def residual(x: np.ndarray, press: bool) -> np.ndarray:
        pose = start.copy()
        pose[free] = x
        t = bone_transforms(model, pose)
        offset, facing = gauge.meeting(t, finger)
        terms = [offset / 0.006, [(1 + facing) / 0.15], (x - natural) / READINESS]
        # DIP follows PIP in a living finger (by about two thirds).
        terms.append([(x[-1] - 0.6 * x[-2]) / np.radians(12)])
        if press:
            terms.append([(gauge.gap(t, finger) - PINCH_GAP) / 0.00004])
        return np.concatenate(terms)

    x = least_squares(residual, natural, bounds=(low, high), args=(False,), diff_step=1e-4).x
    x = least_squares(residual, x, bounds=(low, high), args=(True,), diff_step=1e-4, max_nfev=60).x
    pose = start.copy()
    pose[free] = x
    gap = gauge.gap(bone_transforms(model, pose), finger)
    if abs(gap - PINCH_GAP) > 0.0005:
        raise RuntimeError(
            f"pinch of the {finger} finger does not close: skin gap {1000 * gap:.2f} mm"
        )
    return pose


def close_until_touch(
    model: HandModel,
    start: np.ndarray,
    end: np.ndarray,
    mover: Sequence[int],
    wall: Sequence[int],
    until: float = PINCH_GAP,
) -> np.ndarray:
    """The pose from ``start`` to ``end`` where the skin of ``mover`` first meets ``wall``.

    Args:
        model: The hand.
        start: ``(21,)`` free of contact [rad].
        end: ``(21,)`` through contact [rad].
        mover: Bones whose skin moves.
        wall: Bones whose skin it meets.
        until: Skin gap at which it stops [m].

    Raises:
        RuntimeError: There is contact at the start, or none up to the end.
    """
    rows, *_ = patch(model, np.flatnonzero(model.weights[:, list(mover)].sum(axis=1) > 0.7))
    wall_rows, *wall_patch = patch(
        model, np.flatnonzero(model.weights[:, list(wall)].sum(axis=1) > 0.5)
    )

    def gap(share: float) -> float:
        t = bone_transforms(model, start + share * (end - start))
        return float(signed_gap(skin(model, t, rows), skin(model, t, wall_rows), *wall_patch).min())

    low, high = 0.0, None
    for share in np.linspace(0.0, 1.0, 21):
        if gap(share) < until:
            high = float(share)
            break
        low = float(share)
    if high is None or high == 0.0:
        raise RuntimeError(
            "no first touch between start and end: "
            f"gaps {1000 * gap(0.0):.1f} and {1000 * gap(1.0):.1f} mm"
        )
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (low, middle) if gap(middle) < until else (middle, high)
    return start + low * (end - start)
