"""Temporal fusion beside One-Euro filters: films that neither was made with, the bundled clip, and
the real video: how late it is, and a hand at rest.

``python tests/bench/run.py temporal``, of the weights that ship, or of the file that
``MANIP_TEMPORAL`` names. Films are of the ``val`` world: other people, cameras, objects and
backgrounds than training's, each seen by an estimator frame by frame; both smoothers answer for the
frame that was seen, with nothing of later ones.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand import RIGHT, Hand
from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_core.resources import find
from manip_model.temporal_features import Moments
from manip_perception.smoothing import HandSmoother
from manip_perception.smoothing_node import SHIPPED
from manip_perception.temporal import TemporalNetwork
from manip_perception.temporal_smoothing import TemporalSmoother
from manip_training.temporal.watched import Watched, whole

ROOT = Path(__file__).resolve().parents[2]
# Of films from 10,000 on it was chosen how the network is made: these were not looked at.
_FILMS, _SECONDS, _FIRST = 30, 3.0, 11_000
# Films take minutes to make, and are kept.
_FOLDER = ROOT / "data/films-other"
# Frames at the start of a film in which filters settle.
_SETTLE = 10
# Of the real video: what counts as rest, the wrist's speed over half a second [m/s].
_STILL = 0.02
# Delays up to here are looked at [s].
_LATEST = 0.3


def measure_temporal() -> dict[str, float]:
    """By estimator, of One-Euro and of temporal fusion: root-relative error and error of
    acceleration; their ratios; and what a frame costs."""
    network = TemporalNetwork.read(os.environ.get("MANIP_TEMPORAL") or find(SHIPPED))
    figures = {}
    line = [sys.executable, str(ROOT / "scripts/watch_films.py"), str(_FOLDER)]
    line += ["--count", str(_FILMS), "--seconds", str(_SECONDS)]
    subprocess.run([*line, "--seed", str(_FIRST), "--variant", "val"], check=True)
    for estimator in ("mediapipe", "amt"):
        films = whole(Watched(_FOLDER, 60, f"{estimator}-*.npz").films)
        for name, smoother in _both(network):
            errors = [_errors(smoother, *film) for film in films]
            for key in errors[0]:
                value = float(np.nanmean([error[key] for error in errors]))
                figures[f"temporal_{estimator}_{name}_{key}"] = value
        for key, short in (("mpjpe_mm", "mpjpe"), ("accel_m_s2", "accel")):
            ours, theirs = (
                figures[f"temporal_{estimator}_{name}_{key}"] for name in ("temporal", "one_euro")
            )
            figures[f"temporal_{estimator}_{short}_ratio"] = ours / theirs
    seen_most = max(films, key=lambda film: film[0].seen.mean())[0]
    figures["temporal_cpu_ms"] = _cost_ms(network, seen_most)
    for short in ("mpjpe", "accel"):
        figures[f"temporal_{short}_ratio"] = figures[f"temporal_mediapipe_{short}_ratio"]
    figures |= _on_clip(network)
    if os.environ.get("MANIP_DATA"):
        figures |= _on_real_video(network, Path(os.environ["MANIP_DATA"]) / "real_video")
    return figures


def smoothed(smoother: HandSmoother, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints ``(T, 21, 3)`` [m] of a film, and in which frames there is a hand."""
    smoother.reset()
    hands = []
    for t, stamp in enumerate(moments.times[0].tolist()):
        hand = None
        if moments.seen[0, t]:
            hand = Hand(
                stamp=stamp,
                side=RIGHT,
                tracked=True,
                keypoints=moments.joints[0, t],
                keypoints_std=moments.deviation[0, t],
                confidence=float(moments.confidence[0, t]),
                contact=moments.contact[0, t],
            )
        hands.append(smoother.update(hand, stamp))
    return np.stack([h.keypoints for h in hands]), np.array([h.tracked for h in hands])


def _errors(smoother: HandSmoother, moments: Moments, true: np.ndarray) -> dict[str, float]:
    said, there = smoothed(smoother, moments)
    step = float(np.diff(moments.times[0]).mean())
    off = (said - said[:, :1]) - (true - true[:, :1])
    # Second differences over 0.1 s, for films of every rate alike.
    apart = max(round(0.05 / step), 1)
    bend = (off[2 * apart :] - 2 * off[apart:-apart] + off[: -2 * apart]) / (apart * step) ** 2
    kept = there.copy()
    kept[:_SETTLE] = False
    all_three = kept[2 * apart :] & kept[apart:-apart] & kept[: -2 * apart]

    def mean(errors: np.ndarray, rows: np.ndarray) -> float:
        return float(np.linalg.norm(errors, axis=-1)[rows].mean()) if rows.any() else np.nan

    return {
        "mpjpe_mm": 1e3 * mean(off, kept),
        "accel_m_s2": mean(bend, all_three),
        "place_mm": 1e3 * mean((said - true)[:, 0], kept),
    }


