"""Resolution, sharpening and JPEG of rendered pictures: less detail, everything in its place."""

import cv2
import numpy as np
import pytest
import torch

from manip_training.synthetic.draw import Draw
from manip_training.synthetic.resolution import SHRINK, Resolution

SIDE = 224


@pytest.fixture(scope="module")
def resolution():
    return Resolution(SIDE, (90.0, 95.0), "cpu")


def noise(count, side=SIDE):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def smooth(count):
    """Pictures without fine detail, whose colours vary as well."""
    line = torch.linspace(0, 3, SIDE)
    waves = 0.5 + 0.3 * torch.sin(line[:, None] + 0.5) * torch.cos(line)
    return torch.stack((waves, waves.T, 0.8 * waves)).expand(count, -1, -1, -1)


def test_the_best_quality_leaves_a_smooth_picture(resolution):
    picture = smooth(2)
    seen = resolution.compress(picture, torch.full((2,), 99.0), torch.zeros(2))
    assert (seen - picture).abs().max() < 0.02


def test_what_jpeg_does_to_grey_is_what_opencv_does(resolution):
    rng = np.random.default_rng(0)
    grey = cv2.resize(rng.random((28, 28)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=-1)
    for quality in (30, 60, 90):
        flags = (cv2.IMWRITE_JPEG_QUALITY, quality)
        _, packed = cv2.imencode(".jpg", np.round(255 * picture[..., ::-1]).astype(np.uint8), flags)
        expected = cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1] / 255.0
        image = torch.tensor(picture).float().permute(2, 0, 1)[None]
        seen = resolution.compress(image, torch.tensor([float(quality)]), torch.zeros(1))
        seen = seen[0].clamp(0, 1).permute(1, 2, 0).numpy()
        lost = np.abs(expected - picture).mean()
        assert np.abs(seen - expected).mean() < 0.1 * lost + 0.0025, quality


def test_lower_quality_loses_more(resolution):
    picture = noise(1)
    lost = [
        (resolution.compress(picture, torch.tensor([q]), torch.zeros(1)) - picture).abs().mean()
        for q in (20.0, 50.0, 90.0)
    ]
    assert lost[0] > lost[1] > lost[2]


def test_sharpening_raises_detail_and_keeps_the_mean(resolution):
    picture = 0.3 + 0.4 * noise(1)
    best = torch.tensor([99.0])
    plain, sharp = (resolution.compress(picture, best, torch.tensor([s])) for s in (0.0, 1.0))
    assert sharp.std() > 1.3 * plain.std()
    assert (sharp.mean() - plain.mean()).abs() < 1e-3


def test_everything_stays_in_its_place(resolution):
    picture = torch.full((len(SHRINK), 3, SIDE, SIDE), 30, dtype=torch.uint8)
    picture[:, :, 60:100, 120:150] = 220
    draw = Draw(len(picture), torch.Generator().manual_seed(0))
    light = resolution.apply(picture, draw).float().mean(1) - 30
    line = torch.arange(SIDE).float()
    for axis, middle in ((1, 79.5), (2, 134.5)):
        share = light.clamp(min=20).sub(20).sum(3 - axis)
        found = (share * line).sum(-1) / share.sum(-1)
        assert (found - middle).abs().max() < 0.7


def test_later_rows_of_a_group_have_fewer_pixels(resolution):
    picture = (255 * noise(len(SHRINK))).to(torch.uint8)
    seen = resolution.apply(picture, Draw(len(SHRINK), torch.Generator().manual_seed(0))).float()
    steps = (seen[..., 1:] - seen[..., :-1]).abs().mean((1, 2, 3))
    order = torch.tensor(SHRINK)
    for coarse, fine in ((2, 1), (3, 2), (5, 3)):
        assert steps[order == coarse].max() < steps[order == fine].min()


def test_small_pictures_lose_no_more_than_large_ones():
    """A hand is so many pixels wide in a photo, whatever the network's size."""
    half = Resolution(112, (95.0, 96.0), "cpu")
    picture = torch.nn.functional.avg_pool2d(255 * noise(len(SHRINK)), 2).to(torch.uint8)
    seen = half.apply(picture, Draw(len(SHRINK), torch.Generator().manual_seed(0))).float()
    steps = (seen[..., 1:] - seen[..., :-1]).abs().mean((1, 2, 3))
    order = torch.tensor(SHRINK)
    # Some are sharpened, which alone makes a difference.
    assert steps[order == 2].min() > 0.9 * steps[order == 1].min()
    assert steps[order == 4].max() < 0.7 * steps[order == 1].min()


def test_a_size_that_blocks_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="multiple of 8 px, got 100"):
        Resolution(100, (50.0, 90.0), "cpu")
