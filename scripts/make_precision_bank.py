"""Builds ``assets/hand/precision_grasps.npz``: grasps with the fingertips, a row a grasp.

``assets/hand/grasps.npz`` has those in the palm, and pinches; the columns are the same.
``assets/hand/training_grasps.npz`` (``--rounds 12 --seed 1``) holds more, to learn from alone, and
``assets/hand/training_grasps_mixed.npz`` (``--rounds 13 --seed 202 --power 2``) more still, of
both kinds.
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

from manip_model.config import YCB_CLASSES  # noqa: E402
from manip_model.hand_model import HandModel  # noqa: E402
from manip_model.hand_regions import MESH_CHAINS  # noqa: E402
from manip_training.data.grasping import THUMB, Grasp, find_grasp, pose_hands  # noqa: E402
from manip_training.data.precision import find_lateral, find_precision  # noqa: E402
from manip_training.data.primitives import PRIMITIVES, Primitive  # noqa: E402
from manip_training.synthetic.people import SHAPE_LIMIT  # noqa: E402

# A grasp whose skin lies deeper in the object than this, or a finger of it farther from it, is not
# kept [m]; in the palm, its skin.
DEEPEST, FARTHEST, FARTHEST_SKIN = 0.006, 0.003, 0.002
# Fingers that take part beside the thumb; none for the side of the index finger.
STYLES = ((1, 2, 3, 4), (1, 2, 3, 4), (1, 2), (1,), (), ())


def build(rounds: int, seed: int, power: int) -> dict[str, np.ndarray]:
    """``rounds`` of each style for each object, and of ``power`` grasps in the palm, less those
    that fail."""
    model = HandModel.open()
    rows = []
    for number in range(rounds):
        for index, name in enumerate(YCB_CLASSES):
            for style, fingers in enumerate(STYLES + (None,) * power):
                rng = np.random.default_rng((seed, number, index, style))
                shape = np.clip(rng.normal(0, 1, 10), -SHAPE_LIMIT, SHAPE_LIMIT).astype(np.float32)
                item = PRIMITIVES[name]
                if fingers is None:
                    grasp = find_grasp(model, shape, item, rng)
                elif fingers:
                    grasp = find_precision(model, shape, item, fingers, rng)
                else:
                    grasp = find_lateral(model, shape, item, rng)
                if grasp is None or not holds(model, shape, item, grasp, fingers):
                    continue
                turn = Rotation.from_matrix(grasp.rotation).as_rotvec()
                rows.append(
                    (index, shape, grasp.opened[1:], grasp.closed[1:], turn, grasp.position)
                )
    order = np.random.default_rng(seed).permutation(len(rows))
    names = ("object", "shape", "opened", "closed", "rotation", "position")
    return {
        name: np.array([rows[i][column] for i in order],
                       dtype=np.uint8 if name == "object" else np.float16)
        for column, name in enumerate(names)
    }  # fmt: skip


def holds(
    model: HandModel,
    shape: np.ndarray,
    item: Primitive,
    grasp: Grasp,
    fingers: tuple[int, ...] | None,
) -> bool:
    """Thumb and fingers, or in the palm the skin, touch the object and nothing reaches far into
    it."""
    skin = pose_hands(model, grasp.closed[None], shape).vertices[0].numpy()
    away = item.distance((skin - grasp.position) @ grasp.rotation)
    if fingers is None:
        return -DEEPEST < away.min() < FARTHEST_SKIN
    parts = model.weights.argmax(1).numpy()
    touching = (THUMB, *(fingers or (1,)))
    thumb, *others = (away[np.isin(parts, MESH_CHAINS[f])].min() for f in touching)
    # Of four fingers one may be too short.
    others = sorted(others)[:3]
    return away.min() > -DEEPEST and max(thumb, *others) < FARTHEST


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "assets/hand/precision_grasps.npz")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--power", type=int, default=0, help="grasps in the palm, of each object")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with torch.no_grad():
        bank = build(args.rounds, args.seed, args.power)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **bank)
    size = args.out.stat().st_size
    print(f"{len(bank['object'])} grasps, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
