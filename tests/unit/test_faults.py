"""Faults: when they begin and end, and what a bad link does to messages."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manip_control.faults import FAULTS, Fault, Faults, Link, schedule


def test_a_fault_ends_when_its_time_is_up_and_a_latched_one_does_not():
    faults = Faults()
    faults.begin(Fault(kind="speed_scaling", amount=0.5, duration=2.0), 10.0)
    faults.begin(Fault(kind="protective_stop", duration=2.0), 10.0)
    assert faults.update(11.9) == [] and faults.size("speed_scaling") == 0.5
    assert [fault.kind for fault in faults.update(12.0)] == ["speed_scaling"]
    assert faults.update(1e9) == [] and faults.kinds == ("protective_stop",)
    assert faults.end("protective_stop") and not faults.end("protective_stop")


def test_defaults_are_the_kind_s_own():
    assert Fault(kind="speed_scaling").size == 0.3 and Fault(kind="hiccup").size == 0.2
    faults = Faults()
    faults.begin(Fault(kind="hiccup"), 0.0)
    assert faults.update(0.19) == [] and faults.update(0.21)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "earthquake"}, "protective_stop"),
        ({"kind": "speed_scaling", "amount": 1.5}, "within 0 and 1.0"),
        ({"kind": "drop", "duration": -1.0}, "duration"),
        ({"kind": "dead_joint", "joint": "elbow_joint"}, "ffj0"),
    ],
)
def test_a_fault_checks_itself(change, message):
    with pytest.raises(ValueError, match=message):
        Fault(**change)


def sent_through(kind, n=2000, **change):
    faults = Faults()
    if kind:
        faults.begin(Fault(kind=kind, **change), 0.0)
    link, arrived = Link(faults, seed=3), []
    for i in range(n):
        link.send(i)
        arrived += link.due()
    return arrived, link


def test_a_good_link_delivers_all_at_once_and_in_order():
    assert sent_through(None)[0] == list(range(2000))


def test_dropping_loses_its_share_and_keeps_the_order():
    arrived, link = sent_through("drop", amount=0.25)
    assert arrived == sorted(arrived) and len(arrived) + link.lost == 2000
    assert link.lost / 2000 == pytest.approx(0.25, abs=0.03)


def test_reordering_loses_nothing_and_swaps_neighbours():
    arrived, _ = sent_through("reorder", amount=0.4)
    assert sorted(arrived) == list(range(len(arrived))) and len(arrived) >= 1999
    late = np.array(arrived) - np.arange(len(arrived))
    assert np.abs(late).max() == 1 and np.mean(late != 0) > 0.3


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(("send", "hiccup", "reorder", "over", "due")), max_size=80))
def test_whatever_happens_nothing_is_made_up_or_doubled(acts):
    faults = Faults()
    link, sent, got = Link(faults), 0, []
    for act in acts:
        if act == "send":
            link.send(sent)
            sent += 1
        elif act == "over":
            for kind in ("hiccup", "reorder"):
                faults.end(kind)
        elif act == "due":
            got += link.due()
        else:
            faults.begin(Fault(kind=act, amount=1.0 if act == "reorder" else 0.2), 0.0)
    for kind in ("hiccup", "reorder"):
        faults.end(kind)
    link.send(sent)
    got += link.due()
    assert sorted(got) == list(range(sent + 1))


def test_a_hiccup_holds_everything_back_and_then_lets_all_through():
    faults = Faults()
    link = Link(faults)
    faults.begin(Fault(kind="hiccup"), 0.0)
    for i in range(5):
        link.send(i)
        assert link.due() == []
    faults.update(0.3)
    assert link.due() == [0, 1, 2, 3, 4] and link.due() == []


def test_a_schedule_is_the_seed_s_and_holds_every_kind():
    events = schedule(7, 1800.0)
    assert events == schedule(7, 1800.0) != schedule(8, 1800.0)
    gaps = np.diff([0.0, *(event.at for event in events)])
    assert (gaps >= 10.0).all() and (gaps <= 30.0).all() and events[-1].at < 1800.0
    counts = [sum(event.fault.kind == kind for event in events) for kind in FAULTS]
    assert max(counts) - min(counts) <= 1 and min(counts) > 5
    with pytest.raises(ValueError, match="positive gap"):
        schedule(1, 10.0, gap=0.0)
