"""Hands as angles: there and back, and nothing but the wrist changes when the whole hand moves."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from manip_core.hand import palm_rotation
from manip_model.hand_state import HandState, joints_of, palm_rotations, state_of, turned
from synthetic_hand import OPEN, bent, make_hand


def hands(count=20, seed=0):
    """Open hands, fingers bent anyhow and no two points quite in place."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        points = OPEN
        for finger in range(1, 5):
            points = bent(points, finger, rng.uniform(-0.1, 1.4, 3))
        turn = Rotation.random(random_state=rng.integers(1000)).as_matrix()
        made.append((points + 0.003 * rng.normal(size=(21, 3))) @ turn.T)
    return np.stack(made)


def test_there_and_back_is_the_same_hand():
    joints = hands()
    np.testing.assert_allclose(joints_of(state_of(joints)), joints, atol=1e-12)


def test_palms_are_turned_as_everywhere_else():
    joints = hands()
    expected = np.stack([palm_rotation(one) for one in joints])
    np.testing.assert_allclose(palm_rotations(joints), expected, atol=1e-12)


def test_a_hand_that_moves_as_a_whole_keeps_its_angles():
    joints = hands()
    turn = Rotation.from_rotvec((0.4, -1.0, 2.0)).as_matrix()
    before, after = state_of(joints), state_of(joints @ turn.T + (0.1, 0.2, -0.3))
    for name in ("bends", "palm", "lengths"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), atol=1e-9)
    np.testing.assert_allclose(after.turn, turn @ before.turn, atol=1e-12)


def test_a_finger_that_bends_changes_its_own_angles():
    angles = np.array((0.5, 0.8, 0.3))
    before, after = state_of(OPEN), state_of(bent(OPEN, 2, angles))
    change = (after.bends - before.bends).reshape(5, 3, 2)
    np.testing.assert_allclose(change[[0, 1, 3, 4]], 0, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(change[2], axis=-1), angles, atol=1e-6)


def test_turns_are_rotations_by_their_vectors():
    bends = np.random.default_rng(1).normal(size=(30, 2))
    bends[0] = 0
    vectors = np.pad(bends, ((0, 0), (1, 0)))
    np.testing.assert_allclose(turned(bends), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


def test_what_is_no_hand_is_refused():
    with pytest.raises(ValueError, match=r"must be \(…, 21, 3\), got \(20, 3\)"):
        state_of(np.zeros((20, 3)))
    with pytest.raises(ValueError, match="no orientation"):
        state_of(np.zeros((2, 21, 3)))
    assert isinstance(state_of(make_hand()), HandState)
