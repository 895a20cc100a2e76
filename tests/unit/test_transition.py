"""The transition model at run time: what holds for any weights."""

import numpy as np
import pytest
import torch

from manip_core.hand import LEFT
from manip_model.hand_state import state_of
from manip_model.transition import TransitionConfig, TransitionNetwork, joints_dm
from manip_model.transition_features import (
    NUM_TOLD,
    NUM_VALUES,
    Gap,
    derivative,
    features,
    guesses,
    hands_of,
    values_of,
)
from manip_perception import transition as runtime
from manip_perception.transition import Known, Transition
from manip_training.transition.fit import save
from synthetic_hand import OPEN, bent

RATE = 30.0
MIRROR = np.array((-1.0, 1.0, 1.0))


def motion(times):
    """A hand that closes, turns and moves, gently."""
    hands = []
    for t in times:
        points = OPEN
        for finger in range(1, 5):
            points = bent(points, finger, (0.5 + 0.4 * np.sin(3 * t + finger),) * 3)
        c, s = np.cos(0.5 * t), np.sin(0.5 * t)
        turn = np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))
        hands.append((points - points[0]) @ turn.T + (0.1 * t, 0.05 * np.sin(2 * t), 0.6))
    return np.stack(hands)


BEFORE, AFTER = np.arange(-5, 1) / RATE, np.arange(16, 22) / RATE
TIMES = np.arange(1, 16) / RATE


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = TransitionNetwork(TransitionConfig(width=32, layers=2)).eval()
    for head in (network.answer, network.hand):
        torch.nn.init.normal_(head.weight, std=0.02)
    return network


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "transition.npz"
    save(network, path)
    return path


@pytest.fixture(scope="module")
def model(weights):
    return Transition(runtime.TransitionNetwork.read(weights))


def between(model, times, change=lambda x: x, **how):
    before, after = Known(BEFORE, change(motion(BEFORE))), Known(AFTER, change(motion(AFTER)))
    return model.between(before, after, times, **how)


def a_gap(after=True, size=3):
    state = state_of(np.concatenate((motion(BEFORE), motion(AFTER))))
    values = values_of(state, state.turn[5], state.wrist[5])
    values = values + 0.1 * np.random.default_rng(0).normal(size=(size, 1, NUM_VALUES))
    ends = (values[:, 6:], AFTER) if after else (values[:, :0], AFTER[:0])
    return Gap(values[:, :6], BEFORE, *ends, TIMES)


def test_values_are_hands_and_hands_are_values():
    joints = motion(BEFORE)
    state = state_of(joints)
    values = values_of(state, state.turn[2], state.wrist[2])
    assert np.abs(values[2, -6:]).max() < 1e-9
    back = hands_of(values, state.turn[2], state.wrist[2], state.palm, state.lengths)
    np.testing.assert_allclose(back, joints, atol=1e-9)
    args = [
        torch.from_numpy(np.array(x)) for x in (values[None], state.palm[:1], state.lengths[:1])
    ]
    rooted, moved = joints_dm(*args)
    there = (joints - joints[:, :1]) @ state.turn[2]
    np.testing.assert_allclose(rooted[0].numpy() / 10, there, atol=1e-6)
    np.testing.assert_allclose(moved[0].numpy(), values[:, -3:])


def test_turns_do_not_jump_at_half_a_turn():
    state = state_of(motion(np.arange(0, 20, 0.1)))
    values = values_of(state, state.turn[0], state.wrist[0])
    assert np.linalg.norm(values[-1, -6:-3]) > 2 * np.pi
    assert np.abs(np.diff(values, axis=0)[:, -6:-3]).max() < 0.06


@pytest.mark.parametrize("after", [True, False])
def test_without_torch_it_says_the_same(network, weights, after):
    told, _ = features(a_gap(after))
    assert told.shape == (3, NUM_VALUES, NUM_TOLD)
    with torch.no_grad():
        expected = network(torch.from_numpy(told))
    for said, other in zip(runtime.TransitionNetwork.read(weights)(told), expected, strict=True):
        # Weights are kept in half precision.
        np.testing.assert_allclose(said, other.numpy(), atol=2e-3)
        assert np.abs(said).max() > 0.02


