"""Clutch, uncertainty, watchdog, arm status and emergency stop: each layer's own law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manip_control.arm_report import ArmReport, tracking_share
from manip_control.clutch import ENGAGED, HOLD, Clutch
from manip_control.control_config import ControlConfig
from manip_control.emergency_stop import EmergencyStop
from manip_control.gate import Gate
from manip_control.predictor import Predictor
from manip_control.uncertainty import speed_share
from manip_control.watchdog import FROZEN, Watchdog

CONFIG = ControlConfig()
NAMES = ("a", "b", "c")


@given(
    st.lists(st.sampled_from(NAMES) | st.text(max_size=2) | st.none(), max_size=4),
    st.lists(st.floats() | st.none() | st.text(max_size=2), max_size=4),
    st.floats(),
    st.floats(),
    st.floats(),
)
def test_the_gate_lets_in_only_what_is_sound(names, positions, stamp, confidence, deviation):
    gate = Gate(CONFIG, NAMES)
    try:
        target = gate.target(names, positions, stamp, confidence, deviation, 100.0)
    except ValueError as error:
        assert str(error) and gate.rejected == 1
        return
    assert np.isfinite(target.positions).all() and len(target.positions) == len(names) > 0
    assert 100.0 - CONFIG.max_age <= target.stamp <= 100.0 + CONFIG.max_future
    assert CONFIG.min_confidence <= target.confidence <= 1.0
    assert np.isnan(target.deviation) or 0 <= target.deviation < np.inf
    assert [NAMES[i] for i in target.joints] == names


def test_the_gate_refuses_a_bad_deviation():
    for deviation in (-1e-3, np.inf):
        with pytest.raises(ValueError, match="deviation"):
            Gate(CONFIG, NAMES).target(["a"], [0.0], 100.0, 1.0, deviation, 100.0)


def test_the_operator_s_hold_wins_over_auto_engage():
    clutch = Clutch(ControlConfig(auto_engage=True))
    assert clutch.wants_to_engage()
    clutch.engage(0.0, automatic=True)
    clutch.hold()
    assert not clutch.wants_to_engage()
    assert not clutch.engage(1.0, automatic=True)[0] and clutch.mode == HOLD
    # Nor does a release for another reason take the hold away.
    clutch.release("tracking lost")
    assert not clutch.wants_to_engage()
    assert clutch.engage(2.0)[0] and clutch.mode == ENGAGED
    clutch.release("tracking lost")
    assert clutch.wants_to_engage()


def test_a_refused_engagement_leaves_the_operator_s_hold():
    clutch = Clutch(ControlConfig(auto_engage=True, require_heartbeat=True))
    clutch.hold()
    assert not clutch.engage(1.0)[0]
    assert not clutch.wants_to_engage()


def test_the_clutch_releases_when_the_page_is_closed():
    clutch = Clutch(CONFIG)
    clutch.heartbeat(0.0)
    clutch.engage(0.1)
    clutch.watch_page(0.9)
    assert clutch.mode == ENGAGED
    clutch.watch_page(0.0 + CONFIG.heartbeat_timeout + 0.01)
    assert clutch.mode == HOLD and "page" in clutch.reason and clutch.held_by_operator


def test_without_a_page_nobody_waits_for_one():
    clutch = Clutch(CONFIG)
    clutch.engage(0.0)
    clutch.watch_page(100.0)
    assert clutch.mode == ENGAGED
    # A page that was closed long before is not waited for either.
    clutch.hold()
    clutch.heartbeat(101.0)
    clutch.engage(200.0)
    clutch.watch_page(201.0)
    assert clutch.mode == ENGAGED


def test_a_page_may_be_required():
    clutch = Clutch(ControlConfig(require_heartbeat=True))
    assert "page" in clutch.engage(0.0)[1] and clutch.mode == HOLD
    clutch.heartbeat(0.0)
    assert clutch.engage(0.5)[0]


@given(
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.floats(0, 0.2), st.floats(0, 0.2)),
)
def test_less_certainty_is_never_faster(confidences, deviations):
    less, more = sorted(confidences)
    small, large = sorted(deviations)
    share = speed_share(less, large, CONFIG)
    assert 0.0 <= share <= speed_share(more, small, CONFIG) <= 1.0
    assert share <= speed_share(less, np.nan, CONFIG)


def test_certainty_s_ends():
    assert speed_share(1.0, np.nan, CONFIG) == speed_share(1.0, 0.0, CONFIG) == 1.0
    assert speed_share(CONFIG.min_confidence - 1e-6, 0.0, CONFIG) == 0.0
    assert speed_share(np.nan, 0.0, CONFIG) == 0.0
    assert speed_share(1.0, CONFIG.max_hand_deviation, CONFIG) == 0.0
    assert 0.0 < speed_share(CONFIG.min_confidence, 0.0, CONFIG) < 0.5


def test_watchdog_ages():
    watchdog = Watchdog(CONFIG)
    assert watchdog.state_trouble(0.0) and watchdog.target_late(0.0)
    watchdog.saw_states(np.zeros(3), 10.0)
    watchdog.saw_target(10.0)
    watchdog.commanded(np.zeros(3), 10.0)
    assert not watchdog.state_trouble(10.09) and not watchdog.target_late(10.08)
    assert "late" in watchdog.state_trouble(10.11) and watchdog.target_late(10.11)
    assert not watchdog.state_lost(10.4) and watchdog.state_lost(10.6)
    assert not watchdog.target_lost(5.0, 10.9) and watchdog.target_lost(5.0, 11.1)
    assert not watchdog.target_lost(10.5, 11.1)


def test_a_clock_set_back_makes_everything_old():
    watchdog = Watchdog(CONFIG)
    watchdog.saw_states(np.zeros(3), 1000.0)
    watchdog.saw_target(1000.0)
    assert watchdog.state_trouble(900.0) and watchdog.target_late(900.0)
    assert watchdog.target_lost(1000.0, 900.0)


def test_joint_states_that_do_not_change_while_the_robot_should_move_are_frozen():
    watchdog = Watchdog(CONFIG)
    standing, moving = np.zeros(3), np.array([0.5, 0.0, 0.0])
    for i in range(100):
        watchdog.saw_states(standing, i * 0.01)
        watchdog.commanded(standing, i * 0.01)
        assert not watchdog.state_trouble(i * 0.01)
    told = [
        bool(watchdog.saw_states(standing, t) or watchdog.commanded(moving, t))
        or watchdog.state_trouble(t)
        for t in np.arange(1.0, 1.5, 0.01)
    ]
    assert told[10] == "" and "frozen" in told[30]
    watchdog.saw_states(np.full(3, 1e-9), 1.6)
    assert watchdog.state_trouble(1.6) == ""


def test_a_robot_that_was_told_to_stand_still_is_not_frozen_after_a_pause_of_the_loop():
    watchdog = Watchdog(CONFIG)
    standing, moving = np.zeros(3), np.array([0.5, 0.0, 0.0])
    watchdog.saw_states(standing, 1.0)
    watchdog.commanded(standing, 1.0)
    # Its states are the same to the last bit, as a simulated robot's may be at rest.
    for now in (3.0, 5.0):
        watchdog.saw_states(standing, now)
        assert watchdog.state_trouble(now) == "" and not watchdog.state_lost(now)
    # It has time to follow from the first motion on, and no more.
    watchdog.commanded(moving, 5.0)
    watchdog.saw_states(standing, 5.19)
    assert watchdog.state_trouble(5.19) == ""
    watchdog.commanded(moving, 5.19)
    watchdog.saw_states(standing, 5.21)
    assert watchdog.state_trouble(5.21) == FROZEN


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"speed_scaling": 0.3}, ""),
        ({"program_running": False}, "program"),
        ({"safety_mode_ok": False}, "safety"),
        ({"speed_scaling": 0.0}, "scaled to zero"),
    ],
)
def test_what_stops_the_arm(change, word):
    stopped = ArmReport(**change).stopped
    assert word in stopped and bool(word) == bool(stopped)


@pytest.mark.parametrize("share", [np.nan, -0.1, 30.0, np.inf])
def test_a_speed_scaling_that_is_no_share_is_refused(share):
    with pytest.raises(ValueError, match="speed_scaling"):
        ArmReport(speed_scaling=share)


def test_a_command_never_runs_away_from_the_arm():
    assert tracking_share(0.1, 0.15, 0.35) == 1.0
    assert tracking_share(0.25, 0.15, 0.35) == pytest.approx(0.5)
    assert tracking_share(0.4, 0.15, 0.35) == 0.0


def test_the_emergency_stop_is_latched():
    stop = EmergencyStop()
    stop.press("space bar")
    stop.press("someone else")
    assert stop.pressed and "space bar" in stop.reason
    assert not stop.reset(at_rest=False)[0] and stop.pressed
    assert stop.reset(at_rest=True)[0] and not stop.pressed


def target(position, stamp):
    gate = Gate(CONFIG, NAMES)
    return gate.target(["b"], [position], stamp, 1.0, np.nan, stamp)


def test_the_predictor_extrapolates_a_steady_motion():
    config = ControlConfig(feed_forward=1.0)
    predictor = Predictor(config)
    for i in range(20):
        predictor.add(target(0.5 * i / 30, i / 30), np.zeros(3))
    now = 19 / 30 + 0.06
    position, velocity = predictor.aim(now)
    np.testing.assert_allclose(position, [0.0, 0.5 * now, 0.0], atol=1e-4)
    np.testing.assert_allclose(velocity, [0.0, 0.5, 0.0], atol=1e-3)
    late, standing = predictor.aim(now + 5.0)
    assert late[1] == pytest.approx(0.5 * (19 / 30 + config.max_prediction), abs=1e-4)
    assert not standing.any()


def test_the_predictor_takes_no_motion_from_a_gap():
    predictor = Predictor(CONFIG)
    predictor.add(target(0.0, 0.0), np.zeros(3))
    predictor.add(target(1.0, 0.5), np.zeros(3))
    assert not predictor.aim(0.51)[1].any()
