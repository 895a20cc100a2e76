"""The hand as a gripper: tips meet where they should, and the palm is where a grasp wants it."""

from functools import cache

import numpy as np
import pytest

from manip_control.fingertips import FINGERS, THUMB, Fingertips
from manip_control.opposition import PULL, SIDE, STYLES, WIDE, Opposition, Style
from manip_core.hand import LEFT, RIGHT
from manip_core.robot_model import ARM_JOINTS, TIP_RADIUS, limits

# Of each of STYLES, widths that it is made for [m].
GAPS = {PULL: (0.02, 0.047, 0.08, 0.12), SIDE: (0.02, 0.06, 0.1), WIDE: (0.02, 0.08, 0.14, 0.165)}
MADE_FOR = [(style, gap) for style in STYLES for gap in GAPS[style]]


@cache
def opposition(side: str, style: Style = WIDE) -> Opposition:
    return Opposition(side, style)


@pytest.mark.parametrize("side", [RIGHT, LEFT])
@pytest.mark.parametrize(("style", "gap"), MADE_FOR)
def test_both_sides_are_as_far_apart_as_asked(side, style, gap):
    tips = opposition(side, style).tips(gap)
    fingers, thumb = tips[:THUMB], tips[THUMB]
    # Surfaces of the tips, along the line of closing; and as deep as each other.
    np.testing.assert_allclose(fingers[:, 2] - TIP_RADIUS, gap / 2, atol=1e-3)
    np.testing.assert_allclose(-thumb[2] - TIP_RADIUS, gap / 2, atol=2e-3)
    np.testing.assert_allclose(tips[:, 0], 0.0, atol=2e-3)


@pytest.mark.parametrize("side", [RIGHT, LEFT])
@pytest.mark.parametrize("style", STYLES)
def test_joints_keep_their_limits_and_move_without_leaps(side, style):
    own, hand = limits(side), slice(len(ARM_JOINTS), None)
    held = opposition(side, style)
    gaps = np.linspace(held.narrowest, max(GAPS[style]), 80)
    rows = np.array([held.joints(gap) for gap in gaps])
    assert (rows >= own.lower[hand] - 1e-9).all() and (rows <= own.upper[hand] + 1e-9).all()
    assert np.abs(np.diff(rows, axis=0)).max() < 0.15


@pytest.mark.parametrize("style", STYLES)
def test_what_tips_miss_is_told(style):
    held, gaps = opposition(RIGHT, style), np.array(GAPS[style])
    assert (held.misses(gaps) < 2e-3).all()
    # Nobody's thumb and fingers meet across more than the hand is long.
    assert held.misses(np.array([0.19]))[0] > 4e-3


def test_each_style_is_the_strongest_at_its_own():
    gaps = np.array([0.05, 0.065, 0.085])

    def strength(style, *ups):
        """Whichever way it is pulled."""
        held = opposition(RIGHT, style)
        rows = [held.strength(gaps, np.tile(up, (3, 1)), 0.69) for up in ups]
        return np.min(rows, axis=0)

    pull, sides = (-1.0, 0.0, 0.0), ((0.0, 1.0, 0.0), (0.0, -1.0, 0.0))
    assert (strength(PULL, pull) > 1.3 * strength(WIDE, pull)).all()
    assert (strength(SIDE, *sides) > 1.4 * strength(WIDE, *sides)).all()
    assert (strength(SIDE, *sides) > 1.4 * strength(PULL, *sides)).all()


def test_strength_is_the_force_at_which_a_joint_reaches_its_torque():
    held, fingertips, gap = opposition(RIGHT, PULL), Fingertips(), 0.06
    up = np.array([-1.0, 0.0, 0.0])
    force = held.strength(np.array([gap]), up[None], 0.69)[0]
    # The thumb is the weaker side: its joints carry what it presses and what it carries.
    _, moves = fingertips.jacobian(held.joints(gap))
    torques = moves[THUMB] @ held.frame @ (force * (np.array([0.0, 0.0, 1.0]) + 0.8 * up))
    assert np.abs(torques).max() == pytest.approx(0.69, rel=0.01)


@pytest.mark.parametrize("style", STYLES)
def test_left_is_right_mirrored(style):
    right, left = (opposition(side, style).tips(0.06) for side in (RIGHT, LEFT))
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
