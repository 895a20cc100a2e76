"""Refined grasps: what is tried, and which of two outcomes is the better one."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "bench"))

from grasp_refinement import SKIPS, score
from grasp_trial import Record


def record(outcome: str, lift) -> Record:
    return Record(outcome=outcome, reason="", lift=np.asarray(lift, float), qpos=None)


def test_the_longer_and_the_higher_it_is_up_the_better():
    none = record("not_lifted", np.zeros(100))
    over = record("knocked_over", np.zeros(100))
    short = record("slipped", [0.06] * 20 + [0.0] * 80)
    longer = record("slipped", [0.06] * 60 + [0.0] * 40)
    held = record("success", [0.12] * 100)
    scores = [score(one) for one in (over, none, short, longer, held)]
    assert scores == sorted(scores) and len(set(scores)) == len(scores)


def test_first_of_all_is_what_would_have_been_done_anyway():
    assert SKIPS[0] == 0 and len(set(SKIPS)) == len(SKIPS) > 1
