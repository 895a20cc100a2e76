"""Refined grasps: what is changed of a motion, and which of two outcomes is the better one."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "bench"))

from grasp_refinement import _FINGERS, _THUMB, _score
from grasp_trial import Record


def record(outcome: str, lift) -> Record:
    return Record(outcome=outcome, reason="", lift=np.asarray(lift, float), qpos=None)


def test_the_longer_and_the_higher_it_is_up_the_better():
    none = record("not_lifted", np.zeros(100))
    over = record("knocked_over", np.zeros(100))
    short = record("slipped", [0.06] * 20 + [0.0] * 80)
    longer = record("slipped", [0.06] * 60 + [0.0] * 40)
    held = record("success", [0.12] * 100)
    scores = [_score(one) for one in (over, none, short, longer, held)]
    assert scores == sorted(scores) and len(set(scores)) == len(scores)


def test_closing_bends_fingers_and_thumb_apart_and_swings_none():
    assert not (_FINGERS * _THUMB).any()
    assert not _FINGERS[:, 0].any() and not _THUMB[:, :2].any()
    assert _FINGERS.sum() == 9 and _THUMB.sum() == 2
