"""Placing a hand in space: exact on exact input, and honest about its errors on noisy input."""

import numpy as np
import pytest

from manip_core.camera import CameraIntrinsics
from manip_perception.metric import (
    MetricConfig,
    MetricHand,
    fit_translation,
)
from synthetic_hand import make_hand

CAMERA = CameraIntrinsics.from_fov(1280, 720, 60.0)


def seen(points, camera=CAMERA, focal=None):
    """What a perfect network would report of a hand: pixels, depths in pixels, a world shape."""
    pixels = camera.project(points)
    depths = (points[:, 2] - points[0, 2]) * camera.fx / points[:, 2].mean()
    return pixels, depths, (points - points.mean(0)) * 1.1


def test_translation_is_exact_without_noise():
    shape = make_hand()
    where = np.array((0.1, -0.05, 0.6))
    points = shape + where
    np.testing.assert_allclose(fit_translation(shape, points[:, :2] / points[:, 2:]), where)


def test_a_hand_far_off_is_placed_exactly():
    # From afar the weak perspective in which the network sees is exact.
    camera = CameraIntrinsics.from_fov(1280, 720, 2.0)
    points = make_hand((0.2, -0.1, 40.0))
    placed, _ = MetricHand().place(*seen(points, camera), camera)
    np.testing.assert_allclose(placed, points, atol=0.15)  # 0.4 % of 40 m, along the ray
    shape_error = (placed - placed.mean(0)) - (points - points.mean(0))
    assert np.abs(shape_error).max() < 1e-3


@pytest.mark.parametrize("distance", (0.35, 0.6, 1.2))
@pytest.mark.parametrize("side", (-0.25, 0.0, 0.25))
def test_a_hand_at_arms_length_is_placed_within_millimetres(distance, side):
    points = make_hand((side * distance, 0.05, distance))
    placed, _ = MetricHand().place(*seen(points), CAMERA)
    assert abs(placed[:, 2].mean() / distance - points[:, 2].mean() / distance) < 0.04
    np.testing.assert_allclose(CAMERA.project(placed), CAMERA.project(points), atol=1e-6)


def test_hand_length_sets_the_scale():
    points = make_hand((0.01, 0.02, 0.6))
    near, _ = MetricHand(MetricConfig(hand_length=0.17)).place(*seen(points), CAMERA)
    far, _ = MetricHand(MetricConfig(hand_length=0.2)).place(*seen(points), CAMERA)
    np.testing.assert_allclose(far / near, 0.2 / 0.17)


def test_deviations_cover_the_errors():
    """Noise of the stated size gives errors of the stated size, and depth is the worst."""
    rng = np.random.default_rng(5)
    config = MetricConfig()
    hand = MetricHand(config)
    points = make_hand((0.05, 0.05, 0.6))
    scores = []
    for _ in range(300):
        pixels, depths, world = seen(points)
        size = config.hand_length * CAMERA.fx / 0.6
        pixels = pixels + rng.normal(0, config.lateral_error * size, pixels.shape)
        depths = depths + rng.normal(0, config.shape_error * size, depths.shape)
        world = world * rng.normal(1, 0.02) + rng.normal(0, 0.003, world.shape)
        placed, std = hand.place(pixels, depths, world, CAMERA)
        scores.append((placed - points) / std)
        assert (std[:, 2] > 2 * std[:, :2].max(1)).all()
    rms = np.sqrt(np.mean(np.square(scores), axis=(0, 1)))
    assert (rms > 0.4).all() and (rms < 1.4).all(), rms


def test_degenerate_shapes_still_give_numbers():
    pixels = np.tile((600.0, 300.0), (21, 1)) + np.arange(21)[:, None] * 1e-3
    placed, std = MetricHand().place(pixels, np.zeros(21), make_hand(), CAMERA)
    assert placed.shape == std.shape == (21, 3)


@pytest.mark.parametrize("length", (0.0, 1.0, float("nan")))
def test_impossible_hand_lengths_are_refused(length):
    with pytest.raises(ValueError, match="hand_length"):
        MetricConfig(hand_length=length)
