"""Sources of pictures: what can be read, and a webcam that comes and goes."""

import time

import cv2
import numpy as np
import pytest

from manip_perception import camera
from manip_perception.camera import (
    CameraConfig,
    ImageFolder,
    SourceMissingError,
    VideoFile,
    Webcam,
    calibration_path,
    open_source,
    resolve,
)


class FakeCapture:
    """A V4L2 camera that gives ``frames`` pictures and is then unplugged."""

    def __init__(self, *_, frames=2, opens=True, age=0.02):
        self.left, self.opens, self.age = frames, opens, age

    def isOpened(self):
        return self.opens

    def set(self, *_):
        return True

    def get(self, key):
        if key == cv2.CAP_PROP_POS_MSEC:
            return (time.monotonic() - self.age) * 1e3
        return 30.0

    def read(self):
        self.left -= 1
        return (True, np.zeros((4, 6, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        self.opens = False


def test_a_webcam_tells_the_age_of_its_pictures(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    image, age = Webcam(0, 640, 480).read()
    assert image.shape == (4, 6, 3) and age == pytest.approx(0.02, abs=0.01)


@pytest.mark.parametrize("age", [-5.0, 1e6])
def test_a_stamp_that_cannot_be_is_not_believed(monkeypatch, age):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *a: FakeCapture(age=age))
    assert Webcam(0, 640, 480).read()[1] == 0.0


def test_an_unplugged_webcam_is_missing(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    source = Webcam(0, 640, 480)
    source.read(), source.read()
    with pytest.raises(SourceMissingError, match="unplugged"):
        source.read()


def test_a_webcam_that_is_not_there_is_missing(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", lambda *a: FakeCapture(opens=False))
    with pytest.raises(SourceMissingError, match="camera 3 cannot be opened"):
        open_source(CameraConfig(source="3"))
    with pytest.raises(SourceMissingError, match="/dev/video9"):
        open_source(CameraConfig(source="/dev/video9"))


def test_auto_takes_the_first_webcam_else_the_clip(monkeypatch, tmp_path):
    assert resolve("auto") in ("0", "demo") and resolve("x.mp4") == "x.mp4"
    monkeypatch.setattr(camera, "Path", lambda p: tmp_path / "none")
    assert resolve("auto") == "demo"


def test_the_clip_brings_its_calibration():
    path = calibration_path(CameraConfig(source="demo"))
    assert path.exists() and path.suffix == ".yaml"
    assert calibration_path(CameraConfig(source="0")) is None
    assert str(calibration_path(CameraConfig(source="0", calibration="a.yaml"))) == "a.yaml"


def test_the_clip_is_a_video_of_as_many_frames_as_its_truth():
    source = open_source(CameraConfig(source="demo"))
    assert isinstance(source, VideoFile) and source.rate == pytest.approx(30.0)
    count = 0
    while source.read() is not None:
        count += 1
    assert count == len(camera.demo_truth())
    source.rewind()
    assert source.read()[0].shape == (480, 640, 3)


def test_a_cut_off_video_ends_instead_of_failing(tmp_path):
    whole = camera.demo_clip().read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    try:
        source = open_source(CameraConfig(source=str(cut)))
    except ValueError as error:
        assert "not a video" in str(error)
        return
    frames = 0
    while source.read() is not None and frames < 2000:
        frames += 1
    assert frames < 1000


def test_a_folder_skips_what_cannot_be_read(tmp_path):
    cv2.imwrite(str(tmp_path / "b.png"), np.full((5, 5, 3), 9, np.uint8))
    (tmp_path / "a.png").write_bytes(b"no image")
    source = ImageFolder(tmp_path)
    assert source.read()[0][0, 0, 0] == 9 and source.read() is None
    assert [path.name for path in source.skipped] == ["a.png"]


@pytest.mark.parametrize(
    "wrong", [{"source": ""}, {"fov_deg": 0.0}, {"fov_deg": 200.0}, {"width": 0}]
)
def test_config_checks_itself(wrong):
    with pytest.raises(ValueError):
        CameraConfig(**wrong)
