"""The whole graph on the real video and on the bundled clip: tracking, latency, gestures, motion.

``python tests/bench/bench_graph.py [video|clip]``
"""

import json
import os
import sys
from pathlib import Path

import cv2
import mujoco
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("ROS_DOMAIN_ID", "77")

from graph_run import Run, passes, run  # noqa: E402

from manip_core import interfaces as topics  # noqa: E402
from manip_core import metrics, resources  # noqa: E402
from manip_core.robot_model import JOINT_NAMES, PALM_FRAME, build_model, camera_mount  # noqa: E402
from manip_core.rotation import angle  # noqa: E402
from manip_retargeting.measures import PostureMeter, bends  # noqa: E402
from manip_ros.conversions import to_seconds  # noqa: E402

DATA = Path(os.environ.get("MANIP_DATA", ROOT / ".." / "shared" / "data"))
VIDEO = DATA / "real_video" / "hand_720p_30fps.mp4"
CLOSED_M = 0.010
ROBOT_FINGERS = ("thumb", "index", "middle", "ring")


def measure_common(r: Run, frames: int) -> dict[str, float]:
    """Latency, losses, real time and memory of a run."""
    first, last = passes(r, frames)
    published = last - first
    observed = r.by_frame(topics.OBSERVATION, first, last)
    span = (r.frames[first], r.frames[last - 1])
    latency = [
        1e3 * (arrival - stamp)
        for stamp, arrival, *_ in r.commands()
        if span[0] <= stamp <= span[1]
    ]
    factors = [
        float(value.value)
        for msg in r.of(topics.DIAGNOSTICS)
        if span[0] <= to_seconds(msg.header.stamp) <= span[1]
        for status in msg.status
        for value in status.values
        if value.key == "real-time factor"
    ]
    p50, p95, p99 = np.percentile(latency, (50, 95, 99))
    return {
        "frames": published,
        "tracked_fraction": sum(m.tracked for m in observed.values()) / published,
        "dropped_fraction": 1.0 - len(observed) / published,
        "latency_ms_p50": p50,
        "latency_ms_p95": p95,
        "latency_ms_p99": p99,
        "sim_realtime_factor": float(np.mean(factors)),
        "graph_peak_mb": r.peak_mb,
        "graph_cpu_cores": r.cpu_cores,
    }


def measure_video(loops: int = 3) -> dict[str, float]:
    """The real video at its own rate."""
    if not VIDEO.exists():
        raise FileNotFoundError(f"{VIDEO} is not there; MANIP_DATA names the folder with the data")
    events = json.loads((VIDEO.parent / "events.json").read_text())
    frames = events["frames"]
    r = run(str(VIDEO), frames, loops=loops)
    common = measure_common(r, frames)
    first, last = passes(r, frames)
    out = {f"video_{k}": common.pop(k) for k in ("frames", "tracked_fraction", "dropped_fraction")}
    targets = {n: np.array(m.positions) for n, m in r.by_frame(topics.TARGET, first, last).items()}
    return (
        out
        | common
        | gestures(targets, events, first, last)
        | measured_pinch(r, events, first, last)
    )


def labelled(events: dict, kind: str, finger: str | None = None) -> list[tuple[int, str]]:
    """Frames of the video with that label, and the finger's name."""
    return [
        (frame, event["finger"])
        for event in events["events"]
        if event["kind"] == kind and event["finger"] in ROBOT_FINGERS
        for frame in range(event["first"], event["last"] + 1)
    ]


def gestures(targets: dict[int, np.ndarray], events: dict, first: int, last: int) -> dict:
    """What the robot's hand was told to do on the labelled frames; a missing target counts as
    wrong wherever something had to be done.
    """
    meter, frames = PostureMeter(), events["frames"]
    starts = range(first, last, frames)
    pinch = [
        (n := start + frame) in targets
        and meter.measure(targets[n]).gaps[ROBOT_FINGERS.index(finger) - 1] <= CLOSED_M
        for start in starts
        for frame, finger in labelled(events, "pinch")
    ]
    open_frames = [
        start + frame for start in starts for a, b in events["open"] for frame in range(a, b + 1)
    ]
    false = [
        (meter.measure(targets[n]).gaps <= CLOSED_M).any() for n in open_frames if n in targets
    ]
    q_open = np.median([targets[n] for n in open_frames if n in targets], axis=0)
    flex = [
        (n := start + frame) in targets
        and ROBOT_FINGERS[int(np.argmax(bends(targets[n], q_open)))] == finger
        for start in starts
        for frame, finger in labelled(events, "flex")
    ]
    other = [
        start + frame
        for start in starts
        for event in events["events"]
        if event["kind"] != "pinch"
        for frame in range(event["first"], event["last"] + 1)
    ]
    stray = [(meter.measure(targets[n]).gaps <= CLOSED_M).any() for n in other if n in targets]
    return {
        "pinch_closed_fraction": float(np.mean(pinch)),
        "false_pinch_fraction": float(np.mean(false)),
        "flex_right_fraction": float(np.mean(flex)),
        "gap_closed_in_flex_or_fist_fraction": float(np.mean(stray)),
    }


