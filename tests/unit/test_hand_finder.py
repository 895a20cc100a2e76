"""The detector finds the hand of the bundled clip where it is, and none where there is none."""

import numpy as np
import pytest

from manip_core import resources
from manip_core.camera import CameraIntrinsics

cv2 = pytest.importorskip("cv2")
pytest.importorskip("mediapipe")

from manip_perception.hand_finder import HandFinder, task_file_of  # noqa: E402


def found_or_skip(path):
    try:
        return resources.find(path)
    except FileNotFoundError as error:
        pytest.skip(f"{error}: run scripts/setup.sh")


@pytest.fixture(scope="module")
def finder():
    found_or_skip("models/hand_landmarker.task")
    made = HandFinder(2, 0.5)
    yield made
    made.close()


@pytest.fixture(scope="module")
def picture():
    capture = cv2.VideoCapture(str(found_or_skip("assets/demo/right_hand.mp4")))
    return cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)


def test_the_hand_is_found_where_it_is(finder, picture):
    camera = CameraIntrinsics.from_yaml(found_or_skip("assets/demo/right_hand.yaml"))
    truth = np.load(found_or_skip("assets/demo/right_hand_truth.npz"))["keypoints"][0]
    found = finder.find(picture)
    assert len(found) == 1
    expected = camera.project(truth)
    extent = np.ptp(expected, axis=0).max()
    assert np.linalg.norm(found[0].pixels - expected, axis=1).mean() < 0.1 * extent
    assert found[0].side == "right"
    assert 0.5 < found[0].score <= 1.0


def test_its_mirror_image_is_a_left_hand(finder, picture):
    assert finder.find(np.ascontiguousarray(picture[:, ::-1]))[0].side == "left"


def test_an_empty_picture_has_none(finder):
    assert finder.find(np.full((480, 640, 3), 127, np.uint8)) == []


def test_a_model_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="no hand landmark model at /nowhere"):
        task_file_of("/nowhere/x.task")
