"""The whole stack under arbitrary input: nothing that it sends breaks a limit or touches anything.

The judge (`safety_fuzz.Judge`) sees commands alone, and looks for contact in a model of its own.
"""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from manip_control.controller import ENGAGED, HOLD, ControlConfig, Controller
from manip_core.robot_model import JOINT_NAMES, home
from safety_fuzz import HOME, LIMITS, Rig, guard, near

# A run takes a tenth of a second and more: a long counterexample is found sooner than a short one.
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
NUMBER = st.one_of(st.floats(-4.0, 4.0), st.floats())
WHOLE_TARGET = st.one_of(
    # Near, far, and absurd.
    st.tuples(st.integers(0, 2**31), st.sampled_from([0.1, 0.5, 2.0])).map(
        lambda drawn: near(np.random.default_rng(drawn[0]), HOME, drawn[1])
    ),
    st.lists(NUMBER, min_size=0, max_size=24).map(np.array),
    st.lists(st.floats(-30, 30), min_size=22, max_size=22).map(np.array),
)
EVENT = st.one_of(
    st.tuples(
        st.just("aim"),
        WHOLE_TARGET,
        st.one_of(st.floats(0, 0.3), st.floats()),
        st.one_of(st.just(1.0), st.floats()),
        st.one_of(st.just(np.nan), st.floats()),
    ),
    st.tuples(
        st.just("part"),
        st.dictionaries(st.sampled_from(JOINT_NAMES), st.floats(-9, 9), min_size=1, max_size=8),
    ),
    st.tuples(st.just("arm"), st.booleans(), st.booleans(), st.floats(0, 1)),
    st.tuples(st.sampled_from(["stop", "reset", "hold", "engage", "page", "ready"])),
    st.tuples(st.just("pause"), st.floats(1e-3, 0.3)),
    st.tuples(st.just("blind")),
    st.tuples(st.just("dead"), st.integers(0, 21)),
)


def happen(rig: Rig, event: tuple) -> bool:
    """Let it happen; returns whether joint states come meanwhile."""
    kind, *given_ = event
    if kind == "aim":
        positions, age, confidence, deviation = given_
        rig.aim(positions, age=age, confidence=confidence, deviation=deviation)
    elif kind == "part":
        rig.aim(list(given_[0].values()), names=list(given_[0]))
    elif kind == "arm":
        rig.arm(running=given_[0], safe=given_[1], scaling=given_[2])
    elif kind == "stop":
        rig.controller.stop("test")
    elif kind == "reset":
        rig.controller.reset_stop()
    elif kind == "hold":
        rig.hold()
    elif kind == "engage":
        rig.engage()
    elif kind == "page":
        rig.controller.on_heartbeat(rig.now)
    elif kind == "ready":
        rig.arm()
        rig.controller.reset_stop()
        rig.engage()
    elif kind == "pause":
        rig.tick(elapsed=given_[0])
    elif kind == "dead":
        rig.robot.dead = given_[0]
    return kind != "blind"


@settings(max_examples=30, deadline=None, phases=NO_SHRINKING)
@given(
    st.lists(st.tuples(EVENT, st.integers(1, 30)), min_size=1, max_size=25), st.integers(0, 2**31)
)
def test_whatever_comes_no_command_breaks_a_law(events, seed):
    rig = Rig()
    rng = np.random.default_rng(seed)
    rig.tick()
    rig.engage()
    for event, times in events:
        states = happen(rig, event)
        for _ in range(times):
            if event[0] != "aim" and rng.random() < 0.25:
                rig.aim(near(rng, HOME, 0.5))
            rig.tick(states=states)
    assert rig.judge.violations == dict.fromkeys(rig.judge.violations, 0)


@settings(max_examples=8, deadline=None, phases=NO_SHRINKING)
@given(st.lists(EVENT, min_size=1, max_size=8), st.integers(0, 2**31))
def test_afterwards_it_converges_to_a_target_in_reach(events, seed):
    rig = Rig()
    rig.tick()
    rig.engage()
    for event in events:
        rig.ticks(5, states=happen(rig, event))
    rig.robot.dead = None
    rig.arm()
    rig.ticks(150)
    rig.controller.reset_stop()
    # Back home, and from there to a place that is in sight.
    assert rig.engage() or rig.controller.mode == ENGAGED
    rig.follow(HOME, 3.0)
    target = HOME + np.random.default_rng(seed).uniform(-0.1, 0.1, 22)
    target = np.clip(target, LIMITS.lower, LIMITS.upper)
    rig.follow(target, 1.5)
    np.testing.assert_allclose(rig.last, target, atol=1e-3)
    assert rig.judge.total == 0


