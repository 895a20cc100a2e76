"""Clutch, gate and watchdog."""

import numpy as np
import pytest

from manip_control.allegro_drivers import HAND_DRIVERS, hand_driver, our_names
from manip_control.controller import ENGAGED, HOLD, ControlConfig, Controller
from manip_control.jerk_limits import stopping_time
from manip_core.robot_model import HAND_JOINTS, JOINT_NAMES, home, limits

LIMITS = limits("right")
HOME = home("right")
DT = 0.008


class Bench:
    """A controller with a robot that does what it is told, and a clock."""

    def __init__(self, **config):
        self.controller = Controller(ControlConfig(**config), JOINT_NAMES, LIMITS)
        self.now = 1000.0
        self.robot = HOME.copy()
        self.commands = []

    def tick(self, n=1, *, states=True):
        for _ in range(n):
            self.now += DT
            if states:
                self.controller.on_joint_states(JOINT_NAMES, self.robot, self.now)
            command = self.controller.step(self.now)
            if command is not None:
                self.robot = command.positions.copy()
                self.commands.append(command.positions)

    def engage(self):
        self.tick()
        return self.controller.set_mode(ENGAGED, self.now)

    def aim(self, positions, *, stamp=None, confidence=1.0, names=JOINT_NAMES):
        stamp = self.now - 0.02 if stamp is None else stamp
        self.controller.on_target(list(names), positions, stamp, confidence, self.now)

    def follow(self, target, seconds):
        for i in range(round(seconds / DT)):
            if i % 4 == 0:
                self.aim(target)
            self.tick()

    def assert_within_limits(self):
        moved = np.diff([HOME, *self.commands], axis=0) / DT
        assert (np.abs(moved) <= LIMITS.velocity + 1e-6).all()
        assert (np.abs(np.diff(moved, axis=0)) <= LIMITS.acceleration * DT * 1.001 + 1e-6).all()


def test_nothing_is_sent_before_the_first_engagement():
    bench = Bench()
    bench.tick(50)
    assert bench.commands == [] and bench.controller.mode == HOLD


def test_follows_once_engaged_and_stays_within_limits():
    bench = Bench()
    assert bench.engage()[0]
    target = HOME + 0.3
    bench.follow(target, 1.5)
    np.testing.assert_allclose(bench.robot, np.clip(target, LIMITS.lower, LIMITS.upper), atol=1e-2)
    assert bench.controller.reason == ""
    bench.assert_within_limits()


def test_targets_are_ignored_while_holding():
    bench = Bench()
    bench.tick()
    bench.aim(HOME + 0.3)
    bench.tick(20)
    assert bench.commands == []


def test_cannot_engage_without_joint_states():
    done, message = Bench().controller.set_mode(ENGAGED, 0.0)
    assert not done and "joint states" in message


def test_watchdog_stops_the_robot_within_limits_when_targets_end():
    bench = Bench()
    bench.engage()
    bench.follow(HOME + 1.0, 0.4)
    assert not bench.controller.limiter.at_rest
    bench.tick(round(0.1 / DT))
    limiter = bench.controller.limiter
    braking = stopping_time(
        limiter.velocity, limiter.acceleration, LIMITS.acceleration, limiter.jerk
    ).max()
    assert braking > 2 * DT
    bench.tick(int(braking / DT) + 2)
    assert bench.controller.limiter.at_rest and bench.controller.reason == "no fresh target"
    bench.assert_within_limits()


def test_clutch_releases_when_tracking_is_lost_for_long():
    bench = Bench()
    bench.engage()
    bench.follow(HOME + 0.1, 0.2)
    bench.tick(round(1.1 / DT))
    assert bench.controller.mode == HOLD and "lost" in bench.controller.reason


def test_no_commands_without_fresh_joint_states_and_no_jump_afterwards():
    bench = Bench(auto_engage=True)
    bench.tick(2)
    bench.follow(HOME + 0.3, 0.3)
    before = len(bench.commands)
    bench.tick(round(0.1 / DT) + 1, states=False)
    sent = len(bench.commands)
    bench.tick(50, states=False)
    assert sent - before <= round(0.1 / DT) + 1 and len(bench.commands) == sent
    bench.robot = HOME.copy()
    first = len(bench.commands)
    bench.tick(5)
    assert np.abs(bench.commands[first] - HOME).max() < 1e-3
    assert bench.controller.mode == ENGAGED


def test_an_operator_s_hold_is_not_undone_by_auto_engage():
    bench = Bench(auto_engage=True)
    bench.tick(3)
    assert bench.controller.mode == ENGAGED
    bench.controller.set_mode(HOLD, bench.now)
    bench.tick(500)
    assert bench.controller.mode == HOLD and "operator" in bench.controller.reason
    assert bench.controller.set_mode(ENGAGED, bench.now)[0]
    bench.tick(round(1.1 / DT))
    # Lost tracking releases as well, but then it may engage by itself again.
    bench.tick(3)
    assert bench.controller.mode == ENGAGED


