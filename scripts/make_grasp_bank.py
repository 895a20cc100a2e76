"""Builds ``assets/hand/grasps.npz``: grasps of the primitives by hands of many shapes.

Power grasps come from ``manip_training.data.grasping``, which closes a hand about an object. For
pinches, thumb and index finger are made to touch, then opened by as much as a thing is thick. The
bank holds what the synthetic world needs to draw them: a row a grasp.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("manip_core", "manip_model", "manip_training")
sys.path[:0] = [str(ROOT / "src" / name) for name in PACKAGES]

from manip_core.hand import RIGHT, SIDES  # noqa: E402
from manip_model.config import YCB_CLASSES  # noqa: E402
from manip_model.hand_model import HandModel  # noqa: E402
from manip_model.rotations import rotvec_from_matrix  # noqa: E402
from manip_training.data.grasping import find_grasp, pose_hands  # noqa: E402
from manip_training.data.painter import vertex_normals  # noqa: E402
from manip_training.data.primitives import CYLINDER, PRIMITIVES, Primitive  # noqa: E402
from manip_training.synthetic.draw import Draw  # noqa: E402
from manip_training.synthetic.people import SHAPE_LIMIT  # noqa: E402
from manip_training.synthetic.poses import FAMILIES, TOUCHES, PoseSpace  # noqa: E402
from manip_training.synthetic.touching import SelfContact  # noqa: E402

# A grasp whose skin lies deeper in the object than this, or farther from it, is not kept [m].
DEEPEST, FARTHEST = 0.006, 0.002
# Things up to this thickness are pinched, too [m].
THICKEST = 0.055
PINCHES = ("pinch_index", "pinch_bent", "ok")
AT_ONCE, BATCHES, TRIES = 256, 40, 6
# How far the pads of a pinch press in, together [m], and how squarely they face each other.
PRESS = (0.0005, 0.003)
SQUARE = 0.7
# By how much the angles of a pinch change when it opens [rad]: index finger, the others, thumb.
OPENING = (1.1, 0.35, 0, 0, *(0.2, 0.1, 0, 0) * 3, 0.1, 0.5, 0, 0.3, 0.2)
COLUMNS = ("object", "shape", "opened", "closed", "rotation", "position")


def build(rounds: int, pinches: int, seed: int) -> dict[str, np.ndarray]:
    """``rounds`` power grasps of each object and ``pinches`` of each thin one, less what failed."""
    model = HandModel.open()
    rows = []
    for number in range(rounds):
        for index, name in enumerate(YCB_CLASSES):
            rng = np.random.default_rng((seed, number, index))
            shape = np.clip(rng.normal(0, 1, 10), -SHAPE_LIMIT, SHAPE_LIMIT).astype(np.float32)
            item = PRIMITIVES[name]
            grasp = find_grasp(model, shape, item, rng)
            skin = pose_hands(model, grasp.closed[None], shape).vertices[0].numpy()
            turn = Rotation.from_matrix(grasp.rotation).as_rotvec()
            row = (index, shape, grasp.opened[1:], grasp.closed[1:], turn, grasp.position)
            if holds(item, skin, grasp.rotation, grasp.position):
                rows.append(row)
    rows += find_pinches(model, pinches, seed)
    # In any order, so that a share of the rows is a share of both kinds.
    order = np.random.default_rng(seed).permutation(len(rows))
    return {
        name: np.array([rows[i][column] for i in order],
                       dtype=np.uint8 if name == "object" else np.float16)
        for column, name in enumerate(COLUMNS)
    }  # fmt: skip


def holds(item: Primitive, skin: np.ndarray, rotation: np.ndarray, position: np.ndarray) -> bool:
    """The skin ``(778, 3)`` touches the object and does not reach far into it."""
    away = item.distance((skin - position) @ rotation)
    return -DEEPEST < away.min() < FARTHEST


def find_pinches(model: HandModel, each: int, seed: int) -> list[tuple]:
    """Up to ``each`` rows for every object that is thin enough."""
    space = PoseSpace(model, "cpu")
    contact = SelfContact(model, space, "cpu")
    draw = Draw(AT_ONCE, torch.Generator().manual_seed(seed))
    rng = np.random.default_rng(seed)
    families = torch.tensor([list(FAMILIES).index(name) for name in PINCHES])
    thin = [i for i, name in enumerate(YCB_CLASSES) if min(PRIMITIVES[name].size) <= THICKEST]
    wanted = dict.fromkeys(thin, each)
    faces = model.faces.numpy()
    rows = []
    for _ in range(BATCHES):
        index = torch.tensor(thin)[draw.index(len(thin))]
        thick = torch.tensor([min(PRIMITIVES[YCB_CLASSES[i]].size) for i in index.tolist()])
        family = families[draw.index(len(families))]
        shape = draw.normal(10).clamp(-SHAPE_LIMIT, SHAPE_LIMIT)
        touch = torch.full_like(index, TOUCHES.index("index"))
        angles = space.angles(draw, family, family, draw.uniform(0, 0), 4)
        touching = contact.best(*contact.touch(angles, touch, shape), shape)
        apart = thick - draw.uniform(*PRESS)
        angles = opened_by(model, space, contact, touching, apart, shape)
        skins = skins_of(model, space.rotations(angles), shape)
        for row, item in enumerate(index.tolist()):
            if not wanted[item]:
                continue
            found = pinch(skins[row], faces, contact, PRIMITIVES[YCB_CLASSES[item]], rng)
            if found is None:
                continue
            wanted[item] -= 1
            pair = (wider(angles[row], 0.4), angles[row])
            vectors = [rotvec_from_matrix(space.rotations(pose)).numpy() for pose in pair]
            rotation, position = found
            turn = Rotation.from_matrix(rotation).as_rotvec()
            rows.append((item, shape[row].numpy(), *vectors, turn, position))
        if not any(wanted.values()):
            break
    return rows


def wider(angles: torch.Tensor, by) -> torch.Tensor:
    """Angles ``(…, 21)`` with index finger and thumb opened, ``by`` 1 farther than any thing."""
    return angles - by * torch.tensor(OPENING)


def opened_by(model, space, contact, angles, apart, shape) -> torch.Tensor:
    """Touching hands ``(B, 21)`` opened until their pads are ``apart`` ``(B,)`` [m]."""
    low, high = torch.zeros(len(angles), 1), torch.ones(len(angles), 1)
    for _ in range(10):
        middle = 0.5 * (low + high)
        skins = torch.from_numpy(skins_of(model, space.rotations(wider(angles, middle)), shape))
        thumb, finger = (skins[:, pad] for pad in pads_of(contact))
        near = ((thumb - finger).norm(dim=-1) < apart)[:, None]
        low, high = torch.where(near, middle, low), torch.where(near, high, middle)
    return wider(angles, low)


def pads_of(contact: SelfContact) -> tuple[int, int]:
    """Vertices of the pads of thumb and index finger."""
    return contact.pad, int(contact.targets[TOUCHES.index("index")])


def skins_of(model: HandModel, turns: torch.Tensor, shape: torch.Tensor) -> np.ndarray:
    """``(B, 778, 3)`` of hands with the wrist unturned."""
    size = len(turns)
    still = torch.eye(3).expand(size, 1, 3, 3)
    side = torch.full((size,), SIDES.index(RIGHT))
    mesh = model(torch.cat((still, turns), 1), shape, torch.zeros(size, 3), side)
    return mesh.vertices.numpy()


def pinch(skin, faces, contact, item: Primitive, rng) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotation and position of an object between the pads, if they hold it squarely."""
    pads = list(pads_of(contact))
    normals = vertex_normals(skin, faces)[pads]
    thumb, finger = skin[pads]
    apart = np.linalg.norm(finger - thumb)
    across = (finger - thumb) / apart
    if normals[0] @ across < SQUARE or normals[1] @ across > -SQUARE:
        return None
    if not PRESS[0] < min(item.size) - apart < 2 * PRESS[1]:
        return None
    axis = int(np.argmin(item.size))
    for _ in range(TRIES):
        # The thin axis lies across, the others at any angle about it.
        order = [axis, (axis + 1) % 3, (axis + 2) % 3]
        side = np.cross(across, rng.normal(size=3))
        side /= np.linalg.norm(side)
        rotation = np.empty((3, 3))
        rotation[:, order] = np.column_stack((across, side, np.cross(across, side)))
        free = np.array(item.size) * rng.uniform(-0.4, 0.4, 3)
        free[axis] = 0
        if item.kind == CYLINDER and axis < 2:
            free[:2] = 0
        position = 0.5 * (thumb + finger) + rotation @ free
        if holds(item, skin, rotation, position):
            return rotation, position
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "assets/hand/grasps.npz")
    parser.add_argument("--rounds", type=int, default=36)
    parser.add_argument("--pinches", type=int, default=36)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        bank = build(args.rounds, args.pinches, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **bank)
    size = args.out.stat().st_size
    print(f"{len(bank['object'])} grasps, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
