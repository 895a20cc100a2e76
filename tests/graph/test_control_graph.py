"""Control and the MuJoCo robot as real nodes: garbage in, kills, resets. Nothing jumps."""

import os
import signal
import time

import numpy as np
import pytest
from harness import assert_arm_within_speed, only, running, sim
from manip_msgs.msg import JointTarget, TeleopState

from manip_core.interfaces import (
    ARM_COMMAND,
    HAND_COMMAND,
    JOINT_STATES,
    RESET_ROBOT,
    SET_MODE,
    TARGET,
    TELEOP_STATE,
)
from manip_core.robot_model import JOINT_NAMES, home, limits
from manip_ros.conversions import to_stamp

LIMITS = limits("right")
HOME = home("right")
ROBOT = ("mujoco_robot_node", "control_node")


def target(positions, *, names=JOINT_NAMES, age=0.01, confidence=1.0):
    msg = JointTarget(names=list(names), positions=[float(p) for p in positions])
    msg.header.stamp = to_stamp(time.time() - age)
    msg.confidence = confidence
    return msg


def engaged(probe):
    state = probe.last(TELEOP_STATE)
    return state is not None and state.mode == TeleopState.ENGAGED


def follow(probe, publisher, positions, seconds):
    until = time.time() + seconds
    while time.time() < until:
        publisher.publish(target(positions))
        time.sleep(1 / 30)


def lead(probe, publisher, positions):
    """Send the target until the robot is there."""

    def there():
        publisher.publish(target(positions))
        return abs(measured(probe)[0] - positions[0]) < 0.05

    probe.wait(there, what="the target")


@pytest.fixture
def robot(probe):
    """Robot and control, engaged, with a probe that has heard everything."""
    with running(only(sim(), *ROBOT)) as supervisor:
        listener = probe(JOINT_STATES, ARM_COMMAND, HAND_COMMAND, TELEOP_STATE)
        listener.wait(lambda: engaged(listener), what="engagement")
        for topic in (JOINT_STATES, ARM_COMMAND):
            listener.wait(lambda topic=topic: listener.count(topic), what=topic.name)
        yield supervisor, listener, listener.publisher(TARGET)


def measured(probe):
    states = probe.wait(lambda: probe.last(JOINT_STATES), what="joint states")
    return np.array(states.position)


def test_follows_a_target_within_speed_limits(robot):
    _, probe, publisher = robot
    wanted = HOME.copy()
    wanted[0] += 0.4
    wanted[JOINT_NAMES.index("ffj1")] = 1.0
    follow(probe, publisher, wanted, 2.0)
    np.testing.assert_allclose(measured(probe)[:6], wanted[:6], atol=0.02)
    assert measured(probe)[JOINT_NAMES.index("ffj1")] == pytest.approx(1.0, abs=0.1)
    assert_arm_within_speed(probe)
    assert probe.last(TELEOP_STATE).latency < 1.0


def test_garbage_moves_nothing(robot):
    _, probe, publisher = robot
    before = measured(probe)
    far = HOME + 0.5
    stamp_back = target(far)
    stamp_back.header.stamp.sec -= 30
    future = target(far)
    future.header.stamp.sec += 30
    bad = [
        target(far[:10]),
        target(far * np.nan),
        target(far, names=("elbow", *JOINT_NAMES[1:])),
        target([], names=()),
        target(far, confidence=0.0),
        target(far, confidence=float("nan")),
        stamp_back,
        future,
        JointTarget(),
    ]
    for msg in bad * 5:
        publisher.publish(msg)
        time.sleep(0.01)
    time.sleep(0.3)
    np.testing.assert_allclose(measured(probe), before, atol=5e-3)
    probe.wait(lambda: probe.last(TELEOP_STATE).rejected >= len(bad) * 5, 5.0, "the count")
    wanted = HOME.copy()
    wanted[0] += 0.1
    follow(probe, publisher, wanted, 1.0)
    assert measured(probe)[0] == pytest.approx(wanted[0], abs=0.02)


def test_targets_that_end_stop_the_robot(robot):
    _, probe, publisher = robot
    wanted = HOME.copy()
    wanted[0] += 1.0
    follow(probe, publisher, wanted, 0.4)
    assert abs(probe.last(JOINT_STATES).velocity[0]) > 0.1
    ended = probe.count(ARM_COMMAND)
    time.sleep(0.8)
    commands = np.array([m.data[0] for m in probe.received[ARM_COMMAND.name]])
    # 100 ms until it is noticed, then braking from at most 180 degrees/s at 10 rad/s^2.
    settled = ended + int(125 * (0.1 + np.pi / 10.0)) + 10
    assert np.ptp(commands[settled:]) < 1e-6
    assert probe.last(TELEOP_STATE).holding or probe.last(TELEOP_STATE).mode == TeleopState.HOLD


@pytest.mark.parametrize("victim", ROBOT)
def test_a_killed_node_returns_and_nothing_jumps(robot, victim):
    supervisor, probe, publisher = robot
    wanted = HOME.copy()
    wanted[0] += 0.5
    follow(probe, publisher, wanted, 1.0)
    engagement = probe.last(TELEOP_STATE).engagement
    states, commands = probe.count(JOINT_STATES), probe.count(ARM_COMMAND)
    os.kill(supervisor.pids()[victim], signal.SIGKILL)
    probe.wait(lambda: supervisor.log.has(victim, "died (SIGKILL)"), what="the supervisor's word")
    topic, count = (
        (JOINT_STATES, states) if victim == "mujoco_robot_node" else (ARM_COMMAND, commands)
    )
    time.sleep(0.5)
    probe.wait(lambda: probe.count(topic) > count + 200, what="its return")
    probe.wait(
        lambda: engaged(probe) and probe.last(TELEOP_STATE).engagement > engagement,
        what="a new engagement",
    )
    # A robot that starts again stands at home: the first command after that starts there.
    np.testing.assert_allclose(measured(probe)[:6], probe.last(ARM_COMMAND).data, atol=0.05)
    states = np.array([m.position[:6] for m in probe.received[JOINT_STATES.name]][-150:])
    assert np.abs(np.diff(states, axis=0)).max() < LIMITS.velocity[0] / 125.0 * 1.5
    lead(probe, publisher, wanted)


def test_reset_puts_the_robot_home_and_control_follows(robot):
    _, probe, publisher = robot
    wanted = HOME.copy()
    wanted[0] += 0.6
    follow(probe, publisher, wanted, 1.5)
    assert probe.call(RESET_ROBOT).success
    time.sleep(0.5)
    np.testing.assert_allclose(measured(probe)[:6], HOME[:6], atol=0.02)
    np.testing.assert_allclose(probe.last(ARM_COMMAND).data, HOME[:6], atol=0.05)
    probe.wait(lambda: engaged(probe), what="engagement")


def test_hold_and_engage_by_service(robot):
    _, probe, _ = robot
    assert not probe.call(SET_MODE, mode=7).success
    engagement = probe.last(TELEOP_STATE).engagement
    assert probe.call(SET_MODE, mode=TeleopState.HOLD).success
    time.sleep(1.0)
    assert not engaged(probe)
    # A loaded machine may be without fresh joint states at the moment of a request.
    probe.wait(lambda: probe.call(SET_MODE, mode=TeleopState.ENGAGED).success, what="engagement")
    probe.wait(lambda: engaged(probe) and probe.last(TELEOP_STATE).engagement > engagement)
