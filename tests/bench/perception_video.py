"""Runs hand pose estimation and smoothing over a video, without ROS, and writes what came out.

    python tests/bench/perception_video.py VIDEO OUT.npz [--calibration YAML | --fov DEG] …

``OUT.npz`` holds, one row a frame: ``frame``, ``stamp`` [s], ``tracked``, ``side``, ``keypoints``
(21, 3) [m], ``keypoints_std``, ``keypoints_px`` (21, 2), ``contact`` (4), ``confidence``; of the
smoothed hand ``smoothed_keypoints``, ``smoothed_contact``, ``smoothed_tracked``, ``bridged``; and
``ms`` (estimator), ``smooth_ms``.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand import RIGHT, SIDES, Hand
from manip_perception.estimator import make_estimator
from manip_perception.smoothing import HandSmoother


def observe(video: Path, camera: CameraIntrinsics | None = None, fov_deg: float = 60.0,
            side: str = RIGHT, change=None, **config) -> dict[str, np.ndarray]:  # fmt: skip
    """All frames of ``video``, each through the estimator and the smoother.

    Args:
        video: A file that OpenCV reads.
        camera: Intrinsics; else those of ``fov_deg``.
        fov_deg: Horizontal field of view in degrees, where no camera is given.
        side: Hand that is followed.
        change: Applied to each image before anything else, to see how robust the line is.
        **config: Fields of the estimator's config.
    """
    capture = cv2.VideoCapture(str(video))
    rate = capture.get(cv2.CAP_PROP_FPS)
    smoother = HandSmoother()
    rows = []
    with make_estimator("mediapipe", **config) as estimator:
        while True:
            got, image = capture.read()
            if not got:
                break
            if change is not None:
                image = change(image)
            height, width = image.shape[:2]
            if camera is None:
                camera = CameraIntrinsics.from_fov(width, height, fov_deg)
            stamp = len(rows) / rate
            began = time.perf_counter()
            hands = [h for h in estimator.estimate(image, stamp, camera) if h.side == side]
            between = time.perf_counter()
            smooth = smoother.update(hands[0] if hands else None, stamp)
            ended = time.perf_counter()
            hand = hands[0] if hands else Hand(stamp=stamp, side=side)
            rows.append(
                {
                    "frame": len(rows),
                    "stamp": stamp,
                    "tracked": hand.tracked,
                    "side": hand.side,
                    "keypoints": hand.keypoints,
                    "keypoints_std": hand.keypoints_std,
                    "keypoints_px": hand.keypoints_px,
                    "contact": hand.contact,
                    "confidence": hand.confidence,
                    "smoothed_keypoints": smooth.keypoints,
                    "smoothed_contact": smooth.contact,
                    "smoothed_tracked": smooth.tracked,
                    "bridged": smooth.bridged,
                    "ms": (between - began) * 1e3,
                    "smooth_ms": (ended - between) * 1e3,
                }
            )
    if not rows:
        raise ValueError(f"{video} gave no frame")
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def main() -> None:
    """Run over one video."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--calibration", type=Path, help="camera calibration YAML")
    parser.add_argument("--fov", type=float, default=60.0, help="horizontal, in degrees")
    parser.add_argument("--hand", choices=SIDES, default=RIGHT)
    parser.add_argument("--hand-length", type=float, help="wrist to middle fingertip [m]")
    args = parser.parse_args()
    camera = CameraIntrinsics.from_yaml(args.calibration) if args.calibration else None
    config = {"hand_length": args.hand_length} if args.hand_length else {}
    seen = observe(args.video, camera, args.fov, args.hand, **config)
    np.savez(args.out, **seen)
    print(
        f"{len(seen['frame'])} frames, tracked {seen['tracked'].mean():.3f}, "
        f"estimator {np.median(seen['ms']):.1f} ms (p99 {np.percentile(seen['ms'], 99):.1f}), "
        f"smoother {np.median(seen['smooth_ms']):.2f} ms"
    )


if __name__ == "__main__":
    main()
