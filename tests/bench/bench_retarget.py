"""Retargeting, beside its peers: speed on 22 joints, and what the robot's hand does.

Real grasps (DexYCB, 30 Hz) go through this suite's retargeting and through dex-retargeting (vector
and DexPilot) and dexi-rs, which take turns sequence by sequence in one run. All contestants get the
same keypoints in the same palm frame, the same robot, and one shared scale and wrist point. The
peers would take ten minutes over all sequences, so they do a hundred, chosen by a fixed seed. Then
the gestures of a real video.

Speed beside the peers is that of the hand alone, as that is all they do, median against median.

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
from manip_retargeting.measures import PostureMeter, bends, contact_from_distance  # noqa: E402
from manip_retargeting.retargeter import ARM_DOFS, Retargeter  # noqa: E402

DATA = Path(os.environ.get("MANIP_DATA", ROOT / ".." / "shared" / "data"))
DEXYCB = DATA / "dexycb_motion" / "dexycb_right_subjects_01_07.npz"
VIDEO = DATA / "real_video"
COMPARED = 100
DT = 1 / 30
WARM_UP = 30  # solves on a sequence's first frame before it starts, for every contestant
TIPS, THUMB_TIP = [4, 8, 12, 16], 4
HUMAN_PINCH, HUMAN_OPEN = 0.020, 0.050  # thumb-finger tip distances [m]; DexPilot lets go at 0.050
ROBOT_PINCH = 0.010  # surface distance of the robot's tips that counts as closed [m]
TOLERANCE = 1e-6  # penetration [m] and limit excess [rad] below this are rounding


def load_dexycb(chosen: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints ``(n, 21, 3)`` [m] of all sequences, a seeded choice first, and their starts."""
    if not DEXYCB.exists():
        raise FileNotFoundError(f"{DEXYCB} is not there; MANIP_DATA names the folder with the data")
    data = np.load(DEXYCB)
    valid = data["valid"]
    keypoints, sequence = data["joints_mp21"][valid].astype(float), data["seq"][valid]
    names = np.random.default_rng(seed).permutation(np.unique(sequence))
    names = [*names[:chosen], *sorted(names[chosen:])]
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


def bench_grasps(compared: int = COMPARED, say=print) -> dict[str, float]:
    """DexYCB, all sequences; on ``compared`` of them, chosen by a fixed seed, beside the peers.

    Returns:
        Figures by id. Errors and pinches (``grasp_tip_error_mm``, ``grasp_pinch_closed_fraction``,
        ``grasp_false_pinch_fraction``) are those of the compared sequences, for all contestants;
        this suite's collisions and limit violations are counted over all sequences.
    """
    keypoints, starts = load_dexycb(compared)
    points = np.array([(rows - rows[0]) @ palm_rotation(rows) for rows in keypoints])
    hands = [hand_of(rows) for rows in keypoints]
    compared = min(compared, len(starts) - 1)
    whole, hand_only = Retargeter(), Retargeter(hand_only=True)
    # One scale for all contestants: this suite's default, the mean over the fingers.
    shared = HandScale(tips=np.full(4, whole.scale.tips[0]), wrist=whole.scale.wrist)
    whole.scale = hand_only.scale = shared
    q, ms = [], {name: [] for name in ("whole", "hand_only", *client.NAMES)}
    urdf = client.hand_urdf(robot_model.load_urdf(), robot_model.PALM_FRAME, shared.wrist)
    end = starts[compared]
    with tempfile.TemporaryDirectory() as folder:
        peers = client.Peers(
            Path(folder),
            urdf,
            points[:end],
            starts[: compared + 1],
            tips=[robot_model.TIP_FRAMES[finger] for finger in FINGERS],
            joints=list(robot_model.HAND_JOINTS),
            scale=float(shared.tips[0]),
        )
        for i in range(compared):
            rows = hands[starts[i] : starts[i + 1]]
            answer, spent = run_sequence(whole, rows)
            q.append(answer)
            ms["whole"] += spent
            ms["hand_only"] += run_sequence(hand_only, rows)[1]
            for name in client.NAMES:
                ms[name] += peers.run(name, i)
            if i % 20 == 19:
                say(f"  {i + 1} of {compared} sequences beside the peers")
        fingers = peers.finish()
    for i in range(compared, len(starts) - 1):
        answer, spent = run_sequence(whole, hands[starts[i] : starts[i + 1]])
        q.append(answer)
        ms["whole"] += spent
    q = np.concatenate(q)
    p50 = {name: np.median(times) for name, times in ms.items()}
    figures = {
        "retarget_ms_p50": p50["whole"],
        "retarget_ms_p99": np.percentile(ms["whole"], 99),
        "retarget_hand_only_ms_p50": p50["hand_only"],
        **{f"retarget_ms_p50_{name}": p50[name] for name in client.NAMES},
        "retarget_speedup_vs_dex_retargeting": min(p50["dex_vector"], p50["dexpilot"])
        / p50["hand_only"],
        "retarget_speedup_vs_dexi_rs": p50["dexi_rs"] / p50["hand_only"],
        "grasp_frames": len(keypoints),
        "grasp_frames_compared": end,
    }
    contestants = {"": q[:end]}
    arm = np.tile(robot_model.home()[:ARM_DOFS], (end, 1))
    for name, rows in fingers.items():
        contestants[f"_{name}"] = np.concatenate((arm, rows), axis=1)
        slow = client.filtered(rows, starts[: compared + 1])
        contestants[f"_{name}_filtered"] = np.concatenate((arm, slow), axis=1)
    for name, rows in contestants.items():
        for key, value in quality(rows, keypoints[:end], points[:end], shared).items():
            figures[f"grasp_{key}{name}"] = value
    rest = quality(q[end:], keypoints[end:], points[end:], shared) if end < len(q) else {}
    for key in ("self_collisions", "limit_violations"):
        figures[f"grasp_{key}"] += rest.get(key, 0)
    return {key: float(value) for key, value in figures.items()}


