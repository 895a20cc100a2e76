"""Periods, their jitter, and the shares of the latency."""

import time

import numpy as np
import pytest

from manip_control.timing import Pace, Stages


def test_jitter_is_how_far_the_gaps_are_from_the_period():
    pace = Pace(0.008)
    assert np.isnan(pace.jitter())
    now = 0.0
    for i in range(1000):
        now += 0.008 + (0.004 if i % 10 == 0 else 0.0)
        pace.mark(now)
    assert pace.jitter(50) == pytest.approx(0.0, abs=1e-9)
    assert pace.jitter(99) == pytest.approx(0.004)


def test_a_pace_does_not_drift_and_leaves_out_what_is_overslept():
    pace = Pace(0.005)
    pace.wait()
    began = time.monotonic()
    for _ in range(20):
        pace.wait()
    assert time.monotonic() - began == pytest.approx(0.1, abs=0.03)
    missed = pace.missed
    time.sleep(0.052)
    pace.wait()
    assert 8 <= pace.missed - missed <= 14
    began = time.monotonic()
    pace.wait()
    assert time.monotonic() - began > 0.001, "no burst of late periods"


def test_shares_add_up_to_the_whole():
    stages = Stages(("pose", "smoothing", "control"))
    for i in range(50):
        stamp = 10.0 + i / 30
        for name, after in (("pose", 0.020), ("smoothing", 0.023), ("control", 0.031)):
            stages.mark(name, stamp, stamp + after)
    report = stages.report()
    assert report["share of pose [ms]"] == pytest.approx(20.0)
    assert report["share of smoothing [ms]"] == pytest.approx(3.0)
    assert report["share of control [ms]"] == pytest.approx(8.0)
    assert report["latency p50 [ms]"] == report["latency p99 [ms]"] == pytest.approx(31.0)


def test_a_stage_that_was_not_heard_takes_no_share_and_old_marks_go():
    stages = Stages(("pose", "control"))
    assert stages.report() == {}
    for i in range(1000):
        stages.mark("pose", float(i), i + 0.1)
    stages.mark("control", 5000.0, 5000.2)
    report = stages.report()
    assert report["latency p50 [ms]"] == pytest.approx(200.0)
    assert not any("share" in name for name in report)
    assert len(stages._marks) <= 60
