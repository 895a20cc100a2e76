"""The bundled clip, its truth and its calibration agree (made by scripts/make_demo_clip.py).

``right_hand_truth.npz``, N frames: ``keypoints`` (N, 21, 3) [m] in camera_optical_frame,
``keypoints_px`` (N, 21, 2), ``K`` (3, 3), ``fps``, ``labels`` (N,), ``contact`` (N, 4) of
CONTACT_FINGERS with the thumb, ``pad_gap`` (N, 4) signed skin distance [m], ``wrist_rotation``
(N, 3, 3) by ``palm_rotation``.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import BONES, CONTACT_FINGERS, NUM_KEYPOINTS, TIPS, Keypoint

DEMO = Path(__file__).resolve().parents[2] / "assets/demo"
VIDEO, TRUTH = DEMO / "right_hand.mp4", DEMO / "right_hand_truth.npz"
SIZE = (640, 480)


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    with np.load(TRUTH) as data:
        return dict(data)


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(VIDEO))
    out = []
    while True:
        read, image = capture.read()
        if not read:
            return out
        out.append(cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))


def test_small_enough_for_the_repository():
    assert VIDEO.stat().st_size + TRUTH.stat().st_size < 2_000_000


def test_video_and_truth_have_the_same_frames(truth, frames):
    capture = cv2.VideoCapture(str(VIDEO))
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == SIZE
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(float(truth["fps"]))
    count = len(frames)
    assert 20 <= count / truth["fps"] <= 26
    assert truth["keypoints"].shape == (count, NUM_KEYPOINTS, 3)
    assert truth["keypoints_px"].shape == (count, NUM_KEYPOINTS, 2)
    assert truth["contact"].shape == truth["pad_gap"].shape == (count, len(CONTACT_FINGERS))
    assert truth["labels"].shape == (count,)
    assert truth["wrist_rotation"].shape == (count, 3, 3)


def test_pixels_are_the_projected_keypoints(truth):
    image = truth["keypoints"].astype(float) @ truth["K"].astype(float).T
    error = np.linalg.norm(image[..., :2] / image[..., 2:] - truth["keypoints_px"], axis=-1)
    assert error.max() < 0.5


def test_keypoints_stay_in_the_picture_in_front_of_the_camera(truth):
    assert truth["keypoints"][..., 2].min() > 0.2
    assert (truth["keypoints_px"] > 0).all()
    assert (truth["keypoints_px"] < np.array(SIZE) - 1).all()


def test_keypoints_lie_on_skin(truth, frames):
    """Wrist and knuckles are never hidden behind another colour: red well above blue there."""
    for i in range(0, len(frames), 30):
        for k in (Keypoint.WRIST, Keypoint.INDEX_MCP, Keypoint.LITTLE_MCP, Keypoint.THUMB_MCP):
            u, v = np.round(truth["keypoints_px"][i, k] / 4).astype(int)
            blue, _, red = frames[i][v, u].astype(int)
            assert red > blue + 15, f"frame {i}, {k.name}: no skin at ({4 * u}, {4 * v})"


def test_bones_keep_their_length(truth):
    start, end = truth["keypoints"][:, BONES[:, 0]], truth["keypoints"][:, BONES[:, 1]]
    length = np.linalg.norm(end - start, axis=-1)
    assert (np.ptp(length, axis=0) / length.mean(axis=0)).max() < 0.02


def test_contact_only_in_a_pinch_and_in_every_pinch(truth):
    assert (truth["contact"] == (truth["pad_gap"] < 0.002)).all()
    assert truth["pad_gap"].min() > -0.002, "pads overlap"
    for column, finger in enumerate(CONTACT_FINGERS):
        touching = truth["contact"][:, column]
        assert (truth["labels"][touching] == f"pinch_{finger}").all()
        assert touching.sum() >= 0.4 * truth["fps"]
        assert truth["pad_gap"][touching, column].min() < 0.001
        tips = truth["keypoints"][touching][:, [TIPS[0], TIPS[column + 1]]]
        assert np.linalg.norm(tips[:, 0] - tips[:, 1], axis=-1).max() < 0.025


def test_it_is_a_right_hand_with_its_palm_to_the_camera(truth):
    rotation = np.array([palm_rotation(k.astype(float)) for k in truth["keypoints"]])
    assert np.abs(rotation - truth["wrist_rotation"]).max() < 1e-3
    assert (rotation[:, 2, 0] < -0.5).all(), "palm x must point to the camera"
    index_side = (
        truth["keypoints_px"][:, Keypoint.INDEX_MCP, 0]
        - truth["keypoints_px"][:, Keypoint.LITTLE_MCP, 0]
    )
    assert (index_side > 0).all(), "unmirrored: the index side is the image's right"


def test_motion_is_that_of_a_hand_and_covers_what_it_should(truth):
    wrist = truth["keypoints"][:, Keypoint.WRIST]
    assert np.linalg.norm(np.diff(wrist, axis=0), axis=1).max() * truth["fps"] < 0.5
    turns = truth["wrist_rotation"]
    step = np.einsum("nji,njk->nik", turns[:-1], turns[1:])
    angle = np.degrees(np.arccos(np.clip((np.trace(step, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert angle.max() * truth["fps"] < 130
    moving = truth["labels"] == "translate"
    assert (np.ptp(wrist[moving], axis=0) > 0.15).all()
    assert {"open", "fist", "point", "translate", "turn"} <= set(truth["labels"])


def test_it_loops_without_a_jump(truth, frames):
    gap = np.linalg.norm(truth["keypoints"][0] - truth["keypoints"][-1], axis=1)
    assert gap.max() < 0.005
    change = np.abs(frames[0].astype(float) - frames[-1]).mean()
    assert change < 0.2 * np.abs(frames[0].astype(float) - frames[len(frames) // 2]).mean() + 1.0


def test_calibration_is_the_camera_of_the_truth(truth):
    info = yaml.safe_load((DEMO / "right_hand.yaml").read_text())
    assert (info["image_width"], info["image_height"]) == SIZE
    assert info["distortion_model"] == "plumb_bob"
    assert info["distortion_coefficients"]["data"] == [0.0] * 5
    k = np.reshape(info["camera_matrix"]["data"], (3, 3))
    assert np.abs(k - truth["K"]).max() < 1e-3
    p = np.reshape(info["projection_matrix"]["data"], (3, 4))
    assert np.abs(p[:, :3] - k).max() == 0 and not p[:, 3].any()
    assert np.array_equal(np.reshape(info["rectification_matrix"]["data"], (3, 3)), np.eye(3))
