"""Marks make episodes, whatever order they come in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manip_bringup.episodes import (
    DISCARD,
    FAILURE,
    MARKS,
    OPEN,
    START,
    SUCCESS,
    UNMARKED,
    Mark,
    episodes,
)


def made(*marks: str, end: float = 100.0):
    found, problems = episodes(
        [(float(i), Mark.parse(text)) for i, text in enumerate(marks, 1)], 0.0, end
    )
    return [(e.start, e.end, e.outcome, e.task) for e in found], problems


def test_start_and_outcome_make_an_episode():
    found, problems = made("start pour the tea", "success", "start", "failure", "start", "discard")
    assert found == [
        (1.0, 2.0, SUCCESS, "pour the tea"),
        (3.0, 4.0, FAILURE, "pour the tea"),
        (5.0, 6.0, DISCARD, "pour the tea"),
    ]
    assert not problems


def test_without_marks_the_recording_is_one_episode():
    assert made() == ([(0.0, 100.0, UNMARKED, "")], [])


def test_the_end_of_the_bag_leaves_an_episode_open():
    assert made("start")[0] == [(1.0, 100.0, OPEN, "")]


def test_a_second_start_discards_what_was_open():
    assert made("start a", "start b", "success")[0] == [
        (1.0, 2.0, DISCARD, "a"),
        (2.0, 3.0, SUCCESS, "b"),
    ]


def test_a_late_mark_corrects_the_last_episode():
    assert made("start", "success", "failure", "discard")[0] == [(1.0, 2.0, DISCARD, "")]


def test_an_outcome_before_any_start_is_told():
    found, problems = made("success")
    assert found == [] and "no episode has been started" in problems[0]


@given(st.lists(st.sampled_from(MARKS)))
def test_episodes_never_overlap_and_each_start_makes_one(kinds):
    found, _ = made(*kinds)
    assert len(found) == (kinds.count(START) if kinds else 1)
    for before, after in pairwise(found):
        assert before[0] < before[1] <= after[0]
    assert all(e[2] != OPEN for e in found[:-1])


def test_marks_are_read_as_they_are_written():
    for text in ("start put the cube into the bowl", "success", "discard"):
        assert str(Mark.parse(text)) == text
    assert Mark.parse(" Start  pour ") == Mark(START, "pour")
    with pytest.raises(ValueError, match="start, success, failure, discard, got 'stop'"):
        Mark.parse("stop")
