"""What generated pictures show: people, cameras around a table, a hand that moves an object."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from manip_core.camera import CameraIntrinsics
from manip_core.hand import LEFT, RIGHT, SIDES
from manip_model.config import YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_training.data.grasping import find_grasp, pose_hands
from manip_training.data.layout import FRAME_RATE, HEIGHT, WIDTH
from manip_training.data.primitives import PRIMITIVES

# Share of a sequence in which the hand comes and closes.
APPROACH = 0.25
LEFT_SHARE = 0.4
STANDOFF = np.array((0.01, 0.05, 0.0))  # [m], of a right hand before it comes
# Darkest and lightest skin, RGB.
SKIN = np.array(((0.36, 0.22, 0.16), (0.95, 0.76, 0.66)))
_FLIP = np.diag((-1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Person:
    """Shape values ``(10,)`` of a hand, and colours ``(3,)`` of skin and sleeve, 0 to 1."""

    shape: np.ndarray
    skin: np.ndarray
    sleeve: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Person":
        """Someone at random."""
        return cls(
            shape=np.clip(rng.normal(0, 0.8, 10), -2, 2).astype(np.float32),
            skin=SKIN[0] + (SKIN[1] - SKIN[0]) * rng.random() + rng.normal(0, 0.02, 3),
            sleeve=rng.uniform(0.1, 0.9, 3),
        )


@dataclass(frozen=True)
class Camera:
    """Intrinsics; rotation ``(3, 3)`` and position ``(3,)`` [m] of the camera in the world."""

    intrinsics: CameraIntrinsics
    rotation: np.ndarray
    position: np.ndarray

    @classmethod
    def draw(cls, bearing: float, rng: np.random.Generator) -> "Camera":
        """One that looks at the middle of the table from about ``bearing`` [rad].

        Its intrinsics are about those of DexYCB's RealSense D415, whose focal lengths are 613 and
        612 px.
        """
        focal = 613 * rng.uniform(0.99, 1.01)
        intrinsics = CameraIntrinsics(
            width=WIDTH,
            height=HEIGHT,
            fx=float(focal),
            fy=float(focal * rng.uniform(0.997, 1.0)),
            cx=float(0.5 * (WIDTH - 1) + rng.uniform(-8, 8)),
            cy=float(0.5 * (HEIGHT - 1) + rng.uniform(-8, 8)),
        )
        bearing = bearing + rng.uniform(-0.25, 0.25)
        rise, distance = rng.uniform(0.45, 1.05), rng.uniform(0.55, 0.8)
        level = np.array((np.cos(bearing), np.sin(bearing), 0.0))
        outward = np.cos(rise) * level + (0, 0, np.sin(rise))
        right = np.array((-level[1], level[0], 0.0))
        rotation = np.column_stack((right, np.cross(-outward, right), -outward))
        middle = np.array((0, 0, 0.17)) + rng.uniform(-0.03, 0.03, 3)
        return cls(intrinsics, rotation, middle + distance * outward)

    def sees(self, points: np.ndarray) -> np.ndarray:
        """Points ``(…, 3)`` of the world in the camera's frame."""
        return (points - self.position) @ self.rotation


@dataclass(frozen=True)
class Scene:
    """A sequence of T frames in the world: z up, the table at z = 0, lengths in [m].

    Attributes:
        side: Of the hand.
        classes: Index of each object's class, the grasped one first.
        objects: ``(T, n, 3, 4)`` poses.
        pose: ``(T, 16, 3)`` rotation vectors of the hand's own side, the wrist's in the world.
        wrist: ``(T, 3)`` position of the wrist.
        vertices, keypoints: ``(T, 778, 3)`` and ``(T, 21, 3)`` of the hand.
        seen: ``(T,)`` the hand is there.
    """

    side: str
    classes: list[int]
    objects: np.ndarray
    pose: np.ndarray
    wrist: np.ndarray
    vertices: np.ndarray
    keypoints: np.ndarray
    seen: np.ndarray