def moving_rig(seed: int = 0, **config) -> Rig:
    rig = Rig(**config)
    rig.tick()
    rig.engage()
    rig.follow(near(np.random.default_rng(seed), HOME, 0.5), 0.3)
    assert not rig.controller.limiter.at_rest
    return rig


def speed(rig: Rig) -> float:
    return float(np.abs(rig.controller.limiter.velocity).max())


def test_the_emergency_stop_is_latched_and_takes_a_deliberate_act_to_leave():
    rig = moving_rig(auto_engage=True)
    rig.controller.stop("red button")
    assert not rig.controller.reset_stop()[0]
    rig.ticks(100)
    assert speed(rig) == 0.0 and "red button" in rig.controller.reason
    assert not rig.engage() and rig.controller.stopped
    assert rig.controller.reset_stop()[0]
    rig.ticks(300)
    assert rig.controller.mode == HOLD
    assert rig.engage()
    assert rig.judge.total == 0


def test_an_arm_that_takes_no_commands_is_sent_none_until_its_first_begins_where_it_stands():
    rig = moving_rig()
    rig.arm(running=False)
    assert not rig.controller.step(rig.now + rig.period).arm
    rig.now += rig.period
    rig.ticks(100)
    # Somebody moves it by hand.
    rig.robot.position[:6] -= 0.3
    rig.robot.setpoint[:6] = rig.robot.position[:6]
    rig.ticks(2)
    hand = rig.last[6:].copy()
    rig.arm()
    before = rig.robot.position.copy()
    rig.tick()
    np.testing.assert_allclose(rig.last[:6], before[:6], atol=0.011)
    np.testing.assert_allclose(rig.last[6:], hand, atol=1e-9)
    assert rig.judge.total == 0


@pytest.mark.parametrize("running_at_once", (False, True))
def test_a_robot_that_was_silent_and_stands_elsewhere_is_followed_from_there(running_at_once):
    rig = moving_rig()
    rig.ticks(200, states=False)
    rig.robot.position = HOME - 0.25
    rig.robot.setpoint = rig.robot.position.copy()
    rig.arm(running=running_at_once)
    rig.ticks(3)
    np.testing.assert_allclose(rig.last, HOME - 0.25, atol=0.011)
    rig.ticks(50)
    rig.arm()
    rig.ticks(50)
    np.testing.assert_allclose(rig.last, HOME - 0.25, atol=0.011)
    assert rig.controller.mode == HOLD and rig.judge.total == 0


@pytest.mark.parametrize("report", [{"safe": False}, {"running": False}, {"scaling": 0.0}], ids=str)
def test_a_stopped_arm_is_held_and_released_and_found_where_it_stands(report):
    rig = moving_rig()
    rig.arm(**report)
    stood = rig.robot.position[:6].copy()
    rig.ticks(200)
    assert rig.controller.mode == HOLD and "arm" in rig.controller.reason
    assert not rig.engage()
    np.testing.assert_allclose(rig.controller.limiter.position[:6], stood, atol=0.02)
    rig.arm()
    rig.tick()
    assert rig.engage()
    rig.follow(HOME, 1.0)
    assert rig.judge.total == 0


def test_while_the_emergency_stop_is_pressed_no_command_moves():
    rig = moving_rig()
    rig.arm(safe=False)
    rig.controller.stop("red button")
    rig.ticks(60)
    stood = rig.last
    rig.ticks(200)
    np.testing.assert_array_equal(rig.last, stood)
    # Not even back to an arm that stopped elsewhere; that comes afterwards, within limits.
    rig.controller.reset_stop()
    rig.ticks(200)
    np.testing.assert_allclose(rig.last[:6], rig.robot.position[:6], atol=0.02)
    assert rig.judge.total == 0


