"""The hand as a gripper: tips meet where they should, and the palm is where a grasp wants it."""

from functools import cache

import numpy as np
import pytest

from manip_control.fingertips import FINGERS, THUMB, Fingertips
from manip_control.opposition import Opposition
from manip_core.hand import LEFT, RIGHT
from manip_core.robot_model import ARM_JOINTS, TIP_RADIUS, limits


@cache
def opposition(side: str) -> Opposition:
    return Opposition(side)


@pytest.mark.parametrize("side", [RIGHT, LEFT])
@pytest.mark.parametrize("gap", [0.02, 0.047, 0.08, 0.1])
def test_both_sides_are_as_far_apart_as_asked(side, gap):
    tips = opposition(side).tips(gap)
    fingers, thumb = tips[:THUMB], tips[THUMB]
    # Surfaces of the tips, along the line of closing; and as deep as each other.
    np.testing.assert_allclose(fingers[:, 2] - TIP_RADIUS, gap / 2, atol=1e-3)
    np.testing.assert_allclose(-thumb[2] - TIP_RADIUS, gap / 2, atol=2e-3)
    np.testing.assert_allclose(tips[:, 0], 0.0, atol=2e-3)


@pytest.mark.parametrize("side", [RIGHT, LEFT])
def test_joints_keep_their_limits_and_move_without_leaps(side):
    own, hand = limits(side), slice(len(ARM_JOINTS), None)
    gaps = np.linspace(opposition(side).narrowest, 0.14, 80)
    rows = np.array([opposition(side).joints(gap) for gap in gaps])
    assert (rows >= own.lower[hand] - 1e-9).all() and (rows <= own.upper[hand] + 1e-9).all()
    assert np.abs(np.diff(rows, axis=0)).max() < 0.15


def test_left_is_right_mirrored():
    right, left = opposition(RIGHT).tips(0.06), opposition(LEFT).tips(0.06)
    np.testing.assert_allclose(left, right * (1.0, -1.0, 1.0), atol=1e-4)


@pytest.mark.parametrize("side", [RIGHT, LEFT])
def test_a_palm_for_a_grasp_has_its_tips_about_the_centre(side):
    hand = opposition(side)
    rng = np.random.default_rng(3)
    closing = rng.normal(size=3)
    closing /= np.linalg.norm(closing)
    approach = np.cross(closing, rng.normal(size=3))
    approach /= np.linalg.norm(approach)
    centre = rng.normal(size=3)
    position, rotation = hand.palm(centre, closing, approach)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    tips = position + Fingertips(side).places(hand.joints(0.06)) @ rotation.T
    across = tips[THUMB] - tips[FINGERS.index("middle")]
    assert across @ closing == pytest.approx(0.06 + 2 * TIP_RADIUS, abs=2e-3)
    assert abs(across @ approach) < 2e-3
    # The palm is behind, and the fingers reach forwards.
    assert (centre - position) @ approach > 0.05


def test_fingers_lie_apart_in_the_posture_for_it():
    hand, fingertips = opposition(RIGHT), Fingertips()
    joints = hand.joints(0.1).reshape(4, 4)
    joints[:THUMB, 0] = hand.apart[:THUMB]
    beside = (fingertips.places(joints.ravel()) @ hand.frame[:, 1])[:THUMB]
    before = (fingertips.places(hand.joints(0.1)) @ hand.frame[:, 1])[:THUMB]
    assert np.ptp(beside) > np.ptp(before) + 0.02