def _cost_ms(network: TemporalNetwork, moments: Moments) -> float:
    smoother, times = TemporalSmoother(network), []
    smoother.reset()
    for t, stamp in enumerate(moments.times[0].tolist()):
        hand = Hand(stamp=stamp, side=RIGHT, tracked=True, keypoints=moments.joints[0, t])
        began = time.perf_counter()
        smoother.update(hand if moments.seen[0, t] else None, stamp)
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times[_SETTLE:]))


def _both(network: TemporalNetwork) -> tuple[tuple[str, HandSmoother], ...]:
    return ("one_euro", HandSmoother()), ("temporal", TemporalSmoother(network))


def _watched(video: Path, camera: CameraIntrinsics | None = None) -> Moments:
    """All frames of a video as MediaPipe sees them."""
    from perception_video import observe

    seen = observe(video, camera)
    frames = len(seen["stamp"])
    return Moments(
        times=seen["stamp"][None],
        seen=seen["tracked"][None],
        joints=seen["keypoints"][None],
        deviation=seen["keypoints_std"][None],
        confidence=seen["confidence"][None],
        contact=seen["contact"][None],
        objects=np.zeros((1, frames, 10)),
        regions=np.zeros((1, frames, 10)),
    )


def _late_ms(said: np.ndarray, there: np.ndarray, moments: Moments) -> float:
    """How much later the smoothed image points are than those that were seen: the delay of the
    latter at which they differ least, to a quarter of a frame."""
    times, seen = moments.times[0], moments.seen[0]
    slopes = moments.joints[0, seen, :, :2] / moments.joints[0, seen, :, 2:]
    given = (said[there, :, :2] / said[there, :, 2:]).reshape(there.sum(), -1)
    step = float(np.diff(times).mean())
    delays = np.arange(0, _LATEST / step, 0.25) * step

    def apart(delay: float) -> float:
        then = times[there] - delay
        held = np.stack(
            [np.interp(then, times[seen], c) for c in slopes.reshape(seen.sum(), -1).T], 1
        )
        off = (given - held)[then > times[seen][0]].reshape(-1, NUM_KEYPOINTS, 2)
        return float(np.linalg.norm(off, axis=-1).mean())

    return 1e3 * min(delays.tolist(), key=apart)


def _on_clip(network: TemporalNetwork) -> dict[str, float]:
    """The bundled clip, a hand before a webcam, against its truth; not a film of either world."""
    clip = find("assets/demo/right_hand.mp4")
    moments = _watched(clip, CameraIntrinsics.from_yaml(clip.with_suffix(".yaml")))
    true = np.load(clip.with_name("right_hand_truth.npz"))["keypoints"].astype(float)
    frames = min(len(true), moments.times.shape[1])
    moments = Moments(**{name: value[:, :frames] for name, value in vars(moments).items()})
    figures = {}
    for name, smoother in _both(network):
        errors = _errors(smoother, moments, true[:frames])
        figures |= {f"temporal_clip_{name}_{key}": value for key, value in errors.items()}
        late = _late_ms(*smoothed(smoother, moments), moments)
        figures[f"temporal_clip_{name}_late_ms"] = late
    figures["temporal_clip_mpjpe_ratio"] = (
        figures["temporal_clip_temporal_mpjpe_mm"] / figures["temporal_clip_one_euro_mpjpe_mm"]
    )
    return figures


def _on_real_video(network: TemporalNetwork, folder: Path) -> dict[str, float]:
    """How late it is; movement from frame to frame, mean of joints and frames, while the hand
    rests."""
    videos = sorted(folder.glob("*.mp4"))
    if not videos:
        return {}
    moments = _watched(videos[0])
    joints, times = moments.joints[0], moments.times[0]
    wrist, rate = joints[:, 0], 1 / np.diff(times).mean()
    span = round(0.5 * rate)
    # Rest is judged by what is well seen: across the line of sight.
    moved = np.linalg.norm(wrist[span:, :2] - wrist[:-span, :2], axis=-1) / (span / rate)
    fingers = joints - wrist[:, None]
    bent = np.linalg.norm(fingers[span:] - fingers[:-span], axis=-1).mean(-1) / (span / rate)
    still = (moved < _STILL) & (bent < 2 * _STILL)
    figures = {"temporal_still_frames": float(still.sum())}
    for name, smoother in _both(network):
        said, there = smoothed(smoother, moments)
        figures[f"temporal_real_{name}_late_ms"] = _late_ms(said, there, moments)
        step = np.linalg.norm(np.diff(said, axis=0), axis=-1).mean(-1)[span - 1 :]
        kept = still & there[span:] & there[span - 1 : -1]
        figures[f"temporal_still_jitter_{name}_mm"] = 1e3 * float(step[kept].mean())
    figures["temporal_still_jitter_mm"] = figures["temporal_still_jitter_temporal_mm"]
    return figures