@pytest.mark.parametrize("rate", [125, 500])
def test_rates_of_the_drivers(rate):
    rig = Rig(period=1.0 / rate)
    rig.tick()
    rig.engage()
    rng = np.random.default_rng(rate)
    for _ in range(4):
        rig.follow(near(rng, HOME, 0.4), 0.4)
    assert rig.judge.total == 0 and rig.judge.commands > rate


def test_the_left_robot_as_well():
    controller = Controller.for_robot(ControlConfig(), side="left")
    start = home("left")
    now = 0.0
    controller.on_joint_states(JOINT_NAMES, start, now)
    controller.step(now)
    assert controller.set_mode(ENGAGED, now)[0]
    target = start + np.where(np.arange(22) == 0, 0.2, 0.0)
    for _ in range(150):
        now += 0.008
        controller.on_joint_states(JOINT_NAMES, controller.limiter.position, now)
        controller.on_target(list(JOINT_NAMES), target, now, 1.0, now)
        command = controller.step(now)
    np.testing.assert_allclose(command.positions, target, atol=1e-3)


def test_a_slowed_arm_is_not_left_behind():
    rig = Rig()
    rig.tick()
    rig.engage()
    rig.arm(scaling=0.3)
    target = HOME.copy()
    target[0] += 1.5
    ahead = []
    for _ in range(60):
        rig.follow(target, 0.033)
        assert rig.controller.mode == ENGAGED
        ahead.append(abs(rig.last[0] - rig.robot.position[0]))
    assert max(ahead) < rig.config.free_deviation
    assert rig.judge.total == 0


def test_a_command_waits_for_an_arm_that_is_slower_than_it_says():
    rig = Rig()
    rig.tick()
    rig.engage()
    rig.robot.speed_scaling = 0.1
    target = HOME.copy()
    # A hand that moves at 1 rad/s, an arm that makes 0.3.
    for _ in range(60):
        target[0] += 1.0 / 30
        rig.follow(target, 1 / 30)
        assert rig.controller.mode == ENGAGED
        assert abs(rig.last[0] - rig.robot.position[0]) < rig.config.max_deviation
    assert rig.judge.total == 0


def test_frozen_joint_states_stop_the_robot():
    rig = Rig()
    rig.tick()
    rig.engage()
    target = HOME + np.where(np.arange(22) < 6, 0.3, 0.0)
    rig.follow(target, 0.1)
    frozen, sent = rig.robot.position.copy(), []
    for i in range(200):
        rig.now += rig.period
        rig.controller.on_joint_states(JOINT_NAMES, frozen, rig.now)
        if i % 4 == 0:
            rig.aim(target)
        command = rig.controller.step(rig.now)
        sent.append(command is not None)
    assert rig.controller.mode == HOLD
    assert np.abs(rig.controller.limiter.position - frozen)[:6].max() < rig.config.max_deviation


def test_deviation_slows_and_holds():
    reached = []
    for deviation in (np.nan, 0.0, 0.07, 0.11):
        rig = Rig()
        rig.tick()
        rig.engage()
        for _ in range(10):
            rig.aim(HOME + np.where(np.arange(22) == 0, 0.5, 0.0), deviation=deviation)
            rig.ticks(4)
        reached.append(rig.last[0] - HOME[0])
    assert reached[0] == reached[1] > reached[2] > reached[3] == 0.0


def test_an_operator_s_hold_lasts_though_engaging_failed_and_auto_engage_is_on():
    rig = moving_rig(auto_engage=True)
    rig.hold()
    # Still braking: refused, and the hold stands.
    assert not rig.engage()
    for _ in range(40):
        rig.follow(HOME, 0.1)
        assert rig.controller.mode == HOLD
    assert "operator" in rig.controller.reason


def test_closing_the_page_releases():
    rig = Rig()
    rig.tick()
    rig.controller.on_heartbeat(rig.now)
    rig.engage()
    rig.follow(HOME, 0.8)
    assert rig.controller.mode == ENGAGED
    rig.follow(HOME, 0.4)
    assert rig.controller.mode == HOLD and "page" in rig.controller.reason


def test_arm_states_that_are_none_are_refused_and_counted():
    rig = Rig()
    with pytest.raises(ValueError, match="speed_scaling"):
        rig.arm(scaling=np.nan)
    assert rig.controller.rejected == 1


