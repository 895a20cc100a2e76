"""Backgrounds of the synthetic world: the same every time, and apart between the variants."""

import cv2
import numpy as np
import pytest
import torch

from manip_training.synthetic.backgrounds import DRAWN, SIDE, Backgrounds, photos_of
from manip_training.synthetic.draw import Draw


@pytest.fixture()
def folder(tmp_path):
    """Two pictures for training, one for validation, and a note."""
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (300, 400)), ("b.jpg", (100, 80)), ("val_c.png", (256, 256))):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    (tmp_path / "licence.txt").write_text("CC0")
    return tmp_path


def test_pictures_are_the_same_every_time():
    first, again = (Backgrounds("train", None, "cpu").bank for _ in range(2))
    assert first.shape == (DRAWN["train"], 3, SIDE, SIDE) and first.dtype == torch.uint8
    assert torch.equal(first, again)


def test_variants_share_no_picture(folder):
    train, val = (Backgrounds(variant, folder, "cpu") for variant in ("train", "val"))
    assert (train.photos, val.photos) == (2, 1)
    apart = (train.bank.float().flatten(1)[:, None] - val.bank.float().flatten(1)).abs().mean(-1)
    assert apart.min() > 2


def test_a_picture_is_cut_to_its_middle_square(tmp_path):
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[:, 50:250, 2] = 255  # red in OpenCV's order
    cv2.imwrite(str(tmp_path / "wide.png"), picture)
    (square,) = photos_of(tmp_path, "train")
    assert square.shape == (SIDE, SIDE, 3)
    assert (square == (255, 0, 0)).all()


def test_photos_are_shown_more_often_than_drawn_pictures(folder):
    backgrounds = Backgrounds("train", folder, "cpu")
    rows, placement = backgrounds.draw(Draw(2000, torch.Generator().manual_seed(0)))
    share = (rows >= DRAWN["train"]).float().mean()
    assert 0.7 < share < 0.8 and rows.max() == len(backgrounds.bank) - 1
    centre, scale = placement[:, :2], placement[:, 2:3]
    # But for its turn, what is shown lies within the picture.
    assert (centre - 0.5 * scale > -1e-5).all() and (centre + 0.5 * scale < 1 + 1e-5).all()


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"broken\.png"):
        photos_of(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        photos_of(tmp_path / "nowhere", "train")