def test_late_joint_states_pause_the_commands_and_keep_the_engagement():
    bench = Bench()
    bench.engage()
    target = HOME + 0.3
    bench.follow(target, 0.3)
    engagement, sent = bench.controller.engagement, len(bench.commands)
    bench.tick(round(0.3 / DT), states=False)
    assert len(bench.commands) - sent <= round(0.1 / DT) + 1
    assert bench.controller.mode == ENGAGED and "late" in bench.controller.reason
    resumed = len(bench.commands)
    bench.follow(target, 1.5)
    assert bench.controller.engagement == engagement
    step = np.abs(bench.commands[resumed] - bench.commands[resumed - 1])
    assert (step <= LIMITS.acceleration * (2 * DT) ** 2 + 1e-9).all()
    np.testing.assert_allclose(bench.robot, np.clip(target, LIMITS.lower, LIMITS.upper), atol=1e-2)
    bench.tick(round(0.6 / DT), states=False)
    assert bench.controller.mode == HOLD and "joint states" in bench.controller.reason


def test_a_robot_found_elsewhere_is_never_sent_back():
    bench = Bench()
    bench.engage()
    bench.follow(HOME + 0.4, 0.4)
    bench.robot = HOME.copy()
    sent = len(bench.commands)
    bench.tick(20)
    arm = np.array(bench.commands[sent:])[:, :6]
    assert np.abs(arm - HOME[:6]).max() < 1e-9


def test_a_robot_that_is_not_where_it_was_sent_releases_the_clutch():
    bench = Bench()
    bench.engage()
    bench.follow(HOME + 0.1, 0.5)
    bench.robot = bench.robot + np.array([0.5] + [0.0] * 21)
    bench.tick()
    assert bench.controller.mode == HOLD and "not where" in bench.controller.reason


def test_each_engagement_has_a_new_number():
    bench = Bench()
    bench.engage()
    first = bench.controller.engagement
    bench.controller.set_mode(HOLD, bench.now)
    bench.tick(3)
    bench.engage()
    assert bench.controller.engagement == first + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": HOME[:5]}, "22 names and 5 positions"),
        ({"positions": np.full(22, np.nan)}, "not finite"),
        ({"names": ("elbow", *JOINT_NAMES[1:])}, "unknown joints"),
        ({"names": (JOINT_NAMES[1], *JOINT_NAMES[1:])}, "twice"),
        ({"names": (), "positions": []}, "no joint"),
        ({"stamp": 990.0}, "s old"),
        ({"stamp": 1001.0}, "future"),
        ({"confidence": 0.1}, "confidence"),
        ({"confidence": np.nan}, "confidence"),
    ],
)
def test_gate_refuses_and_nothing_moves(change, message):
    bench = Bench()
    bench.engage()
    with pytest.raises(ValueError, match=message):
        bench.aim(**{"positions": HOME + 0.3, **change})
    bench.tick(20)
    assert all(np.array_equal(command, HOME) for command in bench.commands)
    assert bench.controller.rejected == 1


def test_stamps_that_jump_back_are_refused():
    bench = Bench()
    bench.engage()
    bench.aim(HOME + 0.1, stamp=bench.now)
    with pytest.raises(ValueError, match="before the last"):
        bench.aim(HOME - 0.1, stamp=bench.now - 0.1)


def test_a_clock_set_back_does_not_lock_the_gate():
    bench = Bench()
    bench.engage()
    bench.aim(HOME + 0.1)
    bench.now -= 100.0
    bench.tick(3)
    bench.aim(HOME + 0.1)


def test_a_target_may_name_some_joints_only():
    bench = Bench()
    bench.engage()
    for _ in range(100):
        bench.aim([0.3], names=("ffj1",))
        bench.tick()
    still = [i for i, name in enumerate(JOINT_NAMES) if name != "ffj1"]
    assert bench.robot[JOINT_NAMES.index("ffj1")] == pytest.approx(0.3, abs=1e-2)
    np.testing.assert_allclose(bench.robot[still], HOME[still], atol=1e-9)


@pytest.mark.parametrize(
    ("names", "positions"),
    [(JOINT_NAMES, HOME[:3]), (JOINT_NAMES[:5], HOME[:5]), (JOINT_NAMES, HOME * np.nan)],
)
def test_bad_joint_states_are_refused(names, positions):
    bench = Bench()
    with pytest.raises(ValueError, match="joint state"):
        bench.controller.on_joint_states(names, positions, bench.now)


def test_a_long_pause_makes_no_fast_step():
    bench = Bench()
    bench.engage()
    bench.follow(HOME + 0.6, 0.1)
    before = bench.robot.copy()
    bench.now += 0.05
    bench.aim(HOME + 0.6)
    bench.tick()
    assert (np.abs(bench.robot - before) <= LIMITS.velocity * 2 * DT + 1e-9).all()


def test_every_driver_covers_the_hand():
    for driver in HAND_DRIVERS.values():
        assert sorted(driver.joints) == sorted(HAND_JOINTS) and len(set(driver.names)) == 16
    assert HAND_DRIVERS["ros2_control"].joints[0] == "thj0"
    assert our_names()["joint_12.0"] == "thj0" and our_names()["ah_joint10"] == "ffj0"
    with pytest.raises(ValueError, match="v4, v5"):
        hand_driver("v6")


@pytest.mark.parametrize("change", [{"rate": 0.0}, {"speed_fraction": 1.5}, {"max_age": -1.0}])
def test_config_checks_itself(change):
    with pytest.raises(ValueError):
        ControlConfig(**change)
