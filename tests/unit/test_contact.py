"""Contact likelihood: high where pads meet, low where they do not, and steady in time."""

import numpy as np
import pytest

from manip_core.hand_skeleton import TIPS
from manip_perception.contact import (
    ContactConfig,
    ContactFilter,
    close_gaps,
    contact_likelihood,
    finger_curl,
)
from synthetic_hand import OPEN, bent, pinch


def test_an_open_hand_touches_nothing():
    assert contact_likelihood(OPEN).max() < 1e-3


@pytest.mark.parametrize("finger", (1, 2, 3, 4))
def test_a_pinch_is_seen_at_the_right_finger(finger):
    contact = contact_likelihood(pinch(finger))
    assert contact[finger - 1] > 0.9
    assert np.argmax(contact) == finger - 1


def test_likelihood_falls_with_the_gap_and_faster_across_than_along():
    gaps = np.linspace(0.0, 0.06, 13)
    across = [contact_likelihood(pinch(1, gap))[0] for gap in gaps]
    along = [contact_likelihood(pinch(1, 0.0, gap))[0] for gap in gaps]
    assert (np.diff(across) <= 1e-9).all() and (np.diff(along) <= 1e-9).all()
    assert across[-1] < 1e-3 < along[6]


def test_a_thumb_over_a_fist_is_no_pinch():
    fist = OPEN
    for finger in (1, 2, 3, 4):
        fist = bent(fist, finger, (1.5, 1.7, 0.9))
    fist = fist.copy()
    fist[TIPS[0]] = fist[TIPS[2]] + (0.008, 0, -0.015)
    assert (finger_curl(fist) > 3.0).all()
    assert contact_likelihood(fist).max() < 0.1


def test_mirrored_hands_give_the_same():
    flip = np.array((-1, 1, 1))
    for points in (OPEN, pinch(1), pinch(3, 0.02)):
        np.testing.assert_allclose(
            contact_likelihood(points * flip, "left"), contact_likelihood(points), atol=1e-9
        )


def test_curl_adds_up_the_joints():
    for total in (0.0, 1.0, 2.0, 3.0, 4.0):
        curl = finger_curl(bent(OPEN, 2, (total / 3,) * 3))
        assert curl[1] == pytest.approx(total, abs=0.05)


def test_one_odd_frame_does_not_show():
    steady = ContactFilter(0.5, 0.3)
    given = [steady.update(np.full(4, p))[1][0] for p in (0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1)]
    assert given == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_levels_prevent_chatter():
    steady = ContactFilter(0.5, 0.3)
    values = [0.9] * 3 + [0.45, 0.55] * 10 + [0.1] * 3 + [0.45] * 5
    touching = [steady.update(np.full(4, p))[1][0] for p in values]
    assert touching == [1] * 24 + [0] * 7


def test_closing_a_gap_keeps_the_image_and_shares_the_depth():
    points = pinch(1, 0.012, 0.03)
    closed = close_gaps(points, np.array((1.0, 0, 0, 0)))
    np.testing.assert_allclose(
        closed[:, :2] / closed[:, 2:], points[:, :2] / points[:, 2:], atol=1e-12
    )
    assert abs(closed[TIPS[0], 2] - closed[TIPS[1], 2]) < 1e-9
    np.testing.assert_array_equal(close_gaps(points, np.zeros(4)), points)


def test_config_checks_itself():
    with pytest.raises(ValueError, match="width"):
        ContactConfig(width=0.0)
