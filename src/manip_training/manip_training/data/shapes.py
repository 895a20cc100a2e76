"""Hands, sleeves and objects as the painter draws them."""

from functools import lru_cache

import numpy as np

from manip_model.config import YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_training.data.painter import Shape, vertex_normals
from manip_training.data.primitives import PRIMITIVES, Pattern

# Value of the hand's pixels in DexYCB's ``seg``; objects have their class number, the rest 0.
HAND_LABEL = 255
SLEEVE_LENGTH = 0.16  # [m]
SLEEVE_WIDTH = 1.25  # of the wrist's


def object_shape(index: int, pose: np.ndarray) -> Shape:
    """An object by its class index at a pose ``(3, 4)`` in the camera's frame."""
    corners, normals, pattern = _object(index)
    rotation = pose[:, :3]
    return Shape(
        vertices=corners @ rotation.T + pose[:, 3],
        faces=np.arange(len(corners)).reshape(-1, 3),
        normals=normals @ rotation.T,
        attribute=corners,
        label=index + 1,
        texture=pattern,
    )


@lru_cache(len(YCB_CLASSES))
def _object(index: int) -> tuple[np.ndarray, np.ndarray, Pattern]:
    primitive = PRIMITIVES[YCB_CLASSES[index]]
    mesh = primitive.mesh()
    # Every face has its own corners, so that edges stay sharp.
    corners = np.asarray(mesh.triangles).reshape(-1, 3)
    return corners, np.repeat(mesh.face_normals, 3, axis=0), Pattern(primitive, index)


def hand_shapes(
    model: HandModel, side: str, vertices: np.ndarray, skin: np.ndarray, sleeve: np.ndarray
) -> list[Shape]:
    """A hand, and a sleeve from its open wrist on.

    Args:
        model: Of the hand.
        side: Left or right.
        vertices: ``(778, 3)`` [m], camera frame.
        skin: ``(778, 3)`` colours, 0 to 1.
        sleeve: ``(3,)`` colour.
    """
    faces = model.faces_of(side).numpy()
    hand = Shape(vertices, faces, vertex_normals(vertices, faces), skin, HAND_LABEL)
    rim = vertices[_rim(faces)]
    centre = rim.mean(axis=0)
    outward = centre - vertices.mean(axis=0)
    outward *= SLEEVE_LENGTH / np.linalg.norm(outward)
    wide = centre + SLEEVE_WIDTH * (rim - centre)
    tube = np.concatenate((rim, wide, wide + outward))
    n = len(rim)
    here, there = np.arange(n), np.roll(np.arange(n), -1)
    rings = [
        np.concatenate(
            (
                np.stack((start + here, start + n + here, start + n + there), axis=1),
                np.stack((start + here, start + n + there, start + there), axis=1),
            )
        )
        for start in (0, n)
    ]
    around = np.concatenate(rings)
    colours = np.broadcast_to(sleeve, tube.shape)
    return [hand, Shape(tube, around, vertex_normals(tube, around), colours, 0)]


def _rim(faces: np.ndarray) -> np.ndarray:
    """Vertices around the open wrist, in the direction in which the faces run along it."""
    edges = {(int(face[k]), int(face[(k + 1) % 3])) for face in faces for k in range(3)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    return np.array(loop)
