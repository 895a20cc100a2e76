"""Retargeting, beside its peers: speed on 22 joints, and what the robot's hand does.

Real grasps (DexYCB, 30 Hz) go through this suite's retargeting and through dex-retargeting (vector
and DexPilot) and dexi-rs, which take turns sequence by sequence in one run. All contestants get the
same keypoints in the same palm frame, the same robot, and one shared scale and wrist point. Then the
real video, where an earlier benchmark has left the observations.

``python tests/bench/bench_retarget.py [--sequences N]``
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [
    str(ROOT / "tests"),
    str(ROOT / "src/manip_core"),
    str(ROOT / "src/manip_retargeting"),
]

from bench.peers import client  # noqa: E402
from manip_core import robot_model  # noqa: E402
from manip_core.hand import Hand, palm_rotation  # noqa: E402
from manip_retargeting.hand_map import FINGERS, HandScale  # noqa: E402
from manip_retargeting.measures import PostureMeter, contact_from_distance  # noqa: E402
from manip_retargeting.retargeter import ARM_DOFS, Retargeter  # noqa: E402

DATA = Path(os.environ.get("MANIP_DATA", ROOT / ".." / "shared" / "data"))
DEXYCB = DATA / "dexycb_motion" / "dexycb_right_subjects_01_07.npz"
DT = 1 / 30
WARM_UP = 30  # solves on a sequence's first frame before it starts, for every contestant
TIPS, THUMB_TIP = [4, 8, 12, 16], 4
HUMAN_PINCH, HUMAN_OPEN = 0.020, 0.050  # thumb-finger tip distances [m]; DexPilot lets go at 0.050
ROBOT_PINCH = 0.010  # surface distance of the robot's tips that counts as closed [m]
TOLERANCE = 1e-6  # penetration [m] and limit excess [rad] below this are rounding


def load_dexycb(sequences: int | None, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints ``(n, 21, 3)`` [m] of all, or a seeded choice of, sequences; and their starts."""
    if not DEXYCB.exists():
        raise FileNotFoundError(f"{DEXYCB} is not there; MANIP_DATA names the folder with the data")
    data = np.load(DEXYCB)
    valid = data["valid"]
    keypoints, sequence = data["joints_mp21"][valid].astype(float), data["seq"][valid]
    names = np.unique(sequence)
    if sequences is not None and sequences < len(names):
        names = np.random.default_rng(seed).choice(names, sequences, replace=False)
    parts = [keypoints[sequence == name] for name in names]
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])


def hand_of(keypoints: np.ndarray) -> Hand:
    contact = contact_from_distance(keypoints)
    return Hand(stamp=0.0, keypoints=keypoints, contact=contact, confidence=1.0, tracked=True)


def run_sequence(retargeter: Retargeter, hands: list[Hand]) -> tuple[np.ndarray, list[float]]:
    """Joint angles ``(n, 22)`` [rad] and milliseconds of each frame, engaged at home."""
    engaged = retargeter.engage(robot_model.home(), hands[0])
    if engaged.reason:
        raise RuntimeError(engaged.reason)
    for _ in range(WARM_UP):
        retargeter.solve(hands[0], DT)
    q, ms = [], []
    for hand in hands:
        start = time.perf_counter()
        result = retargeter.solve(hand, DT)
        ms.append(1e3 * (time.perf_counter() - start))
        q.append(result.q)
    return np.array(q), ms


def quality(q: np.ndarray, keypoints: np.ndarray, points: np.ndarray, scale: HandScale) -> dict:
    """Figures of joint angles ``(n, 22)`` for human hands ``(n, 21, 3)`` [m]."""
    meter = PostureMeter()
    postures = [meter.measure(row) for row in q]
    tips = np.array([posture.tips for posture in postures])
    wanted = scale.wrist + scale.tips[:, None] * points[:, TIPS]
    gaps = np.array([posture.gaps for posture in postures])
    human = np.linalg.norm(keypoints[:, TIPS[1:]] - keypoints[:, [THUMB_TIP]], axis=-1)
    pinched, opened = human < HUMAN_PINCH, human > HUMAN_OPEN
    return {
        "tip_error_mm": 1e3 * np.linalg.norm(tips - wanted, axis=-1).mean(),
        "pinch_closed_fraction": (gaps[pinched] <= ROBOT_PINCH).mean() if pinched.any() else np.nan,
        "false_pinch_fraction": (gaps[opened] <= ROBOT_PINCH).mean(),
        "self_collisions": sum(posture.penetration > TOLERANCE for posture in postures),
        "limit_violations": sum(posture.limit_excess > TOLERANCE for posture in postures),
    }


def bench_grasps(sequences: int | None = None, say=print) -> dict[str, float]:
    """DexYCB, beside the peers; a flat dict of figures."""
    keypoints, starts = load_dexycb(sequences)
    points = np.array([(rows - rows[0]) @ palm_rotation(rows) for rows in keypoints])
    hands = [hand_of(rows) for rows in keypoints]
    whole, hand_only = Retargeter(), Retargeter(hand_only=True)
    # One scale for all contestants: this suite's default, the mean over the fingers.
    shared = HandScale(tips=np.full(4, whole.scale.tips[0]), wrist=whole.scale.wrist)
    whole.scale = hand_only.scale = shared
    q = {name: [] for name in ("", "hand_only")}
    ms = {name: [] for name in ("", "hand_only", *client.NAMES)}
    urdf = client.hand_urdf(robot_model.load_urdf(), robot_model.PALM_FRAME, shared.wrist)
    with tempfile.TemporaryDirectory() as folder:
        peers = client.Peers(
            Path(folder),
            urdf,
            points,
            starts,
            tips=[robot_model.TIP_FRAMES[finger] for finger in FINGERS],
            joints=list(robot_model.HAND_JOINTS),
            scale=float(shared.tips[0]),
        )
        for i in range(len(starts) - 1):
            rows = hands[starts[i] : starts[i + 1]]
            for name, retargeter in (("", whole), ("hand_only", hand_only)):
                answer, spent = run_sequence(retargeter, rows)
                q[name].append(answer)
                ms[name] += spent
            for name in client.NAMES:
                ms[name] += peers.run(name, i)
            if i % 50 == 49:
                say(f"  {i + 1} of {len(starts) - 1} sequences")
        fingers = peers.finish()
    q = {name: np.concatenate(parts) for name, parts in q.items()}
    for name, hand_q in fingers.items():
        for suffix, rows in (("", hand_q), ("_filtered", client.filtered(hand_q, starts))):
            arm = np.tile(robot_model.home()[:ARM_DOFS], (len(rows), 1))
            q[name + suffix] = np.concatenate((arm, rows), axis=1)
    figures = {
        "grasp_frames": len(keypoints),
        "retarget_ms_p50": np.percentile(ms[""], 50),
        "retarget_ms_p99": np.percentile(ms[""], 99),
        "retarget_hand_only_ms_p50": np.percentile(ms["hand_only"], 50),
    }
    ours = np.mean(ms["hand_only"])
    dex = min(np.mean(ms["dex_vector"]), np.mean(ms["dexpilot"]))
    figures["retarget_speedup_vs_dex_retargeting"] = dex / ours
    figures["retarget_speedup_vs_dexi_rs"] = np.mean(ms["dexi_rs"]) / ours
    for name, rows in q.items():
        for key, value in quality(rows, keypoints, points, shared).items():
            figures[f"grasp_{key}_{name}".rstrip("_")] = value
    return {key: float(value) for key, value in figures.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sequences", type=int, help="so many of the 350, chosen by a fixed seed")
    figures = bench_grasps(parser.parse_args().sequences)
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
