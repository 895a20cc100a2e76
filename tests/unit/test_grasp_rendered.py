"""Trials of the grasp benchmark from the synthetic world: things stand, hands come from above."""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from manip_core.hand_skeleton import Keypoint

sys.path[:0] = [str(Path(__file__).parents[1] / "bench")]
torch = pytest.importorskip("torch")

from grasp_rendered import rendered_grasps  # noqa: E402


def test_things_stand_on_a_face_and_are_lifted_by_a_hand_above_the_table():
    grasps = list(islice(rendered_grasps("val", 3), 8))
    for grasp in grasps:
        # An axis of its own is upright, and it rests on the table.
        assert np.abs(grasp.rest[2]).max() == pytest.approx(1.0, abs=1e-6)
        assert grasp.height == pytest.approx(grasp.shape.height(grasp.rest))
        assert grasp.keypoints[: grasp.taken, :, 2].min() > -0.01
        assert grasp.lift[0] == pytest.approx(0.0, abs=1e-6)
        assert grasp.lift[-1] == grasp.lift.max() > 0.05
        assert 0 <= grasp.touched <= grasp.taken < len(grasp.times)
        wrist = np.linalg.norm(grasp.keypoints[grasp.taken, Keypoint.WRIST] - [0, 0, grasp.height])
        assert wrist < 0.25
    again = next(rendered_grasps("val", 3))
    np.testing.assert_array_equal(again.keypoints, grasps[0].keypoints)
    assert next(rendered_grasps("val", 4)).name != grasps[0].name
