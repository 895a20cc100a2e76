"""Plausible grasps of boxes and cylinders: a hand about an object, fingers closed onto its surface.

All in the rest frame of a right hand: fingers along -x, palm facing -y, thumb on the side of +z.
A left hand grasps in the mirror.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from manip_core.hand import RIGHT, SIDES
from manip_core.hand_skeleton import FINGERS
from manip_model.hand_model import HandMesh, HandModel
from manip_model.hand_regions import MESH_CHAINS, NUM_MESH_JOINTS
from manip_model.rotations import matrix_from_rotvec
from manip_training.data.primitives import Primitive

THUMB = FINGERS.index("thumb")
# Largest flexion of a finger's three joints [rad]; ordinary ranges of motion.
FLEXION = np.radians((80.0, 100.0, 65.0))
# A finger's first joint closes with a slightly bent finger, then the others follow.
FIRST_BEND = 0.25
STEPS = 24
THUMB_CANDIDATES = 192
# How far apart skin of thumb and fingers stays [m], and the tip of an open thumb off the object.
CLEARANCE = 0.006
THUMB_CLEARANCE = 0.02


@dataclass(frozen=True)
class Grasp:
    """A hand holding an object, in the right hand's rest frame with the wrist unturned.

    Attributes:
        opened, closed: ``(16, 3)`` rotation vectors of all joints before and in the grasp, the
            wrist's zero.
        rotation, position: ``(3, 3)`` and ``(3,)`` [m] of the object.
    """

    opened: np.ndarray
    closed: np.ndarray
    rotation: np.ndarray
    position: np.ndarray


def pose_hands(
    model: HandModel, pose: np.ndarray, shape: np.ndarray, side: str = RIGHT
) -> HandMesh:
    """Hands ``(B, …)`` of rotation vectors ``(B, 16, 3)`` and one shape ``(10,)``, untranslated."""
    size = len(pose)
    with torch.no_grad():
        return model(
            matrix_from_rotvec(torch.as_tensor(pose, dtype=torch.float32)),
            torch.as_tensor(shape, dtype=torch.float32).expand(size, 10),
            torch.zeros(size, 3),
            torch.full((size,), SIDES.index(side)),
        )


def find_grasp(
    model: HandModel, shape: np.ndarray, item: Primitive, rng: np.random.Generator
) -> Grasp:
    """A grasp drawn at random: where the object lies in the palm, how hard each finger presses.

    Args:
        model: The hand.
        shape: ``(10,)`` its shape.
        item: The object.
        rng: Of everything that is drawn.
    """
    parts = model.weights.argmax(1).numpy()
    opened = open_pose(rng)
    hand = pose_hands(model, opened[None], shape)
    vertices, origins = hand.vertices[0].numpy(), hand.origins[0].numpy()
    rotation = _turn(item, rng)
    position = _into_palm(vertices, origins, parts, item, rotation, rng)

    def reach(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices ``(B, 778, 3)`` of poses and their distances ``(B, 778)`` from the object."""
        posed = pose_hands(model, poses, shape).vertices.numpy()
        return posed, item.distance((posed - position) @ rotation)

    press = rng.uniform(-0.001, 0.0025, len(FINGERS))
    closed = opened.copy()
    bend = np.zeros((len(FINGERS), 2))
    for stage in (0, 1):
        bend[:, stage] = first_touch(reach, closed, bend, stage, parts, press)
        flex(closed[None], bend[None])
    for pose, pressed in ((opened, -THUMB_CLEARANCE), (closed, press[THUMB])):
        pose[MESH_CHAINS[THUMB]] = place_thumb(reach, pose, vertices, origins, parts, pressed, rng)
    return Grasp(opened, closed, rotation, position)


def open_pose(rng: np.random.Generator) -> np.ndarray:
    pose = np.zeros((NUM_MESH_JOINTS, 3))
    for finger, spread in zip(range(1, 5), (-0.10, 0.0, 0.06, 0.12), strict=True):
        first, *others = MESH_CHAINS[finger]
        pose[first] = 0, spread * rng.uniform(0.3, 1.2), 0
        pose[others, 2] = rng.uniform(0.0, 0.15)
    return pose


def _turn(item: Primitive, rng: np.random.Generator) -> np.ndarray:
    """Object to hand: z across the palm either way; the narrower side along the fingers if either
    way fits, so that they reach around it; some tilt."""
    x, y, _ = item.size
    quarter = rng.integers(2) if max(x, y) < 0.09 else int(x > y)
    about_z = Rotation.from_euler("z", quarter * np.pi / 2 + rng.integers(2) * np.pi)
    upside = Rotation.from_euler("x", rng.integers(2) * np.pi)
    tilt = Rotation.from_rotvec(rng.normal(0, (0.12, 0.12, 0.12)))
    return (tilt * upside * about_z).as_matrix()


