"""A small software renderer: shaded triangle meshes over a background, with a label per pixel."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from manip_core.camera import CameraIntrinsics

AMBIENT = 0.45
NEAR = 0.05  # [m]


def _as_colour(attribute: np.ndarray) -> np.ndarray:
    return attribute


@dataclass(frozen=True)
class Shape:
    """A mesh to draw.

    Attributes:
        vertices: ``(V, 3)`` in [m], camera frame.
        faces: ``(F, 3)``, counter-clockwise seen from outside.
        normals: ``(V, 3)`` unit, camera frame.
        attribute: ``(V, K)`` what ``texture`` is given, interpolated.
        label: Of its pixels.
        texture: Colours ``(N, 3)``, 0 to 1, of attributes ``(N, K)``; by default they are colours.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    attribute: np.ndarray
    label: int
    texture: Callable[[np.ndarray], np.ndarray] = _as_colour


def paint(
    background: np.ndarray, shapes: list[Shape], camera: CameraIntrinsics, light: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draw shapes; the nearer hides the farther, pixel by pixel.

    Args:
        background: ``(H, W, 3)`` colours, 0 to 1.
        shapes: What stands before it.
        camera: Of ``W`` x ``H`` pixels, without distortion.
        light: ``(3,)`` unit, camera frame, towards the light.

    Returns:
        ``(H, W, 3)`` float32 colours, 0 to 1, and ``(H, W)`` uint8 labels, 0 for the background.
    """
    colours = background.astype(np.float32).reshape(-1, 3).copy()
    labels = np.zeros(len(colours), dtype=np.uint8)
    depth = np.zeros(len(colours), dtype=np.float32)
    for shape in shapes:
        pixels, inverse, corners, weights = _covered(shape, camera)
        np.maximum.at(depth, pixels, inverse)
        front = inverse >= depth[pixels]
        pixels, corners, weights = pixels[front], corners[front], weights[front, :, None]
        normal = (shape.normals[corners] * weights).sum(1)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
        shade = AMBIENT + (1 - AMBIENT) * np.clip(normal @ light, 0, None)[:, None]
        attribute = (shape.attribute[corners] * weights).sum(1)
        colours[pixels] = shape.texture(attribute) * shade
        labels[pixels] = shape.label
    size = (camera.height, camera.width)
    return np.clip(colours, 0, 1).reshape(*size, 3), labels.reshape(size)


def _covered(shape: Shape, camera: CameraIntrinsics):
    """Pixels under each triangle that faces the camera.

    Returns:
        Index of the pixel ``(N,)``, inverse depth there ``(N,)`` [1/m], the triangle's vertices
        ``(N, 3)`` and their perspective-correct weights ``(N, 3)``.
    """
    z = shape.vertices[:, 2]
    inverse = 1 / np.maximum(z, NEAR)
    uv = shape.vertices[:, :2] * inverse[:, None] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    triangle = uv[shape.faces].astype(np.float32)
    a, b, c = triangle[:, 0], triangle[:, 1], triangle[:, 2]
    area = _cross(b - a, c - a)
    limit = np.array((camera.width - 1, camera.height - 1))
    low = np.clip(np.ceil(triangle.min(1)), 0, limit + 1).astype(np.int32)
    high = np.clip(np.floor(triangle.max(1)), -1, limit).astype(np.int32)
    extent = np.maximum(high - low + 1, 0)
    # Counter-clockwise from outside is a negative area where v points down.
    seen = (area < -1e-6) & (z[shape.faces] > NEAR).all(1)
    count = np.where(seen, extent[:, 0] * extent[:, 1], 0)
    face = np.repeat(np.arange(len(count), dtype=np.int32), count)
    step = np.arange(len(face), dtype=np.int32) - np.repeat(np.cumsum(count) - count, count)
    wide = extent[face, 0]
    u, v = low[face, 0] + step % wide, low[face, 1] + step // wide
    pixel = np.stack((u, v), axis=1).astype(np.float32)
    w0 = _cross((c - b)[face], pixel - b[face]) / area[face]
    w1 = _cross((a - c)[face], pixel - c[face]) / area[face]
    inside = (w0 >= 0) & (w1 >= 0) & (w0 + w1 <= 1)
    weights = np.stack((w0, w1, 1 - w0 - w1), axis=1)[inside]
    corners = shape.faces[face[inside]]
    weights *= inverse[corners].astype(np.float32)
    inverse_depth = weights.sum(1)
    pixels = v[inside] * camera.width + u[inside]
    return pixels, inverse_depth, corners, weights / inverse_depth[:, None]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """``(V, 3)`` unit normals, averaged over the faces about a vertex by their area."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(total, faces[:, k], normal)
    return total / (np.linalg.norm(total, axis=1, keepdims=True) + 1e-12)


def table_and_wall(
    camera: CameraIntrinsics, rotation: np.ndarray, position: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """``(H, W, 3)`` picture, 0 to 1, of a table in the world's plane z = 0 and what is behind.

    Args:
        camera: Which looks on.
        rotation, position: ``(3, 3)`` and ``(3,)`` of the camera in the world.
        rng: Of colours and textures.
    """
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
    slopes = camera.rays(np.stack((columns, rows), axis=-1).astype(float))
    rays = np.concatenate((slopes, np.ones((*slopes.shape[:2], 1))), axis=-1) @ rotation.T
    down = np.minimum(rays[..., 2:], -1e-6)
    ground = (position + rays * (-position[2] / down))[..., :2]
    edge = rng.uniform(0.5, 0.9)
    on_table = (rays[..., 2] < 0) & (np.abs(ground) < edge).all(-1)
    texture = _noise((512, 512), rng, (4, 16, 96))
    # To and fro through the texture, which has no seams then.
    grain = np.abs(((ground + 1) * rng.uniform(150, 400, 2)).astype(int) % 1022 - 511)
    pattern = texture[grain[..., 1], grain[..., 0]]
    wall = cv2.resize(_noise((120, 160), rng, (3, 9, 30)), (camera.width, camera.height))
    table_colour, wall_colour = (
        grey + rng.uniform(-0.15, 0.15, 3)
        for grey in (rng.uniform(0.25, 0.8), rng.uniform(0.2, 0.8))
    )
    strength = rng.uniform(0.1, 0.5, 2)
    return np.where(
        on_table[..., None],
        table_colour * (1 + strength[0] * pattern[..., None]),
        wall_colour * (1 + strength[1] * wall[..., None]),
    ).astype(np.float32)


def _noise(shape: tuple[int, int], rng: np.random.Generator, cells: tuple[int, ...]) -> np.ndarray:
    """Smooth noise of about -1 to 1 of ``cells`` cells along each side, summed."""
    layers = [
        cv2.resize(rng.uniform(-1, 1, (n, n)), shape[::-1], interpolation=cv2.INTER_CUBIC)
        for n in cells
    ]
    return np.sum(layers, axis=0) / len(cells) ** 0.5
