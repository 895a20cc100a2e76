"""The palm's turn from its foreshortening."""

import numpy as np
import pytest

from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import Keypoint
from manip_core.rotation import angle, exponential
from manip_perception.palm_turn import PALM, PalmTurn, fit_rotation
from synthetic_hand import make_hand

DISTANCE = np.array([0.02, -0.03, 0.5])


def turned(points, vector):
    """The hand turned about its wrist, before the camera, and its lines of sight."""
    out = (points - points[Keypoint.WRIST]) @ exponential(np.array(vector)).T + DISTANCE
    return out, out[:, :2] / out[:, 2:]


def timid(points):
    """The same picture with depths half of what they are, as landmark networks see them."""
    wrist_z = points[Keypoint.WRIST, 2]
    z = wrist_z + 0.4 * (points[:, 2] - wrist_z)
    return np.column_stack((points[:, :2] / points[:, 2:] * z[:, None], z))


def facing():
    """A flat hand, fingers up, palm to the camera, its wrist at the origin."""
    return make_hand(tilt=0.0)


def test_an_exact_palm_is_found_from_a_wrong_start():
    points, slopes = turned(facing(), [0.1, 0.5, 0.2])
    rigid = facing()[PALM]
    start = exponential(np.array([0.0, 0.2, 0.1]))
    found = fit_rotation(rigid, slopes[PALM], start, points[PALM])
    np.testing.assert_allclose(found, exponential(np.array([0.1, 0.5, 0.2])), atol=1e-6)


def test_exact_keypoints_stay_as_they_are():
    turn = PalmTurn()
    for yaw in np.linspace(-0.5, 0.5, 21):
        points, slopes = turned(facing(), [0, yaw, 0])
        np.testing.assert_allclose(turn.correct(points, slopes), points, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_turn_that_the_depths_understate_is_brought_nearer_the_truth(axis):
    turn = PalmTurn()
    straight, slopes = turned(facing(), [0, 0, 0])
    for _ in range(50):
        turn.correct(timid(straight), slopes)
    vector = np.zeros(3)
    vector[axis] = 0.5
    true, slopes = turned(facing(), vector)
    seen = timid(true)
    corrected = turn.correct(seen, slopes)
    before = angle(palm_rotation(seen) @ palm_rotation(true).T)
    after = angle(palm_rotation(corrected) @ palm_rotation(true).T)
    assert before > 0.15 and after < 0.8 * before
    # Still on its lines of sight.
    np.testing.assert_allclose(corrected[:, :2] / corrected[:, 2:], slopes, atol=1e-9)


def test_a_palm_without_orientation_is_passed_on():
    line = np.outer(np.arange(21.0), [0, 0.01, 0]) + DISTANCE
    assert PalmTurn().correct(line, line[:, :2] / line[:, 2:]) is line