def test_a_parabola_has_its_slope_and_cubics_are_found_again():
    times = np.array((-0.2, -0.1, -0.03, 0.0))
    parabola = (1 + 2 * times + 3 * times**2)[None, :, None]
    assert derivative(times, parabola, 0.0)[0, 0] == pytest.approx(2)
    assert derivative(times, parabola, 0.0, 2)[0, 0] == pytest.approx(6)
    assert derivative(times[-1:], parabola[:, -1:], 0.0, otherwise=7.0)[0, 0] == 7

    def cubic(t):
        return np.repeat((0.3 + t - 2 * t**2 + 4 * t**3)[None, :, None], NUM_VALUES, -1)

    gap = Gap(cubic(BEFORE), BEFORE, cubic(AFTER), AFTER, TIMES)
    straight, smooth, spline, fifth = guesses(gap)
    for exact in (spline, fifth):
        np.testing.assert_allclose(exact, cubic(TIMES), atol=1e-8)
    assert np.abs(smooth - cubic(TIMES)).max() < 0.1 * np.abs(straight - cubic(TIMES)).max()


def test_what_is_added_and_the_doubt_vanish_at_both_ends(model):
    near = np.array((1e-5, AFTER[0] - 1e-5))
    joints, deviation = between(model, near)
    ends = motion((0.0, AFTER[0]))
    assert np.abs(joints - ends).max() < 1e-3 and deviation.max() < 1e-5
    _, inside = between(model, TIMES)
    assert (inside[7] > 3 * inside[0]).all() and (inside[7] > 3 * inside[-1]).all()
    assert (inside > 0).all()
    # A wrong wrist is wrong for all.
    assert (inside[:, 1:] >= inside[:, :1]).all()


def test_doubt_of_a_forecast_grows(model):
    joints, deviation = model.ahead(Known(BEFORE, motion(BEFORE)), TIMES)
    assert joints.shape == (15, 21, 3) and deviation[-1].mean() > 5 * deviation[0].mean()
    assert np.abs(joints[0] - motion(TIMES[:1])[0]).max() < 0.02


def test_it_does_not_matter_where_the_hand_is_nor_when(model):
    turn = np.array(((0.0, -1, 0), (1, 0, 0), (0, 0, 1)))
    here, sure = between(model, TIMES)
    there, as_sure = between(model, TIMES, lambda x: x @ turn.T + (0.3, -0.2, 0.4))
    np.testing.assert_allclose(there, here @ turn.T + (0.3, -0.2, 0.4), atol=1e-5)
    np.testing.assert_allclose(as_sure, sure, rtol=1e-3)
    before, after = Known(BEFORE + 7, motion(BEFORE)), Known(AFTER + 7, motion(AFTER))
    np.testing.assert_allclose(model.between(before, after, TIMES + 7)[0], here, atol=1e-5)


def test_a_left_hand_is_a_right_one_in_the_mirror(model):
    right, sure = between(model, TIMES)
    left, as_sure = between(model, TIMES, lambda x: x * MIRROR, side=LEFT)
    np.testing.assert_allclose(left * MIRROR, right, atol=1e-9)
    np.testing.assert_allclose(as_sure, sure)


def test_a_long_gap_is_the_same_motion_slower(model):
    base = runtime.LONGEST
    for times in (1.0, 3.0):
        before = Known(BEFORE * base * times, motion(BEFORE))
        after = Known((AFTER - AFTER[0] + 1) * base * times, motion(AFTER))
        joints, deviation = model.between(before, after, TIMES * base * times)
        if times == 1.0:
            expected, sure = joints, deviation
    np.testing.assert_allclose(joints, expected, atol=1e-9)
    np.testing.assert_allclose(deviation, 3 * sure)


def test_one_frame_on_either_side_is_enough(model):
    before, after = Known(BEFORE[-1:], motion(BEFORE[-1:])), Known(AFTER[:1], motion(AFTER[:1]))
    joints, _ = model.between(before, after, TIMES)
    assert np.isfinite(joints).all()
    assert np.isfinite(model.ahead(before, TIMES)[0]).all()


def test_what_makes_no_sense_is_refused(model, tmp_path):
    before, after = Known(BEFORE, motion(BEFORE)), Known(AFTER, motion(AFTER))
    with pytest.raises(ValueError, match=r"times must lie between 0.000 and 0.533 s"):
        model.between(before, after, np.array((0.1, 0.6)))
    with pytest.raises(ValueError, match=r"after 0.000 s, got -0.100"):
        model.ahead(before, np.array((-0.1,)))
    with pytest.raises(ValueError, match="times must rise"):
        Known(BEFORE[::-1], motion(BEFORE))
    with pytest.raises(ValueError, match="finite"):
        Known(BEFORE, np.full((6, 21, 3), np.nan))
    with pytest.raises(ValueError, match=r"got \(5, 21, 3\)"):
        Known(BEFORE, motion(BEFORE[:5]))
    np.savez(tmp_path / "other.npz", format="other")
    with pytest.raises(ValueError, match="not a manip-transition-1"):
        runtime.TransitionNetwork.read(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        runtime.TransitionNetwork.read(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="multiple of the heads"):
        TransitionConfig(width=30, heads=4)
