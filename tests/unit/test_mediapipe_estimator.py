"""The MediaPipe estimator on the bundled clip and on images that are none."""

import numpy as np
import pytest

from manip_core import resources
from manip_core.camera import CameraIntrinsics
from manip_core.metrics import mpjpe_mm, pa_mpjpe_mm
from manip_perception.estimator import make_estimator

cv2 = pytest.importorskip("cv2")
pytest.importorskip("mediapipe")


def _find(path):
    try:
        return resources.find(path)
    except FileNotFoundError as error:
        pytest.skip(f"{error}: run scripts/setup.sh")


@pytest.fixture(scope="module")
def camera():
    return CameraIntrinsics.from_yaml(_find("assets/demo/right_hand.yaml"))


@pytest.fixture(scope="module")
def clip():
    """The first 20 frames of the clip, and the true keypoints."""
    capture = cv2.VideoCapture(str(_find("assets/demo/right_hand.mp4")))
    frames = [capture.read()[1] for _ in range(20)]
    truth = np.load(_find("assets/demo/right_hand_truth.npz"))["keypoints"][:20]
    return frames, truth


@pytest.fixture
def estimator():
    _find("models/hand_landmarker.task")
    with make_estimator("mediapipe") as made:
        yield made


def test_right_hand_is_found_named_and_placed(estimator, camera, clip):
    frames, truth = clip
    hands = [estimator.estimate(f, i / 30, camera) for i, f in enumerate(frames)]
    assert all(len(h) == 1 for h in hands)
    assert all(h[0].side == "right" and h[0].problem() is None for h in hands)
    keypoints = np.array([h[0].keypoints for h in hands])
    assert mpjpe_mm(keypoints, truth).mean() < 60
    assert pa_mpjpe_mm(keypoints, truth).mean() < 12
    assert max(h[0].contact.max() for h in hands) < 0.1
    std = hands[0][0].keypoints_std
    assert std[:, 2].min() > 2 * std[:, 0].min() > 0


def test_mirrored_right_hand_is_left(estimator, camera, clip):
    image = np.ascontiguousarray(clip[0][0][:, ::-1])
    assert estimator.estimate(image, 0.0, camera)[0].side == "left"


def test_gray_and_four_channels_are_converted(estimator, camera, clip):
    image = clip[0][0]
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    for i, other in enumerate((gray, gray[:, :, None], cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))):
        assert len(estimator.estimate(other, i / 30, camera)) == 1


def test_odd_sizes_and_strides_work(estimator, camera, clip):
    odd = cv2.resize(clip[0][0], (455, 341))
    assert len(estimator.estimate(odd, 0.0, camera.scaled(455, 341))) == 1
    wide = np.zeros((341, 500, 3), np.uint8)
    wide[:, :455] = odd
    assert len(estimator.estimate(wide[:, :455], 0.1, camera.scaled(455, 341))) == 1


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((480, 640, 3), np.float32), "uint8"),
        (np.zeros((480, 640, 2), np.uint8), r"\(480, 640, 2\)"),
        (np.zeros((2, 480, 640, 3), np.uint8), r"\(2, 480, 640, 3\)"),
        (np.zeros((0, 0, 3), np.uint8), "at least"),
        (np.zeros((4, 4, 3), np.uint8), "at least"),
        (np.zeros((240, 320, 3), np.uint8), "320x240"),
        (None, "NoneType"),
    ],
)
def test_images_that_are_none_are_refused_and_harm_nothing(estimator, camera, clip, image, said):
    with pytest.raises(ValueError, match=said):
        estimator.estimate(image, 0.0, camera)
    assert len(estimator.estimate(clip[0][0], 0.1, camera)) == 1


def test_time_that_jumps_back_or_stands_still_does_no_harm(estimator, camera, clip):
    for stamp in (10.0, 10.0, 3.0, 3.01, 1e9, 0.0):
        assert len(estimator.estimate(clip[0][0], stamp, camera)) == 1
    with pytest.raises(ValueError, match="stamp"):
        estimator.estimate(clip[0][0], float("nan"), camera)


def test_an_empty_scene_has_no_hand(estimator, camera):
    assert estimator.estimate(np.full((480, 640, 3), 127, np.uint8), 0.0, camera) == []


def test_closing_twice_is_harmless_and_use_afterwards_is_an_error(camera, clip):
    _find("models/hand_landmarker.task")
    estimator = make_estimator("mediapipe")
    estimator.close()
    estimator.close()
    with pytest.raises(RuntimeError, match="closed"):
        estimator.estimate(clip[0][0], 0.0, camera)


def test_unknown_names_and_fields_list_the_choices():
    with pytest.raises(ValueError, match="mediapipe"):
        make_estimator("nonesuch")
    with pytest.raises(ValueError, match="hand_length"):
        make_estimator("mediapipe", hand_size=0.2)
    with pytest.raises(ValueError, match="num_hands"):
        make_estimator("mediapipe", num_hands=3)
    with pytest.raises(FileNotFoundError, match="no hand landmark model"):
        make_estimator("mediapipe", model="/nowhere/x.task")
