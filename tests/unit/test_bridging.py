"""The bridge's laws: what is seen passes, losses are forecast with growing doubt, nothing jumps."""

from dataclasses import replace

import numpy as np
import pytest

from manip_core.hand import LEFT, RIGHT, Hand
from manip_perception.bridging import Bridge, BridgeConfig
from manip_perception.transition import Transition
from synthetic_hand import OPEN, bent

FRAME = 1 / 30
MIRROR = np.array((-1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def transition():
    return Transition.shipped()


@pytest.fixture
def bridge(transition):
    return Bridge(transition)


def points(frame, side=RIGHT):
    """A hand that moves to the right at 0.3 m/s and closes slowly."""
    made = bent(OPEN, 1, (0.02 * frame,) * 3) + np.array((0.01 * frame, 0, 0))
    return made if side == RIGHT else made * MIRROR


def seen(frame, shift=(0, 0, 0), side=RIGHT):
    return Hand(
        stamp=frame * FRAME,
        side=side,
        tracked=True,
        keypoints=points(frame, side) + np.asarray(shift, float),
        keypoints_std=np.full((21, 3), 0.004),
        confidence=0.9,
    )


def nothing(frame, side=RIGHT):
    return Hand(stamp=frame * FRAME, side=side)


def run(bridge, first, lost, after, **how):
    """Frames ``first`` seen, ``lost`` not, ``after`` seen again."""
    given = [bridge.update(seen(f)) for f in range(first)]
    given += [bridge.update(nothing(first + n)) for n in range(lost)]
    return given + [bridge.update(seen(first + lost + n, **how)) for n in range(after)]


def test_what_is_seen_passes_unchanged(bridge):
    for frame in range(10):
        hand = seen(frame)
        assert bridge.update(hand) is hand


def test_a_loss_is_forecast_with_growing_doubt_and_ends(bridge):
    given = run(bridge, 10, 20, 0)[10:]
    bridged = [hand.bridged for hand in given]
    assert bridged == [True] * 15 + [False] * 5
    assert not any(hand.tracked for hand in given[15:])
    spread = np.array([hand.keypoints_std.mean() for hand in given[:15]])
    confidence = np.array([hand.confidence for hand in given[:15]])
    assert (np.diff(spread) >= 0).all() and (np.diff(confidence) < 0).all()
    assert 0.004 < spread[0] < 0.5 * spread[-1] and confidence[-1] < 0.05
    for hand in given:
        assert not hand.problem()
    # It goes on the way it went.
    assert given[4].keypoints[0, 0] > points(9)[0, 0] + 0.01


def test_a_forecast_takes_the_place_of_a_hand_that_the_smoother_holds(bridge):
    for frame in range(8):
        bridge.update(seen(frame))
    held = replace(seen(7), stamp=9 * FRAME, bridged=True)
    given = bridge.update(held)
    assert given.bridged and np.abs(given.keypoints - held.keypoints).max() > 1e-3


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.04, 0.02, 0), (0.2, 0, 0.1)])
def test_what_is_seen_again_is_reached_in_time_and_without_a_jump(bridge, shift):
    given = run(bridge, 10, 8, 20, shift=shift)
    steps = np.abs(np.diff([hand.keypoints for hand in given], axis=0)).max((1, 2))
    # At most the speed of the hand itself, of the way back, and of the fingers on it.
    far = np.linalg.norm(shift)
    fastest = max(1.875 * far / 0.5, 1.0) + 1.0
    assert steps[9:].max() < fastest * FRAME
    for hand in given[18 + 16 :]:
        expected = points(round(hand.stamp / FRAME)) + shift
        np.testing.assert_allclose(hand.keypoints, expected, atol=1e-12)
    # On the way back it says that it is not where it is seen.
    first = given[18]
    apart = np.linalg.norm(first.keypoints - seen(18, shift).keypoints, axis=-1)
    assert (first.keypoints_std.min(1) >= apart - 1e-9).all()
    assert not first.bridged and first.confidence == 0.9


def test_a_left_hand_is_a_right_one_in_the_mirror(transition):
    right, left = Bridge(transition), Bridge(transition)
    for frame in range(20):
        lost = 8 <= frame < 13
        one = right.update(nothing(frame) if lost else seen(frame))
        other = left.update(nothing(frame, LEFT) if lost else seen(frame, side=LEFT))
        np.testing.assert_allclose(one.keypoints, other.keypoints * MIRROR, atol=1e-9)
        assert other.side == LEFT


def test_after_a_long_loss_or_with_another_side_a_hand_is_a_new_one(transition):
    bridge = Bridge(transition)
    last = run(bridge, 10, 20, 1, shift=(0.3, 0, 0))[-1]
    np.testing.assert_array_equal(last.keypoints, seen(30, (0.3, 0, 0)).keypoints)
    run(bridge, 10, 0, 0)
    bridge.update(nothing(10))
    hand = seen(11, side=LEFT)
    assert bridge.update(hand) is hand


def test_nothing_seen_yet_time_that_goes_back_and_hands_without_a_palm(bridge):
    assert not bridge.update(nothing(0)).tracked
    run(bridge, 10, 3, 0)
    again = seen(2)
    assert bridge.update(again) is again
    flat = replace(seen(20), keypoints=np.ones((21, 3)))
    assert bridge.update(flat) is flat
    assert not bridge.update(nothing(21)).tracked


def test_settings_are_checked():
    with pytest.raises(ValueError, match="bridge_speed must be positive"):
        BridgeConfig(bridge_speed=0)
    with pytest.raises(ValueError, match="must not be above bridge_longest"):
        BridgeConfig(bridge_longest=0.1)
