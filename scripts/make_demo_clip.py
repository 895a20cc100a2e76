"""Makes the bundled demo clip: a right hand on video, with its exact 21 keypoints.

The hand is the open hand that ships, posed and drawn by the synthetic world (see ``demo_clip``).
``make clip`` runs it in the project's own environment, with PyTorch and with ``imageio-ffmpeg``
(``requirements/clip.txt``), which brings ffmpeg with x264.

It writes ``right_hand.mp4``, ``right_hand_truth.npz`` and the calibration ``right_hand.yaml``, and
takes a minute and a half on one core. The same seed gives the same frames.
"""

import argparse
import sys
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("manip_core", "manip_model", "manip_training")
sys.path[:0] = [str(ROOT / "scripts"), *(str(ROOT / "src" / name) for name in PACKAGES)]

from demo_clip import motion  # noqa: E402
from demo_clip.gestures import Gestures  # noqa: E402
from demo_clip.picture import HEIGHT, WIDTH, Studio, camera_matrix  # noqa: E402

from manip_core.hand import palm_rotation  # noqa: E402
from manip_core.hand_skeleton import BONES, CONTACT_FINGERS  # noqa: E402
from manip_model.hand_model import HandMesh, HandModel  # noqa: E402

CONTACT_GAP = 0.002  # [m], pads nearer than this touch


def truth(gestures: Gestures, clip: motion.Motion, hands: HandMesh) -> dict[str, np.ndarray]:
    """What the clip shows, exactly; the keys are explained in ``tests/unit/test_demo_clip.py``."""
    camera = camera_matrix()
    joints = (hands.joints - hands.joints[:, :1]).double().numpy()
    points = joints @ clip.rotation.swapaxes(1, 2) + clip.wrist[:, None]
    gaps = np.array([gestures.gauge.gaps(hand) for hand in hands.vertices.double().numpy()])
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
        "--quality", type=int, default=18, help="x264's constant rate factor; less is better"
    )
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet (PNG) with the keypoints drawn"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    model = HandModel.open()
    gestures = Gestures(model)
    clip = motion.make(gestures, args.seed)
    hands = gestures.pose(clip.pose)
    exact = truth(gestures, clip, hands)
    frames = []
    studio = Studio(model, args.seed)
    for frame in studio.frames(hands, clip.forearm, clip.rotation, clip.wrist):
        if len(frames) % 100 == 0:
            print(f"frame {len(frames)} of {len(clip.pose)}", flush=True)
        frames.append(frame)

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
