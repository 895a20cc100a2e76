"""A model beside MediaPipe in photos: figures that must come out, and pictures without hands."""

import cv2
import numpy as np
import pytest
import torch

from manip_core.resources import find
from manip_model.build import build_model
from manip_model.hand_model import HandModel
from manip_training import commands, photos
from manip_training.config import compose
from micro_training import MICRO

FRAMES = (0, 300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two frames of the bundled clip, a picture without a hand, and something that is none."""
    folder = tmp_path_factory.mktemp("photos")
    video = cv2.VideoCapture(str(find("assets/demo/right_hand.mp4")))
    for frame in FRAMES:
        video.set(cv2.CAP_PROP_POS_FRAMES, frame)
        cv2.imwrite(str(folder / f"{frame:03d}.png"), video.read()[1])
    cv2.imwrite(str(folder / "wall.jpg"), np.full((240, 320, 3), 128, np.uint8))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    return photos.look(photos.pictures_in(folder))


def perfect(seen):
    """What a model says that agrees with MediaPipe but for size, place and turn."""
    turn = np.array(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    return {
        "joints": np.stack([1.3 * one.world @ turn.T + 0.5 for one in seen]),
        "pixels": np.stack([one.pixels for one in seen]),
        "heat": np.stack([one.pixels for one in seen]),
        "side": np.array([one.side for one in seen]),
    }


def test_hands_are_found_where_they_are(seen):
    found, empty = seen
    assert [path.name for path in empty] == ["wall.jpg"]
    truth = np.load(find("assets/demo/right_hand_truth.npz"))["keypoints_px"]
    for frame, one in zip(FRAMES, found, strict=True):
        assert one.side == 1 and one.crop.image.shape == (224, 224, 3)
        off = one.crop.to_picture(one.pixels) - truth[frame]
        assert np.linalg.norm(off, axis=-1).mean() < 15
        assert (one.pixels > 0).all() and (one.pixels < 224).all()


def test_who_agrees_is_near(seen):
    found, _ = seen
    figures = photos.compare(found, perfect(found))
    assert figures["photos_pa_to_mediapipe_mm"] < 1e-6
    assert figures["photos_pck05_pct"] == figures["photos_heat_pck05_pct"] == 100
    assert figures["photos_2d_of_box_pct"] == 0 and figures["photos_side_agrees_pct"] == 100


def test_who_differs_is_as_far_as_it_is(seen):
    found, _ = seen
    said = perfect(found)
    box = np.array([np.ptp(one.pixels, axis=0).max() for one in found])
    said["pixels"] = said["pixels"] + (0.07 * box)[:, None, None] * np.array((1.0, 0.0))
    said["side"] = 1 - said["side"]
    figures = photos.compare(found, said)
    assert figures["photos_2d_of_box_pct"] == pytest.approx(7)
    assert figures["photos_pck05_pct"] == 0 and figures["photos_pck10_pct"] == 100
    assert figures["photos_side_agrees_pct"] == 0


@pytest.mark.parametrize("size", (224, 112))
def test_a_model_is_asked_at_its_own_resolution(seen, size):
    found, _ = seen
    words = [word for word in MICRO if word.startswith(("preset", "model"))]
    torch.manual_seed(0)
    model = build_model(compose([*words, f"model.image_size={size}"]).model, HandModel.open())
    said = photos.predict(model.eval(), found, torch.device("cpu"))
    # Random weights put the hand somewhere in the crop, whose pixels are those of the photo's.
    assert said["joints"].shape == (2, 21, 3)
    for one, joints, pixels in zip(found, said["joints"], said["pixels"], strict=True):
        assert np.allclose(one.crop.camera.project(joints), pixels, atol=0.05)
    assert photos.sheet(found, said).shape == (224, 8 * 224, 3)


def test_no_pictures_are_an_error_in_words(folder, tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="no pictures"):
        photos.pictures_in(tmp_path)
    with pytest.raises(FileNotFoundError, match="no pictures"):
        photos.pictures_in(folder / "notes.txt")
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(b"\xff\xd8 not a picture")
    with pytest.raises(ValueError, match=r"torn\.jpg is no picture"):
        photos.look([torn])
    assert commands.main(["photos", str(tmp_path / "none.pt"), "--photos", str(folder)]) == 2
    assert "no model file" in capsys.readouterr().err
