"""A hand and what is seen with it: what is sound, and what is said of what is not."""

import re
from dataclasses import replace

import numpy as np
import pytest

from manip_core.hand import Hand
from seen_hand import BOX, GRAZE, GRIP, UNSIZED, seen_hand


def test_a_sound_hand_has_no_problem():
    assert seen_hand().problem() is None
    assert seen_hand(side="left").problem() is None
    assert Hand(stamp=0.0).problem() is None
    for sound in (BOX, UNSIZED, GRIP, GRAZE):
        assert sound.problem() is None


@pytest.mark.parametrize(
    "field, value, said",
    [
        ("keypoints", np.zeros((20, 3)), r"keypoints must be \(21, 3\), got \(20, 3\)"),
        ("contact", np.full(4, np.nan), "contact must be finite, got 4"),
        ("confidence", 1.5, "confidence must be within 0 and 1, got 1.5"),
        ("side", "both", "side must be one of"),
        ("vertices", np.zeros((778, 2)), r"vertices must be \(778, 3\), got \(778, 2\)"),
        ("vertices", np.full((778, 3), np.inf), "vertices must be finite, got 2334"),
        ("objects", (BOX, replace(BOX, confidence=2.0)), "object box: confidence"),
        ("contacts", (GRIP, replace(GRIP, kind="hard")), "contact index_tip: kind must be one of"),
    ],
)
def test_an_unsound_hand_says_why(field, value, said):
    assert re.search(said, seen_hand(**{field: value}).problem())


@pytest.mark.parametrize(
    "change, said",
    [
        ({"name": ""}, "must have a name"),
        ({"position": np.zeros(2)}, r"position must be \(3,\), got \(2,\)"),
        ({"position": np.array((0.0, np.nan, 1.0))}, "position must be finite"),
        ({"rotation": np.diag((1.0, 1.0, -1.0))}, "rotation must be proper"),
        ({"rotation": 1.1 * np.eye(3)}, "rotation must be proper"),
        ({"confidence": float("nan")}, "confidence must be within"),
        ({"size": np.array((0.1, 0.0, 0.1))}, "size must be positive"),
    ],
)
def test_an_unsound_object_says_why(change, said):
    assert re.search(said, replace(BOX, **change).problem())


@pytest.mark.parametrize(
    "change, said",
    [
        ({"point": np.full(3, np.inf)}, "point must be finite"),
        ({"force_direction": np.array((0.0, 0.0, 2.0))}, "must have length 1 or 0, got 2"),
        ({"force": -1.0}, "force must be at least 0 N"),
        ({"force": float("inf")}, "force must be at least 0 N"),
        ({"probability": -0.1}, "probability must be within"),
    ],
)
def test_an_unsound_contact_says_why(change, said):
    assert re.search(said, replace(GRIP, **change).problem())
