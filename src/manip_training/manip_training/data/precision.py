"""Grasps with the fingertips: by four fingers, two or one, or against the side of the index finger.

As in :mod:`manip_training.data.grasping`, whose hands these are, fingers close onto the surface;
but the object lies before the fingertips instead of in the palm.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from manip_core.hand_skeleton import FINGERS
from manip_model.hand_model import HandModel
from manip_model.hand_regions import MESH_CHAINS
from manip_training.data.grasping import (
    THUMB,
    THUMB_CLEARANCE,
    Grasp,
    first_touch,
    flex,
    open_pose,
    place_thumb,
    pose_hands,
)
from manip_training.data.primitives import Primitive

# Widest that fingertips span, and thickest that a thumb holds against the index finger's side [m].
WIDEST, THICKEST = 0.085, 0.036
# Where the fingertips meet when base and middle joints bend by some 50 degrees: before the knuckles
# and below them [m].
_AHEAD, _BELOW = 0.02, 0.072
# Least between the knuckles and the object [m].
_CLEAR = 0.038
# How far the outer joints bend beforehand, 0 to 1; by how much the first ones open.
_BENT, _OPENED = (0.2, 0.45), 0.35
# How far fingers that do not take part close.
_IDLE = 0.5
_FLAT = 0.5


def find_precision(
    model: HandModel,
    shape: np.ndarray,
    item: Primitive,
    fingers: tuple[int, ...],
    rng: np.random.Generator,
) -> Grasp | None:
    """A grasp with thumb and fingertips; ``None`` where the object is too wide for it.

    Args:
        model: The hand.
        shape: ``(10,)`` its shape.
        item: The object.
        fingers: Rows of ``FINGERS`` that take part beside the thumb.
        rng: Of everything that is drawn.
    """
    rotation = _turn(item, rng)
    if rotation is None:
        return None
    parts = model.weights.argmax(1).numpy()
    opened = open_pose(rng)
    hand = pose_hands(model, opened[None], shape)
    vertices, origins = hand.vertices[0].numpy(), hand.origins[0].numpy()
    reaches = np.abs(rotation) @ (0.5 * np.array(item.size))
    knuckles = origins[MESH_CHAINS[list(fingers), 0]].mean(axis=0)
    below = max(_BELOW, _CLEAR + reaches[1]) + rng.uniform(-0.004, 0.008)
    position = np.array(
        (
            knuckles[0] - _AHEAD + reaches[0] + rng.uniform(-0.008, 0.008),
            knuckles[1] - below,
            knuckles[2] + rng.uniform(-0.006, 0.006),
        )
    )

    def reach(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        posed = pose_hands(model, poses, shape).vertices.numpy()
        return posed, item.distance((posed - position) @ rotation)

    press = rng.uniform(-0.0005, 0.002, len(FINGERS))
    bend = np.zeros((len(FINGERS), 2))
    bend[:, 1] = rng.uniform(*_BENT)
    touch = first_touch(reach, opened, bend, 0, parts, press)
    idle = [f for f in range(1, len(FINGERS)) if f not in fingers]
    touch[idle] *= _IDLE
    return _grasp(reach, opened, bend, touch, press, (vertices, origins, parts), rotation,
                  position, rng)  # fmt: skip


def find_lateral(
    model: HandModel, shape: np.ndarray, item: Primitive, rng: np.random.Generator
) -> Grasp | None:
    """A thin object between the thumb and the side of the index finger, as a key is held; ``None``
    where it is too thick."""
    axis = int(np.argmin(item.size))
    if item.size[axis] > THICKEST:
        return None
    parts = model.weights.argmax(1).numpy()
    opened = open_pose(rng)
    bend = np.zeros((len(FINGERS), 2))
    bend[:, 1] = rng.uniform(0.5, 0.8)
    touch = np.full(len(FINGERS), rng.uniform(0.4, 0.7))
    closed = opened.copy()
    flex(closed[None], np.column_stack((touch, bend[:, 1]))[None])
    hand = pose_hands(model, closed[None], shape)
    vertices, origins = hand.vertices[0].numpy(), hand.origins[0].numpy()
    # The thin side faces the thumb (+z); the longest points ahead, as far as it likes.
    long = int(np.argmax(item.size))
    rotation = np.zeros((3, 3))
    rotation[2, axis], rotation[0, long] = 1.0, -1.0
    other = 3 - axis - long
    rotation[:, other] = np.cross(rotation[:, (other + 1) % 3], rotation[:, (other + 2) % 3])
    spin = Rotation.from_euler("z", rng.uniform(-0.9, 0.9))
    rotation = (spin * Rotation.from_rotvec(rng.normal(0, 0.08, 3))).as_matrix() @ rotation
    side = origins[MESH_CHAINS[FINGERS.index("index"), 1:]].mean(axis=0)
    ahead = rng.uniform(0.0, 0.35) * item.size[long]
    position = side + ahead * rotation[:, long]
    fingers = np.isin(parts, MESH_CHAINS[1:])
    near, far = position[2], position[2] + 0.2
    gap = rng.uniform(-0.001, 0.001)
    for _ in range(16):
        position[2] = 0.5 * (near + far)
        if item.distance((vertices[fingers] - position) @ rotation).min() < gap:
            near = position[2]
        else:
            far = position[2]
    position[2] = far

    def reach(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        posed = pose_hands(model, poses, shape).vertices.numpy()
        return posed, item.distance((posed - position) @ rotation)

    press = rng.uniform(-0.0005, 0.002, len(FINGERS))
    return _grasp(reach, opened, bend, touch, press, (vertices, origins, parts), rotation,
                  position, rng)  # fmt: skip


def _grasp(reach, opened, bend, touch, press, hand, rotation, position, rng) -> Grasp:
    """The hand that touches, and the same with first joints and thumb opened."""
    vertices, origins, parts = hand
    closed = opened.copy()
    for pose, first, pressed in (
        (closed, touch, press[THUMB]),
        (opened, np.maximum(touch - _OPENED, 0), -THUMB_CLEARANCE),
    ):
        flex(pose[None], np.column_stack((first, bend[:, 1]))[None])
        pose[MESH_CHAINS[THUMB]] = place_thumb(reach, pose, vertices, origins, parts, pressed, rng)
    return Grasp(opened, closed, rotation, position)


def _turn(item: Primitive, rng: np.random.Generator) -> np.ndarray | None:
    """Object to hand: a side that fingers can span along x, from thumb to fingers. The longer of
    the others lies across, along z; but things that are flat may lie with their rim in the hand."""
    size = np.array(item.size)
    spanned = [axis for axis in range(3) if size[axis] <= WIDEST]
    if not spanned:
        return None
    thin = int(size.argmin())
    flat = size[thin] < _FLAT * np.median(size)
    rims = [axis for axis in spanned if axis != thin]
    if flat and rims and rng.random() < 0.6:
        across, normal = int(rng.choice(rims)), thin
    else:
        across = thin if rng.random() < 0.7 and thin in spanned else int(rng.choice(spanned))
        normal = min((axis for axis in range(3) if axis != across), key=lambda axis: size[axis])
    rotation = np.zeros((3, 3))
    rotation[0, across], rotation[1, normal] = rng.choice((-1.0, 1.0), 2)
    last = 3 - across - normal
    rotation[:, last] = np.cross(rotation[:, (last + 1) % 3], rotation[:, (last + 2) % 3])
    return Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix() @ rotation
