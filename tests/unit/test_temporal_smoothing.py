"""The learnt smoother keeps the laws of the other, and mirrors left hands."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from manip_core.hand import LEFT, RIGHT, Hand
from manip_model.temporal import TemporalConfig, TemporalFusion
from manip_perception.smoothing import HandSmoother, SmoothingConfig
from manip_perception.smoothing_node import make_smoother
from manip_perception.temporal import TemporalNetwork
from manip_perception.temporal_smoothing import TemporalSmoother
from manip_training.temporal.fit import save
from synthetic_hand import make_hand

FRAME = 1 / 30
MIRROR = np.array((-1.0, 1.0, 1.0))


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = TemporalFusion(TemporalConfig(width=32, layers=2))
    torch.nn.init.normal_(network.answer.weight, std=0.02)
    save(network, tmp_path / "weights.npz")
    return tmp_path / "weights.npz"


@pytest.fixture
def smoother(weights):
    return TemporalSmoother(TemporalNetwork.read(weights))


def hand(frame, side=RIGHT, shift=0.0):
    rng = np.random.default_rng(frame)
    points = make_hand((0.1 + shift, 0.05, 0.6)) + 0.002 * rng.normal(size=(21, 3))
    return Hand(
        stamp=frame * FRAME,
        side=side,
        tracked=True,
        keypoints=points if side == RIGHT else points * MIRROR,
        keypoints_std=np.full((21, 3), 0.01),
        confidence=0.9,
    )


def run(smoother, frames, **how):
    return [smoother.update(hand(f, **how), f * FRAME) for f in frames]


def test_the_network_moves_the_hand_by_little_and_says_how_sure_it_is(smoother):
    given = run(smoother, range(20))
    for frame, out in enumerate(given):
        off = np.linalg.norm(out.keypoints - hand(frame).keypoints, axis=-1)
        assert 0 < off.max() < 0.05
        assert out.tracked and not out.problem()
        assert (out.keypoints_std > 0).all() and out.stamp == frame * FRAME


def test_a_left_hand_is_a_right_one_in_the_mirror(weights):
    network = TemporalNetwork.read(weights)
    right = run(TemporalSmoother(network), range(12))
    left = run(TemporalSmoother(TemporalNetwork.read(weights)), range(12), side=LEFT)
    for a, b in zip(right, left, strict=True):
        assert np.allclose(a.keypoints, b.keypoints * MIRROR, atol=1e-6)
        assert b.side == LEFT


def test_a_short_loss_is_bridged_and_a_long_one_ends(smoother, weights):
    run(smoother, range(10))
    lost = [smoother.update(None, (10 + n) * FRAME) for n in range(12)]
    bridged = [out.bridged for out in lost]
    assert bridged[:6] == [True] * 6 and not lost[-1].tracked
    spread = [out.keypoints_std.mean() for out in lost[:6]]
    assert (np.diff(spread) > 0).all()
    # Whatever is seen after it is a hand of its own.
    fresh = TemporalSmoother(TemporalNetwork.read(weights))
    after = [smoother.update(hand(f, shift=0.3), f * FRAME) for f in range(40, 45)]
    alone = [fresh.update(hand(f, shift=0.3), f * FRAME) for f in range(40, 45)]
    for a, b in zip(after, alone, strict=True):
        assert np.allclose(a.keypoints, b.keypoints, atol=1e-6)


def test_nonsense_is_put_aside_as_by_the_other_smoother(smoother):
    run(smoother, range(5))
    bad = replace(hand(5), keypoints=np.full((21, 3), np.nan))
    out = smoother.update(bad, 5 * FRAME)
    assert smoother.reason and out.bridged and np.isfinite(out.keypoints).all()
    far = smoother.update(hand(6, shift=0.9), 6 * FRAME)
    assert "jumped" in smoother.reason and far.bridged


def test_the_smoother_is_chosen_by_name(weights):
    config = SmoothingConfig()
    assert type(make_smoother("one_euro", "", config)) is HandSmoother
    assert type(make_smoother("temporal", str(weights), config)) is TemporalSmoother
    with pytest.raises(ValueError, match="one_euro or temporal, got 'kalman'"):
        make_smoother("kalman", "", config)
    assert type(make_smoother("temporal", "", config)) is TemporalSmoother
    with pytest.raises(FileNotFoundError):
        make_smoother("temporal", "nowhere.npz", config)
