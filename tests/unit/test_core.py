"""Laws of the small parts that everything else stands on."""

import numpy as np
import pytest

from manip_core import interfaces
from manip_core.hand import LEFT, RIGHT, Hand, palm_rotation
from manip_core.hand_skeleton import BONES, FINGER_CHAINS, NUM_KEYPOINTS, TIPS, Keypoint
from manip_core.metrics import align_similarity, mpjpe_mm, pa_mpjpe_mm, path_length
from manip_core.rotation import (
    angle,
    exponential,
    logarithm,
    matrix_from_quaternion,
    quaternion_from_matrix,
)


def random_rotation(rng) -> np.ndarray:
    return matrix_from_quaternion(rng.normal(size=4))


def open_hand(rng, side=RIGHT) -> np.ndarray:
    """An open hand in its own palm frame: z along the fingers, x out of the palm."""
    toward_index = 1.0 if side == RIGHT else -1.0
    points = np.zeros((NUM_KEYPOINTS, 3))
    for finger, y in enumerate((0.04, 0.03, 0.0, -0.02, -0.04)):
        for joint, keypoint in enumerate(FINGER_CHAINS[finger]):
            points[keypoint] = (
                0.0,
                toward_index * y,
                (0.03 if finger == 0 else 0.09) + 0.03 * joint,
            )
    points[Keypoint.MIDDLE_MCP, 1] = 0.0
    return points + rng.normal(scale=1e-4, size=points.shape)


def test_bones_form_one_tree_rooted_at_the_wrist():
    assert len(BONES) == NUM_KEYPOINTS - 1
    assert sorted(BONES[:, 1]) == list(range(1, NUM_KEYPOINTS))
    assert all(parent < child for parent, child in BONES)
    assert [Keypoint(tip).name for tip in TIPS] == [
        f"{finger}_TIP" for finger in ("THUMB", "INDEX", "MIDDLE", "RING", "LITTLE")
    ]


@pytest.mark.parametrize("side", [RIGHT, LEFT])
def test_palm_frame_turns_with_the_hand(side):
    rng = np.random.default_rng(1)
    points = open_hand(rng, side)
    base = palm_rotation(points, side)
    assert np.linalg.det(base) == pytest.approx(1.0)
    assert angle(base) < 0.05
    turn = random_rotation(rng)
    np.testing.assert_allclose(palm_rotation(points @ turn.T + 0.3, side), turn @ base, atol=1e-9)


def test_a_flat_line_has_no_palm():
    with pytest.raises(ValueError, match="one line"):
        palm_rotation(np.outer(np.arange(NUM_KEYPOINTS), [0.0, 0.0, 0.01]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": np.zeros((20, 3))}, r"\(21, 3\), got \(20, 3\)"),
        ({"keypoints": np.full((21, 3), np.nan)}, "finite"),
        ({"contact": np.zeros(5)}, "contact"),
        ({"confidence": 1.5}, "confidence"),
        ({"side": "both"}, "side"),
    ],
)
def test_a_hand_says_what_is_wrong_with_it(change, message):
    import re

    assert re.search(message, Hand(stamp=0.0, **change).problem())
    assert Hand(stamp=0.0).problem() is None


def test_quaternions_and_matrices_are_inverse():
    rng = np.random.default_rng(2)
    rotations = [random_rotation(rng) for _ in range(200)]
    rotations += [np.diag(d) for d in ([1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1])]
    for rotation in rotations:
        quaternion = quaternion_from_matrix(np.asarray(rotation, float))
        assert np.linalg.norm(quaternion) == pytest.approx(1.0) and quaternion[3] >= 0
        np.testing.assert_allclose(matrix_from_quaternion(quaternion), rotation, atol=1e-9)


def test_exponential_and_logarithm_are_inverse():
    rng = np.random.default_rng(0)
    for vector in (*rng.normal(size=(50, 3)) * 0.8, np.zeros(3), np.full(3, 1e-10)):
        rotation = exponential(vector)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(logarithm(rotation), vector, atol=1e-9)


def test_pa_mpjpe_is_blind_to_similarity_and_not_to_mirroring():
    rng = np.random.default_rng(3)
    true = rng.normal(size=(5, 21, 3)) * 0.05
    moved = 1.7 * true @ random_rotation(rng).T + rng.normal(size=3)
    assert mpjpe_mm(moved, true).min() > 10
    np.testing.assert_allclose(pa_mpjpe_mm(moved, true), 0.0, atol=1e-9)
    assert pa_mpjpe_mm(true * [1, 1, -1], true).min() > 5
    assert (pa_mpjpe_mm(true + 0.01 * rng.normal(size=true.shape), true) > 1).all()
    np.testing.assert_allclose(align_similarity(moved, true), true, atol=1e-9)


def test_mpjpe_is_the_mean_distance():
    true = np.zeros((21, 3))
    off = true.copy()
    off[0, 0] = 0.021
    assert mpjpe_mm(off, true) == pytest.approx(1.0)
    assert path_length(np.array([[0, 0, 0], [3, 4, 0], [3, 4, 1]])) == pytest.approx(6.0)


def test_topic_names_are_unique():
    names = [topic.name for topic in interfaces.TOPICS]
    assert len(names) == len(set(names)) > 10
    assert all(topic.type.count("/") == 2 for topic in (*interfaces.TOPICS, *interfaces.SERVICES))