def rest_wrist(model: HandModel, shape: np.ndarray, side: str) -> np.ndarray:
    """``(3,)`` [m] where the wrist of an untranslated hand lies."""
    place = model.wrist(torch.as_tensor(shape)[None], torch.tensor([SIDES.index(side)]))
    return place[0].numpy()


def draw_scene(model: HandModel, person: Person, frames: int, rng: np.random.Generator) -> Scene:
    """A hand of either side comes, closes about one of three or four objects, and moves it.

    The first of four or more frames shows no hand.
    """
    side = LEFT if rng.random() < LEFT_SHARE else RIGHT
    classes = rng.choice(len(YCB_CLASSES), rng.integers(3, 5), replace=False).tolist()
    grasp = find_grasp(model, person.shape, PRIMITIVES[YCB_CLASSES[classes[0]]], rng)
    turns, centres = _path(frames, rng)
    poses = np.zeros((frames, len(classes), 3, 4))
    poses[:, 0] = np.concatenate((turns, centres[..., None]), axis=-1)
    for slot, index in enumerate(classes[1:], start=1):
        poses[:, slot] = _on_table(index, 2 * np.pi * slot / len(classes), rng)

    mirror = _FLIP if side == LEFT else np.eye(3)
    # The open hand comes along the back of the palm, +y, then the fingers close.
    share = np.arange(frames) / max(APPROACH * frames, 1)
    away = np.clip(1 - 2 * share, 0, 1)[:, None] * STANDOFF @ mirror
    closing = np.clip(2 * share - 1, 0, 1)[:, None, None]
    pose = grasp.opened + closing * (grasp.closed - grasp.opened)
    # A mirror turns the y and z of rotation vectors about.
    pose = pose * np.linalg.det(mirror) * np.diag(mirror)
    held, place = mirror @ grasp.rotation @ mirror, mirror @ grasp.position
    hand_turns = turns @ held.T
    pose[:, 0] = Rotation.from_matrix(hand_turns).as_rotvec()
    rest = rest_wrist(model, person.shape, side)
    wrist = centres + np.einsum("tij,tj->ti", hand_turns, rest - place + away)
    mesh = pose_hands(model, pose, person.shape, side)
    move = (wrist - rest)[:, None]
    seen = np.full(frames, True)
    seen[0] = frames < 4
    return Scene(
        side=side,
        classes=classes,
        objects=poses,
        pose=pose,
        wrist=wrist,
        vertices=mesh.vertices.numpy() + move,
        keypoints=mesh.joints.numpy() + move,
        seen=seen,
    )


def _path(frames: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Turns ``(T, 3, 3)`` and places ``(T, 3)`` of the grasped object.

    It rests until the hand has closed, then swings to and fro along a line and about an axis.
    """
    time = np.maximum(np.arange(frames) - APPROACH * frames, 0) / FRAME_RATE
    phase = rng.uniform(0, 0.5 * np.pi)
    swing = 0.5 * (np.cos(phase) - np.cos(rng.uniform(2.0, 8.0) * time + phase))
    upright = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi))
    start = Rotation.from_rotvec(rng.normal(0, 0.5, 3)) * upright
    axis = rng.normal(size=3)
    axis *= rng.uniform(0.1, 0.8) / np.linalg.norm(axis)
    turns = (Rotation.from_rotvec(swing[:, None] * axis) * start).as_matrix()
    line = rng.uniform((-0.08, -0.08, 0.0), (0.08, 0.08, 0.12))
    centre = rng.uniform((-0.06, -0.06, 0.16), (0.06, 0.06, 0.24))
    return turns, centre + swing[:, None] * line


def _on_table(index: int, bearing: float, rng: np.random.Generator) -> np.ndarray:
    """``(3, 4)`` pose of an object that stands on the table, about 25 cm from its middle."""
    distance, bearing = rng.uniform(0.18, 0.32), bearing + rng.uniform(-0.4, 0.4)
    turn = Rotation.from_euler("z", rng.uniform(0, 2 * np.pi)).as_matrix()
    height = 0.5 * PRIMITIVES[YCB_CLASSES[index]].size[2]
    place = (distance * np.cos(bearing), distance * np.sin(bearing), height)
    return np.column_stack((turn, place))