def _into_palm(vertices, origins, parts, item, rotation, rng) -> np.ndarray:
    """Where the object's centre lies: before the palm, as near as it touches or almost does."""
    palm = vertices[np.isin(parts, [0, *MESH_CHAINS[1:, 0]])]
    knuckles = origins[MESH_CHAINS[1:, 0]].mean(axis=0)
    along = rng.uniform(0.75, 1.1)
    position = origins[0] + along * (knuckles - origins[0])
    position[2] += rng.uniform(-0.015, 0.015) + rng.uniform(-0.3, 0.3) * max(item.size[2] - 0.08, 0)
    gap = rng.uniform(-0.001, 0.004)
    far, near = position[1] - 0.3, position[1]
    for _ in range(16):
        middle = 0.5 * (far + near)
        position[1] = middle
        if item.distance((palm - position) @ rotation).min() < gap:
            near = middle
        else:
            far = middle
    position[1] = far
    return position


def flex(poses: np.ndarray, bend: np.ndarray) -> None:
    """Set the flexion of the fingers, not the thumb, of poses ``(B, 16, 3)``.

    Args:
        poses: Changed in place.
        bend: ``(B, 5, 2)`` 0 to 1: of the first joint, and of the two others beyond what the first
            brings along.
    """
    for finger in range(1, len(FINGERS)):
        first, second, third = MESH_CHAINS[finger]
        knuckle, others = bend[:, finger, 0], bend[:, finger, 1]
        others = FIRST_BEND * knuckle + (1 - FIRST_BEND * knuckle) * others
        poses[:, first, 2] = FLEXION[0] * knuckle
        poses[:, second, 2] = FLEXION[1] * others
        poses[:, third, 2] = FLEXION[2] * others


def first_touch(reach, pose, bend, stage, parts, press) -> np.ndarray:
    """``(5,)`` how far each finger bends until it presses in, or as far as it goes.

    Two passes over ``STEPS`` poses, the second between the neighbours of what the first found. All
    fingers bend at once, for they do not touch each other.
    """
    low, high = np.zeros(len(FINGERS)), np.ones(len(FINGERS))
    for _ in range(2):
        steps = low + (high - low) * np.linspace(0, 1, STEPS)[:, None]
        bends = np.repeat(bend[None], STEPS, axis=0)
        bends[:, :, stage] = steps
        poses = np.repeat(pose[None], STEPS, axis=0)
        flex(poses, bends)
        _, away = reach(poses)
        for finger in range(1, len(FINGERS)):
            rows = np.isin(parts, MESH_CHAINS[finger])
            pressed = away[:, rows].min(axis=1) < -press[finger]
            stop = int(pressed.argmax()) if pressed.any() else STEPS - 1
            before = max(stop - 1, 0)
            low[finger], high[finger] = steps[before, finger], steps[stop, finger]
    return low


def place_thumb(reach, pose, vertices, origins, parts, press, rng) -> np.ndarray:
    """``(3, 3)`` rotation vectors of the thumb: the best of many drawn.

    Best is a tip that presses in as far as asked for, nothing deeper in the object or in the other
    fingers than skin gives way, and little bending otherwise.
    """
    chain = MESH_CHAINS[THUMB]
    base = origins[chain[0]]
    tip = vertices[parts == chain[2]].mean(axis=0)
    direction = (tip - base) / np.linalg.norm(tip - base)
    # About the first axis the thumb leaves the palm's plane, about the second it nears the fingers.
    oppose = np.cross(direction, (0.0, -1.0, 0.0))
    oppose /= np.linalg.norm(oppose)
    adduct = np.array((0.0, -1.0, 0.0))
    count = THUMB_CANDIDATES
    angles = rng.uniform((-0.5, -0.7, 0.0, 0.0), (1.1, 0.7, 0.8, 1.1), (count, 4))
    bending = oppose + adduct
    bending /= np.linalg.norm(bending)
    poses = np.repeat(pose[None], count, axis=0)
    poses[:, chain[0]] = angles[:, :1] * oppose + angles[:, 1:2] * adduct
    poses[:, chain[1]] = angles[:, 2:3] * bending
    poses[:, chain[2]] = angles[:, 3:] * bending
    posed, away = reach(poses)
    thumb, end = np.isin(parts, chain), parts == chain[2]
    others = np.isin(parts, MESH_CHAINS[1:])
    gap = np.linalg.norm(
        posed[:, thumb][:, ::2, None] - posed[:1, None, others][:, :, ::4], axis=-1
    )
    cost = (
        np.abs(away[:, end].min(axis=1) + press)
        + 3 * np.clip(-0.003 - away[:, thumb].min(axis=1), 0, None)
        + 2 * np.clip(CLEARANCE - gap.min(axis=(1, 2)), 0, None)
        + 0.002 * (angles**2).sum(axis=1)
    )
    return poses[cost.argmin(), chain]
