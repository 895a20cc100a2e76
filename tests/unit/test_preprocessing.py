"""The crop: its picture, its camera and its pixels say the same."""

import cv2
import numpy as np
import pytest

from manip_core.camera import CameraIntrinsics
from manip_core.preprocessing import CROP_SIZE, Crop, CropBox, Undistorter, crop, crop_camera

CAMERA = CameraIntrinsics(width=640, height=480, fx=613.0, fy=612.0, cx=313.0, cy=245.0)
PICTURE = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
BOXES = [CropBox(100, 80, 224), CropBox(-40, 300, 301), CropBox(400, 20, 97), CropBox(3, 5, 470)]


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_projecting_then_cropping_is_projecting_with_the_crops_camera(box):
    points = np.random.default_rng(1).uniform((-0.3, -0.2, 0.5), (0.3, 0.2, 1.2), (50, 3))
    cropped = crop(PICTURE, CAMERA, box)
    pixels = CAMERA.project(points)
    np.testing.assert_allclose(cropped.to_crop(pixels), cropped.camera.project(points), atol=1e-9)
    np.testing.assert_allclose(cropped.to_picture(cropped.to_crop(pixels)), pixels, atol=1e-9)


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_a_blob_lies_where_the_crops_camera_puts_it(box):
    centre = np.array([box.left + 0.61 * box.size, box.top + 0.37 * box.size])
    centre = np.clip(centre, 20, (619, 459))
    rows, columns = np.mgrid[0:480, 0:640]
    spread = 0.03 * box.size
    blob = np.exp(-((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2) / (2 * spread**2))
    cropped = crop(blob.astype(np.float32), CAMERA, box, border="black")
    weight = cropped.image / cropped.image.sum()
    seen = (weight.sum(0) @ np.arange(CROP_SIZE), weight.sum(1) @ np.arange(CROP_SIZE))
    np.testing.assert_allclose(seen, cropped.to_crop(centre), atol=0.05)


def test_a_crop_of_the_same_size_is_the_pixels_themselves():
    cropped = crop(PICTURE, CAMERA, BOXES[0])
    np.testing.assert_array_equal(cropped.image, PICTURE[80:304, 100:324])
    assert (cropped.camera.cx, cropped.camera.cy) == (213.0, 165.0)


def test_shrinking_averages_instead_of_aliasing():
    stripes = np.zeros((480, 640), np.uint8)
    stripes[:, ::2] = 255
    cropped = crop(stripes, CAMERA, CropBox(0, 0, 448))
    assert cropped.image.min() >= 127
    assert cropped.image.max() <= 128


def test_borders():
    box = CropBox(-112, 0, 224)
    replicated = crop(PICTURE, CAMERA, box).image
    np.testing.assert_array_equal(replicated[:, :112], np.repeat(PICTURE[:224, :1], 112, axis=1))
    assert not crop(PICTURE, CAMERA, box, border="black").image[:, :112].any()


def test_the_square_holds_the_points_and_is_centred():
    points = np.random.default_rng(2).uniform(100, 300, (21, 2))
    box = CropBox.around_points(points, scale=1.5)
    spread = points.max(0) - points.min(0)
    assert box.size == round(1.5 * spread.max())
    middle = np.array((box.left, box.top)) + 0.5 * (box.size - 1)
    np.testing.assert_allclose(middle, 0.5 * (points.max(0) + points.min(0)), atol=0.5)


def test_a_single_point_has_a_box():
    assert CropBox.around_points(np.array([[50.0, 60.0]])).size >= 8


def test_distortion_is_refused_and_taken_out():
    lens = (-0.25, 0.08, 1e-3, -5e-4)
    bent = CameraIntrinsics(width=640, height=480, fx=613, fy=612, cx=313, cy=245, distortion=lens)
    with pytest.raises(ValueError, match="lens distortion"):
        crop_camera(bent, BOXES[0])
    points = np.random.default_rng(3).uniform((-0.2, -0.15, 0.6), (0.2, 0.15, 1.0), (20, 3))
    straight = Undistorter(bent)
    np.testing.assert_allclose(
        straight.pixels(bent.project(points)), straight.camera.project(points), atol=1e-6
    )
    picture = np.zeros((480, 640), np.uint8)
    cv2.circle(picture, np.round(bent.project(points[0])).astype(int).tolist(), 5, 255, -1)
    rows, columns = np.nonzero(straight.image(picture) > 127)
    np.testing.assert_allclose(
        (columns.mean(), rows.mean()), straight.camera.project(points[0]), atol=0.8
    )


def test_without_distortion_the_picture_stays():
    assert Undistorter(CAMERA).image(PICTURE) is PICTURE


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: crop(PICTURE, CAMERA, CropBox(700, 0, 50)), "outside the picture of 640 x 480"),
        (lambda: crop(PICTURE[:100], CAMERA, BOXES[0]), "640 x 480 px, the picture 640 x 100"),
        (lambda: crop(PICTURE, CAMERA, BOXES[0], border="grey"), "replicate, black, got 'grey'"),
        (lambda: CropBox.around_points(np.zeros((21, 3))), r"\(N, 2\) in \[px\], got \(21, 3\)"),
        (lambda: CropBox.around_box((0, 0, np.nan, 1)), "finite; got"),
        (lambda: CropBox.around_box((5, 0, 2, 1)), "left, top, right, bottom"),
        (lambda: CropBox.around_box((0, 0, 2, 1), scale=0), "scale must be positive"),
        (lambda: CropBox(0, 0, 0), "1 px or more, got 0"),
        (lambda: CropBox(0.5, 0, 10), "whole number of pixels, got 0.5"),
        (lambda: Undistorter(CAMERA).image(PICTURE[:, :99]), "the picture 99 x 480"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_crop_is_frozen():
    with pytest.raises(AttributeError):
        Crop(PICTURE, CAMERA, BOXES[0]).box = None