def measured_pinch(r: Run, events: dict, first: int, last: int) -> dict:
    """The same pinches on the simulated robot's own joints, its lag allowed for."""
    stamps = np.array([to_seconds(m.header.stamp) for m in r.of(topics.JOINT_STATES)])
    states = r.of(topics.JOINT_STATES)
    order = [states[0].name.index(name) for name in JOINT_NAMES]
    meter, frames = PostureMeter(), events["frames"]
    lag = 0.1
    closed = []
    for start in range(first, last, frames):
        for frame, finger in labelled(events, "pinch"):
            i = min(np.searchsorted(stamps, r.frames[start + frame] + lag), len(states) - 1)
            q = np.array(states[i].position)[order]
            gap = meter.measure(q).gaps[ROBOT_FINGERS.index(finger) - 1]
            closed.append(gap <= CLOSED_M)
    return {"pinch_closed_measured_fraction": float(np.mean(closed))}


def measure_clip(loops: int = 2) -> dict[str, float]:
    """The bundled clip, against its own truth."""
    clip = resources.find("assets/demo/right_hand.mp4")
    truth = np.load(clip.with_name("right_hand_truth.npz"))
    frames = int(cv2.VideoCapture(str(clip)).get(cv2.CAP_PROP_FRAME_COUNT))
    r = run("demo", frames, loops=loops)
    first, last = passes(r, frames)
    common = measure_common(r, frames)
    out = {
        "clip_tracked_fraction": common["tracked_fraction"],
        "clip_dropped_fraction": common["dropped_fraction"],
    }
    for name, topic in (("", topics.OBSERVATION), ("smoothed_", topics.SMOOTHED)):
        seen = {n: m for n, m in r.by_frame(topic, first, last).items() if m.tracked}
        points = np.array([m.keypoints for m in seen.values()], dtype=float).reshape(-1, 21, 3)
        true = truth["keypoints"][[n % frames for n in seen]].astype(float)
        centred = points - points[:, :1], true - true[:, :1]
        out |= {
            f"clip_{name}mpjpe_mm": float(metrics.mpjpe_mm(points, true).mean()),
            f"clip_{name}root_mpjpe_mm": float(metrics.mpjpe_mm(*centred).mean()),
            f"clip_{name}pa_mpjpe_mm": float(metrics.pa_mpjpe_mm(points, true).mean()),
        }
    return out | palm_motion(r, truth, frames, first, last)


def palm_motion(r: Run, truth, frames: int, first: int, last: int) -> dict[str, float]:
    """Commanded palm motion against the true wrist's, both since the same frame."""
    model = build_model("right", with_scene=False)
    data = mujoco.MjData(model)
    numbers = {round(stamp * 1e6): i for i, stamp in enumerate(r.frames)}
    to_world = camera_mount("right")[0]
    rows = []
    for stamp, _, arm, _ in r.commands():
        number = numbers.get(round(stamp * 1e6))
        if number is None or not first <= number < last:
            continue
        data.qpos[:6] = arm
        mujoco.mj_kinematics(model, data)
        palm = data.body(PALM_FRAME)
        frame = number % frames
        wrist = to_world @ truth["keypoints"][frame, 0]
        turn = to_world @ truth["wrist_rotation"][frame]
        rows.append((palm.xpos.copy(), palm.xmat.reshape(3, 3).copy(), wrist, turn))
    position, rotation, wrist, turn = (np.array(column) for column in zip(*rows, strict=True))
    # Both relative to where they were on average, so that no single frame is the reference.
    error = angle(_mean_offset(rotation, turn) @ turn.swapaxes(1, 2) @ rotation)
    true_path = metrics.path_length(wrist)
    return {
        "clip_wrist_rot_deg_p95": float(np.degrees(np.percentile(error, 95))),
        "clip_wrist_path_error_fraction": abs(metrics.path_length(position) - true_path)
        / true_path,
        "clip_wrist_position_error_mm_p95": float(
            1e3
            * np.percentile(
                np.linalg.norm((position - position.mean(0)) - (wrist - wrist.mean(0)), axis=1),
                95,
            )
        ),
    }


def _mean_offset(rotation: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """The constant rotation between palm and wrist that the anchoring chose, as a chordal mean."""
    u, _, vt = np.linalg.svd((turn.swapaxes(1, 2) @ rotation).mean(axis=0))
    return (u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt).T


def main() -> None:
    """Run one or both and print the figures."""
    chosen = sys.argv[1:] or ["video", "clip"]
    out = {}
    if "video" in chosen:
        out |= measure_video()
    if "clip" in chosen:
        out |= measure_clip()
    print(json.dumps({k: round(v, 4) for k, v in out.items()}, indent=2))


if __name__ == "__main__":
    main()
