"""The camera model: there and back is the identity, and a bad calibration is said to be."""

import numpy as np
import pytest

from manip_core.camera import CameraIntrinsics

PLAIN = dict(width=640, height=480, fx=500.0, fy=510.0, cx=322.0, cy=236.0)
LENSES = [(), (-0.25, 0.08, 1e-3, -5e-4), (0.1, -0.2, 1e-3, 1e-3, 0.05),
          (0.3, 0.1, 1e-4, 1e-4, 0.02, 0.2, 0.05, 0.01)]  # fmt: skip


@pytest.mark.parametrize("distortion", LENSES, ids=len)
def test_unproject_undoes_project(distortion):
    camera = CameraIntrinsics(**PLAIN, distortion=distortion)
    rng = np.random.default_rng(1)
    points = rng.uniform((-0.3, -0.2, 0.6), (0.3, 0.2, 1.5), (100, 3))
    pixels = camera.project(points)
    np.testing.assert_allclose(camera.unproject(pixels, points[:, 2]), points, atol=1e-7)


def test_distortion_agrees_with_opencv():
    cv2 = pytest.importorskip("cv2")
    camera = CameraIntrinsics(**PLAIN, distortion=LENSES[-1])
    points = np.random.default_rng(2).uniform((-0.3, -0.2, 0.6), (0.3, 0.2, 1.5), (20, 3))
    theirs, _ = cv2.projectPoints(
        points, np.zeros(3), np.zeros(3), camera.matrix, np.array(camera.distortion)
    )
    np.testing.assert_allclose(camera.project(points), theirs[:, 0], atol=1e-9)


def test_field_of_view_spans_the_image():
    camera = CameraIntrinsics.from_fov(640, 480, 60.0)
    edge = camera.rays(np.array([[-0.5, 239.5], [639.5, 239.5]]))
    np.testing.assert_allclose(np.degrees(np.arctan(edge[:, 0])), (-30, 30), atol=1e-9)


def test_scaling_the_image_keeps_lines_of_sight():
    camera = CameraIntrinsics(**PLAIN, distortion=LENSES[1])
    half = camera.scaled(320, 240)
    pixels = np.random.default_rng(3).uniform(0, 400, (30, 2))
    np.testing.assert_allclose(half.rays((pixels + 0.5) / 2 - 0.5), camera.rays(pixels), atol=1e-9)


def test_points_behind_the_camera_have_no_pixel():
    assert np.isnan(CameraIntrinsics(**PLAIN).project(np.array([0.1, 0.1, -1.0]))).all()


def test_reads_a_ros_calibration(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text(
        "image_width: 640\nimage_height: 480\ncamera_name: a\n"
        "camera_matrix: {rows: 3, cols: 3, data: [500, 0, 322, 0, 510, 236, 0, 0, 1]}\n"
        "distortion_model: plumb_bob\n"
        "distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0.001, 0.001, 0]}\n"
    )
    camera = CameraIntrinsics.from_yaml(path)
    assert (camera.fx, camera.cy, camera.width) == (500, 236, 640)
    assert camera.distortion == (0.1, -0.2, 0.001, 0.001, 0.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("just words", "no mapping"),
        ("image_width: 640", "missing"),
        ("a: [", "not YAML"),
        ("distortion_model: equidistant", "equidistant"),
        ("image_width: 0\nimage_height: 480\ncamera_matrix: {data: [1,0,0,0,1,0,0,0,1]}", "width"),
        ("image_width: 9\nimage_height: 480\ncamera_matrix: {data: [1,0,0]}", "9 numbers"),
    ],
)
def test_bad_calibration_says_what_is_wrong(tmp_path, text, said):
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        CameraIntrinsics.from_yaml(path)


@pytest.mark.parametrize(
    "change", [{"fx": 0.0}, {"fy": float("nan")}, {"cx": float("inf")}, {"distortion": (0.1,)}]
)
def test_impossible_cameras_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        CameraIntrinsics(**(PLAIN | change))