def bench_video(hands: list[Hand] | None = None) -> dict[str, float]:
    """Gestures on the real video, offline: estimator, smoother, retargeting, no control.

    Args:
        hands: Smoothed hands, one a frame; None runs this suite's perception on the video.
    """
    events = json.loads((VIDEO / "events.json").read_text())
    if hands is None:
        from perception_video import observe

        seen = observe(VIDEO / "hand_720p_30fps.mp4")
        hands = [
            Hand(stamp=stamp, keypoints=keypoints, contact=contact, confidence=1.0, tracked=tracked)
            for stamp, keypoints, contact, tracked in zip(
                seen["stamp"],
                seen["smoothed_keypoints"],
                seen["smoothed_contact"],
                seen["smoothed_tracked"],
                strict=True,
            )
        ]
    first, last = events["open"][0]
    retargeter = Retargeter()
    retargeter.calibrate(hands[first : last + 1])
    q, _ = run_sequence(retargeter, hands)
    meter = PostureMeter()
    gaps = np.array([meter.measure(row).gaps for row in q])
    is_open = np.zeros(len(q), bool)
    for first, last in events["open"]:
        is_open[first : last + 1] = True
    bent = np.array([bends(row, np.median(q[is_open], axis=0)) for row in q])
    closed, right = [], []
    for event in events["events"]:
        rows = slice(event["first"], event["last"] + 1)
        if event["kind"] == "pinch":
            closed += list(gaps[rows, FINGERS.index(event["finger"]) - 1] <= ROBOT_PINCH)
        elif event["kind"] == "flex" and event["finger"] in FINGERS:
            right += list(bent[rows].argmax(axis=1) == FINGERS.index(event["finger"]))
    return {
        "retarget_video_pinch_closed_fraction": float(np.mean(closed)),
        "retarget_video_false_pinch_fraction": float(
            (gaps[is_open] <= ROBOT_PINCH).any(axis=1).mean()
        ),
        "retarget_video_flex_right_fraction": float(np.mean(right)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sequences",
        type=int,
        default=COMPARED,
        help=f"so many of the 350 beside the peers, chosen by a fixed seed; {COMPARED} by default",
    )
    arguments = parser.parse_args()
    figures = bench_grasps(arguments.sequences) | bench_video()
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
