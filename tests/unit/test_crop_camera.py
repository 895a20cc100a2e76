"""One camera type, however the intrinsics arrive."""

import numpy as np
import pytest
import torch

from manip_core.camera import CameraIntrinsics
from manip_model.camera import CropCamera

VALUES = (310.0, 305.0, 111.0, 113.5)
FX, FY, CX, CY = VALUES
MATRIX = np.array([[FX, 0, CX], [0, FY, CY], [0, 0, 1]])
INTRINSICS = CameraIntrinsics(width=224, height=224, fx=FX, fy=FY, cx=CX, cy=CY)


@pytest.mark.parametrize(
    "given",
    [
        dict(zip(("fx", "fy", "cx", "cy"), VALUES, strict=True)),
        {"fx": FX, "fy": FY, "ppx": CX, "ppy": CY, "width": 640},
        {"fx": torch.full((3,), FX), "fy": FY, "cx": CX, "cy": CY},
        VALUES,
        np.array(VALUES),
        torch.tensor(VALUES, dtype=torch.float64),
        torch.tensor([VALUES] * 3),
        MATRIX,
        torch.from_numpy(np.stack([MATRIX] * 3)),
        INTRINSICS,
        [INTRINSICS] * 3,
        CropCamera(torch.tensor([VALUES] * 3)),
    ],
    ids=lambda g: type(g).__name__,
)
def test_every_form_gives_the_same_camera(given):
    camera = CropCamera.of(given, 3)
    assert camera.parameters.dtype == torch.float32
    assert torch.allclose(camera.parameters, torch.tensor(VALUES).expand(3, 4))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fx": 1.0, "fy": 1.0, "cx": 0.0}, "must have fx, fy, cx, cy, got fx, fy, cx"),
        (torch.ones(2, 4), r"\(3, 4\)"),
        (torch.ones(5), r"got \(5,\)"),
        (torch.ones(3, 4, 4), r"got \(3, 4, 4\)"),
        ((0.0, 300.0, 112.0, 112.0), "must be positive"),
        ((300.0, float("nan"), 112.0, 112.0), "finite"),
        (
            CameraIntrinsics(width=9, height=9, fx=1, fy=1, cx=0, cy=0, distortion=(0.1,) * 4),
            "undistort",
        ),
    ],
)
def test_other_forms_are_refused_in_words(given, said):
    with pytest.raises(ValueError, match=said):
        CropCamera.of(given, 3)


def test_it_projects_as_the_cameras_of_the_pictures_do():
    points = np.random.default_rng(0).normal(size=(1, 50, 3)) * 0.1 + [0, 0, 0.6]
    camera = CropCamera.of(INTRINSICS, 1, dtype=torch.float64)
    pixels = camera.project(torch.from_numpy(points))
    assert np.allclose(pixels[0], INTRINSICS.project(points[0]))
    back = camera.unproject(pixels, torch.from_numpy(points[..., 2]))
    assert np.allclose(back, points)


def test_points_behind_the_camera_stay_finite():
    pixels = CropCamera.of(VALUES, 1).project(torch.tensor([[[0.1, 0.1, -1.0], [0.1, 0.0, 0.0]]]))
    assert torch.isfinite(pixels).all()