def test_the_operator_is_told_what_is_in_the_way():
    rig = Rig()
    rig.tick()
    rig.engage()
    down = HOME.copy()
    down[JOINT_NAMES.index("shoulder_lift_joint")] -= 1.2
    said = set()
    for _ in range(60):
        rig.follow(down, 0.04)
        said |= set(rig.controller.warnings)
    assert any("table" in words or "workspace" in words for words in said)
    assert rig.judge.total == 0


_TABLE = [i for i, name in enumerate(guard().names) if "table" in name]


def sunk(depth: float) -> np.ndarray:
    """A posture whose deepest part is so deep in the table [m], ``(22,)`` [rad]."""

    def turned(angle: float) -> np.ndarray:
        return HOME + angle * (np.array(JOINT_NAMES) == "shoulder_lift_joint")

    def above(angle: float) -> float:
        return guard().distances(turned(angle))[_TABLE].min() + depth

    return turned(brentq(above, -0.6, -0.3))


@pytest.mark.parametrize("depth", [0.005, 0.015, 0.033, 0.06])
def test_the_judge_tells_depths_in_the_table_right(depth):
    judge = Rig().judge
    judge.hear(sunk(depth), sunk(depth), 0.008)
    deeper = sunk(depth + 1e-3)
    judge.hear(None, deeper, 0.008)
    judge._look(deeper)
    assert judge.violations["collision"] == 1
    judge._look(sunk(depth - 1e-3))
    assert judge.violations["collision"] == 1


@pytest.mark.parametrize("depth", [0.01, 0.033])
def test_a_robot_found_deep_in_the_table_only_comes_out(depth):
    rig = Rig()
    rig.robot.position = rig.robot.setpoint = sunk(depth)
    rig.tick()
    assert rig.engage()
    rng = np.random.default_rng(0)
    lowest = guard().distances(rig.robot.position)[_TABLE]
    for _ in range(15):
        rig.aim(near(rng, rig.robot.position, 0.5))
        for _ in range(4):
            found = guard().distances(rig.tick())[_TABLE]
            # Between two looks it may be a hair less.
            assert (found > np.minimum(lowest, 0.0) - 5e-4).all()
            lowest = np.maximum(lowest, found)
    rig.follow(HOME, 4.0)
    assert guard().distances(rig.last)[_TABLE].min() > 0
    assert rig.judge.total == 0


def test_the_judge_sees_what_a_stack_without_a_guard_does():
    rig = Rig()
    rig.controller = Controller(rig.config, JOINT_NAMES, LIMITS)
    rig.tick()
    rig.engage()
    rng = np.random.default_rng(0)
    for _ in range(6):
        rig.follow(near(rng, HOME, 1.0), 0.5)
    assert rig.judge.violations["collision"] > 0


@pytest.mark.parametrize(
    ("kind", "step"),
    [("velocity", 0.03), ("acceleration", 2e-3), ("jerk", 5.7e-4), ("nan", np.nan)],
)
def test_the_judge_sees_a_step_that_is_too_large(kind, step):
    judge = Rig().judge
    for _ in range(5):
        judge.hear(HOME, HOME, 0.008)
    assert judge.total == 0
    # Not where the robot is.
    judge.hear(HOME + step, HOME + 0.5, 0.008)
    assert judge.violations[kind] == 1


def test_the_judge_sees_a_jump_after_a_pause():
    judge = Rig().judge
    judge.hear(HOME, HOME, 0.008)
    judge.hear(None, HOME, 0.008)
    judge.hear(HOME + 0.1, HOME, 0.008)
    assert judge.violations["jump"] == 1


def test_the_judge_takes_an_arm_that_hears_nothing_as_it_was_found():
    """A protective stop leaves the arm anywhere, even against the hand; from there on it counts."""
    judge = Rig().judge
    judge.hear(HOME, HOME, 0.008, arm=False)
    folded = HOME.copy()
    folded[1] = 0.6
    judge.hear(folded, folded, 0.008, arm=False)
    assert judge.total == 0
    judge.hear(folded, folded, 0.008, arm=False)
    # From rest, and no faster than an arm may: this is a motion.
    for speed in np.linspace(0, 0.4, 30):
        folded = folded.copy()
        folded[1] += 0.008 * speed
        judge.hear(folded, folded, 0.008, arm=False)
    assert judge.violations["collision"] > 5 and judge.total == judge.violations["collision"]
