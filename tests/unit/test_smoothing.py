"""The smoother's laws: rest stays at rest, losses are bridged and end, nonsense is put aside."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manip_core.hand import LEFT, Hand
from manip_core.hand_skeleton import TIPS
from manip_perception.one_euro import OneEuroFilter
from manip_perception.smoothing import HandSmoother, SmoothingConfig
from synthetic_hand import make_hand, pinch

FRAME = 1 / 30
STAMPS = st.floats(-1, 10) | st.just(float("nan"))


def hand(stamp, shift=(0, 0, 0), points=None, contact=0.0, **changes):
    points = make_hand((0, 0.05, 0.6)) if points is None else points
    return Hand(
        **(
            dict(
                stamp=stamp,
                keypoints=points + np.asarray(shift, dtype=float),
                keypoints_std=np.full((21, 3), 0.01),
                contact=np.array((contact, 0, 0, 0)),
                confidence=0.9,
                tracked=True,
            )
            | changes
        )
    )


def test_constant_in_constant_out():
    smoother = HandSmoother()
    for i in range(30):
        given_out = smoother.update(hand(i * FRAME), i * FRAME)
        np.testing.assert_allclose(given_out.keypoints, hand(0).keypoints, atol=1e-12)
    assert smoother.rejected == 0 and given_out.tracked and not given_out.bridged


def test_one_euro_depends_on_time_not_on_frames():
    """Twice as fast with twice the cut-off and half the beta is the same curve."""
    slow, fast = OneEuroFilter(1.0, 2.0, 1.0), OneEuroFilter(2.0, 2.0, 2.0)
    for i, value in enumerate(np.random.default_rng(0).normal(size=(50, 4, 3)).cumsum(0)):
        np.testing.assert_allclose(slow.update(value, i * 0.1), fast.update(value, i * 0.05))


def test_one_euro_refuses_time_that_stands_still():
    one = OneEuroFilter(1.0, 0.0)
    one.update(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="later"):
        one.update(np.zeros(3), 1.0)


def test_noise_is_reduced_and_motion_is_followed():
    rng = np.random.default_rng(1)
    smoother = HandSmoother()
    raw, out = [], []
    for i in range(120):
        seen = hand(i * FRAME)
        seen.keypoints = seen.keypoints + rng.normal(0, 1, (21, 3)) * (0.0003, 0.0003, 0.002)
        raw.append(seen.keypoints)
        out.append(smoother.update(seen, i * FRAME).keypoints)
    raw, out = np.array(raw)[30:], np.array(out)[30:]
    assert (out.std(0).mean(0) < 0.6 * raw.std(0).mean(0)).all()

    smoother, lag = HandSmoother(), []
    for i in range(60):
        seen = hand(i * FRAME, (0.3 * i * FRAME, 0, 0))
        lag.append((seen.keypoints - smoother.update(seen, i * FRAME).keypoints)[0, 0] / 0.3)
    assert max(lag) < 0.05 and lag[-1] < 0.03


def test_short_losses_are_bridged_and_long_ones_end():
    smoother = HandSmoother()
    smoother.update(hand(0.0), 0.0)
    last_std, last_confidence = 0.01, 0.9
    for i in range(1, 30):
        given_out = smoother.update(None, i * FRAME)
        if i * FRAME <= smoother.config.max_gap:
            assert given_out.tracked and given_out.bridged
            assert given_out.keypoints_std.min() > last_std
            assert given_out.confidence < last_confidence
            last_std, last_confidence = given_out.keypoints_std.min(), given_out.confidence
        else:
            assert not given_out.tracked and not given_out.bridged
    # A hand that comes back elsewhere is taken as it is, without sliding there.
    back = smoother.update(hand(2.0, (0.3, 0, 0)), 2.0)
    np.testing.assert_allclose(back.keypoints, hand(0, (0.3, 0, 0)).keypoints, atol=1e-12)


def test_no_hand_ever_is_no_hand():
    assert not HandSmoother().update(None, 1.0).tracked


def test_unsound_observations_are_counted_and_treated_as_losses():
    smoother = HandSmoother()
    smoother.update(hand(0.0), 0.0)
    broken = hand(FRAME)
    broken.keypoints = np.full((21, 3), np.nan)
    given_out = smoother.update(broken, FRAME)
    assert given_out.bridged and np.isfinite(given_out.keypoints).all()
    assert smoother.rejected == 1 and "finite" in smoother.reason
    assert smoother.update(hand(0, (0, 0, -2.0)), 2 * FRAME).bridged
    assert "before the camera" in smoother.reason
    smoother.update(hand(3 * FRAME), 3 * FRAME)
    assert smoother.reason == ""


@pytest.mark.parametrize("stamp", (5.0, 4.9, 0.0))
def test_stamps_that_repeat_or_jump_back_start_anew(stamp):
    smoother = HandSmoother()
    smoother.update(hand(5.0), 5.0)
    given_out = smoother.update(hand(stamp, (0.1, 0, 0)), stamp)
    np.testing.assert_allclose(given_out.keypoints, hand(0, (0.1, 0, 0)).keypoints, atol=1e-12)
    assert "not later" in smoother.reason


def test_a_stamp_that_is_no_number_gives_no_hand():
    smoother = HandSmoother()
    assert not smoother.update(hand(0.0), float("nan")).tracked
    assert "finite" in smoother.reason


@pytest.mark.parametrize("odd", ({"shift": (0.3, 0, 0)}, {"side": LEFT}))
def test_one_odd_frame_is_put_aside_and_a_lasting_one_believed(odd):
    smoother = HandSmoother()
    for i in range(10):
        smoother.update(hand(i * FRAME), i * FRAME)
    given_out = smoother.update(hand(10 * FRAME, **odd), 10 * FRAME)
    assert given_out.bridged and smoother.reason
    np.testing.assert_allclose(given_out.keypoints, hand(0).keypoints, atol=1e-9)
    assert not smoother.update(hand(11 * FRAME), 11 * FRAME).bridged
    for i in range(12, 20):
        given_out = smoother.update(hand(i * FRAME, **odd), i * FRAME)
    assert not given_out.bridged
    np.testing.assert_allclose(given_out.keypoints, hand(0, **odd).keypoints, atol=1e-9)


def test_a_pinch_closes_within_two_frames_stays_closed_and_opens():
    smoother = HandSmoother()
    rng = np.random.default_rng(3)
    frames = [(None, 0.0)] * 10 + [(pinch(1, 0.012, 0.03), 0.95)] * 30 + [(None, 0.0)] * 10
    contact, depth_gap = [], []
    for i, (points, likelihood) in enumerate(frames):
        # Every tenth frame of the pinch is missed by the network.
        likelihood = 0.1 if likelihood and i % 10 == 5 else likelihood
        seen = hand(i * FRAME, points=points, contact=likelihood)
        seen.keypoints = seen.keypoints + rng.normal(0, 0.0005, (21, 3))
        out = smoother.update(seen, i * FRAME)
        contact.append(out.contact[0])
        depth_gap.append(abs(out.keypoints[TIPS[0], 2] - out.keypoints[TIPS[1], 2]))
    contact = np.array(contact)
    assert (contact[:10] < 0.3).all()
    assert (contact[12:40] > 0.6).all()
    assert (contact[42:] < 0.3).all()
    assert max(depth_gap[12:40]) < 0.005


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1, 10) | st.just(float("nan")), st.sampled_from("hnlfx")), max_size=40
    )
)
def test_whatever_comes_what_goes_out_is_sound(events):
    smoother = HandSmoother()
    for stamp, kind in events:
        seen = {
            "h": hand(stamp),
            "n": None,
            "l": hand(stamp, side=LEFT),
            "f": hand(stamp, (3.0, 0, 0)),
            "x": replace(hand(stamp), keypoints=np.full((21, 3), np.inf)),
        }[kind]
        out = smoother.update(seen, stamp)
        assert out.problem() is None
        assert not out.tracked or out.keypoints[:, 2].min() > 0


@pytest.mark.parametrize(
    "wrong", ({"max_gap": -1.0}, {"lateral_cutoff": 0.0}, {"contact_on": 0.2, "contact_off": 0.3})
)
def test_config_checks_itself(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SmoothingConfig(**wrong)
