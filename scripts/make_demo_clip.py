"""Makes the bundled demo clip: a right hand on video, with its exact 21 keypoints.

The hand is the right hand of the ``anny`` body model, drawn by MuJoCo before a made-up room. Run it
in an environment of its own (the suite does not need its packages), from the project's root:

    python3.11 -m venv /tmp/clip_venv
    /tmp/clip_venv/bin/pip install -r requirements/clip.txt
    /tmp/clip_venv/bin/python scripts/make_demo_clip.py --out assets/demo

It writes ``right_hand.mp4``, ``right_hand_truth.npz`` and the calibration ``right_hand.yaml``, and
takes about ten minutes on two cores. The same seed gives the same frames.
"""

import argparse
import sys
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "src/manip_core")]

from demo_clip import hand_model, motion, pose  # noqa: E402
from demo_clip.render import HEIGHT, WIDTH, Renderer, camera_matrix  # noqa: E402

from manip_core.hand import palm_rotation  # noqa: E402
from manip_core.hand_skeleton import BONES, CONTACT_FINGERS  # noqa: E402

CONTACT_GAP = 0.002  # [m], pads nearer than this touch


def truth(
    model: hand_model.HandModel, gauge: pose.PadGauge, clip: motion.Motion
) -> dict[str, np.ndarray]:
    """What the clip shows, exactly; the keys are explained in ``tests/unit/test_demo_clip.py``."""
    camera = camera_matrix()
    points, gaps = [], []
    for angles, rotation, wrist in zip(clip.pose, clip.rotation, clip.wrist, strict=True):
        transforms = pose.bone_transforms(model, angles)
        points.append(pose.keypoints(model, transforms) @ rotation.T + wrist)
        gaps.append(gauge.gaps(transforms))
    points, gaps = np.array(points), np.array(gaps)
    pixels = points @ camera.T
    return {
        "keypoints": points.astype(np.float32),
        "keypoints_px": (pixels[..., :2] / pixels[..., 2:]).astype(np.float32),
        "K": camera.astype(np.float32),
        "fps": np.float32(motion.FPS),
        "labels": clip.labels,
        "contact": gaps < CONTACT_GAP,
        "pad_gap": gaps.astype(np.float32),
        "wrist_rotation": np.array([palm_rotation(p) for p in points]).astype(np.float32),
    }


def calibration() -> dict:
    """The camera in the format of ROS's ``camera_info`` YAML files."""
    k = camera_matrix()
    p = np.hstack([k, np.zeros((3, 1))])

    def matrix(m: np.ndarray) -> dict:
        return {
            "rows": m.shape[0],
            "cols": m.shape[1],
            "data": [round(float(x), 6) for x in m.ravel()],
        }

    return {
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "camera_name": "right_hand",
        "camera_matrix": matrix(k),
        "distortion_model": "plumb_bob",
        "distortion_coefficients": matrix(np.zeros((1, 5))),
        "rectification_matrix": matrix(np.eye(3)),
        "projection_matrix": matrix(p),
    }


def encode(frames: list[np.ndarray], path: Path, quality: int) -> None:
    """Writes BGR frames as H.264, 4:2:0, one thread: the same bytes each time."""
    writer = imageio_ffmpeg.write_frames(
        str(path),
        (WIDTH, HEIGHT),
        pix_fmt_in="bgr24",
        pix_fmt_out="yuv420p",
        fps=motion.FPS,
        codec="libx264",
        quality=None,
        macro_block_size=16,
        output_params=[
            "-crf",
            str(quality),
            "-preset",
            "veryslow",
            "-threads",
            "1",
            "-movflags",
            "+faststart",
        ],
    )
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def contact_sheet(
    frames: list[np.ndarray], pixels: np.ndarray, labels: np.ndarray, path: Path
) -> None:
    """A picture of every 20th frame with the keypoints drawn on it, to check by eye."""
    shown = []
    for i in range(0, len(frames), 20):
        image = frames[i].copy()
        for a, b in BONES:
            ends = [tuple(np.round(pixels[i, k] * 16).astype(int).tolist()) for k in (a, b)]
            cv2.line(image, *ends, (80, 220, 80), 1, cv2.LINE_AA, 4)
        for at in pixels[i]:
            cv2.circle(
                image,
                tuple(np.round(at * 16).astype(int).tolist()),
                40,
                (255, 60, 0),
                -1,
                cv2.LINE_AA,
                4,
            )
        cv2.putText(image, f"{i} {labels[i]}", (8, 22), 0, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        shown.append(image)
    shown += [np.zeros_like(shown[0])] * (-len(shown) % 6)
    rows = [np.hstack(shown[r : r + 6]) for r in range(0, len(shown), 6)]
    cv2.imwrite(str(path), np.vstack(rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "assets/demo")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--quality", type=int, default=21, help="x264's constant rate factor; less is better"
    )
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet (PNG) with the keypoints drawn"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    model = hand_model.build()
    gauge = pose.PadGauge(model)
    clip = motion.make(model, gauge, args.seed)
    exact = truth(model, gauge, clip)
    renderer = Renderer(model, args.seed)
    frames = []
    for i, (angles, forearm) in enumerate(zip(clip.pose, clip.forearm, strict=True)):
        transforms = pose.bone_transforms(model, angles, forearm)
        frames.append(renderer.frame(transforms, clip.rotation[i], clip.wrist[i]))
        if i % 100 == 0:
            print(f"frame {i} of {len(clip.pose)}", flush=True)
    renderer.close()

    encode(frames, args.out / "right_hand.mp4", args.quality)
    np.savez_compressed(args.out / "right_hand_truth.npz", **exact)
    (args.out / "right_hand.yaml").write_text(yaml.safe_dump(calibration(), sort_keys=False))
    if args.sheet:
        contact_sheet(frames, exact["keypoints_px"], exact["labels"], args.sheet)
    for finger, gap in zip(CONTACT_FINGERS, exact["pad_gap"].T, strict=True):
        held = exact["labels"] == f"pinch_{finger}"
        print(
            f"{finger}: least pad gap {1000 * gap.min():.2f} mm, "
            f"{(gap < CONTACT_GAP).sum()} frames touch, {held.sum()} are labelled"
        )
    size = sum(
        (args.out / name).stat().st_size for name in ("right_hand.mp4", "right_hand_truth.npz")
    )
    print(f"{len(frames)} frames, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
