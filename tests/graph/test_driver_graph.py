"""The drivers' contract with real nodes: controllers, status, stops, recovery, faults, namings."""

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from harness import only, running, sim
from manip_msgs.msg import JointTarget, TeleopState
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Empty

from manip_control.allegro_drivers import HAND_DRIVERS
from manip_control.arm_drivers import ARM_DRIVERS, HOME_CONTROLLERS
from manip_control.faults import FAULTS
from manip_core import interfaces as topics
from manip_core.interfaces import (
    EMERGENCY_STOP,
    JOINT_STATES,
    RECOVER,
    RESET_STOP,
    SET_FAULT,
    SET_MODE,
    TARGET,
    TELEOP_STATE,
)
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES, home, limits
from manip_ros.conversions import to_stamp

HOME = home("right")
LIMITS = limits("right")
FORWARD = ARM_DRIVERS["forward"].command


def graph(robot=None, control=None, **arguments):
    """Robot and control, with parameters on top of the graph's own."""
    extra = {"mujoco_robot_node": robot or {}, "control_node": control or {}}
    return [
        replace(node, parameters=node.parameters | extra[node.executable])
        for node in only(sim(**arguments), *extra)
    ]


class Operator:
    """Sends targets as the retargeting does, and hears what comes of it."""

    def __init__(self, probe, *heard):
        self.probe = probe(JOINT_STATES, TELEOP_STATE, FORWARD, *heard)
        self._targets = self.probe.publisher(TARGET)

    @property
    def state(self):
        return self.probe.last(TELEOP_STATE)

    @property
    def engaged(self):
        return self.state is not None and self.state.mode == TeleopState.ENGAGED

    def wait(self, condition, what, timeout=60.0):
        return self.probe.wait(condition, timeout, what)

    def wait_engaged(self):
        """Until it is engaged, and who listens here has found all that it listens to."""
        self.wait(lambda: self.engaged, "engagement")
        self.wait(lambda: self.probe.last(JOINT_STATES), "joint states")

    def engage(self):
        """Ask until it is done: on a busy machine joint states may be late at times."""
        call = self.probe.call
        self.wait(lambda: call(SET_MODE, mode=TeleopState.ENGAGED).success, "engagement")

    def aim(self, positions):
        msg = JointTarget(names=list(JOINT_NAMES), positions=[float(p) for p in positions])
        msg.header.stamp = to_stamp(time.time() - 0.01)
        msg.confidence = 1.0
        self._targets.publish(msg)

    def follow(self, positions, seconds, until=lambda: False):
        end = time.time() + seconds
        while time.time() < end and not until():
            self.aim(positions)
            time.sleep(1 / 30)

    def measured(self):
        return np.array(self.probe.last(JOINT_STATES).position)

    def commands(self, since=0):
        return np.array([m.data for m in self.probe.received[FORWARD.name][since:]])

    def fault(self, kind, **change):
        answer = self.probe.call(SET_FAULT, fault=kind, active=True, **change)
        assert answer.success, answer.message


def offset(joint, way):
    wanted = HOME.copy()
    wanted[JOINT_NAMES.index(joint)] += way
    return wanted


@pytest.fixture
def operator(probe):
    with running(graph(robot={"unlock_after": 0.5})) as supervisor:
        one = Operator(probe)
        one.supervisor = supervisor
        one.wait_engaged()
        yield one


def test_a_protective_stop_holds_everything_until_the_operator_recovers(operator):
    wanted = offset("shoulder_pan_joint", 0.8)
    operator.follow(wanted, 0.5)
    before = operator.state.engagement
    operator.fault("protective_stop")
    operator.follow(wanted, 1.0)
    assert not operator.engaged and not operator.state.robot_ready
    assert "protective stop" in operator.state.robot
    # The command has come to where the arm was stopped: going on starts there.
    held = operator.measured()[:6]
    assert operator.probe.call(RECOVER).success
    operator.wait(lambda: operator.state.robot_ready, "the arm", 20)
    since = operator.probe.count(FORWARD)
    operator.wait(lambda: operator.engaged and operator.state.engagement > before, "engagement")
    operator.wait(lambda: operator.probe.count(FORWARD) > since, "commands")
    step = np.abs(operator.commands(since)[0] - held)
    assert (step <= LIMITS.velocity[:6] / 125.0).all()
    operator.follow(wanted, 2.5)
    assert operator.measured()[0] == pytest.approx(wanted[0], abs=0.02)


def test_a_stopped_program_is_told_from_a_stopped_arm_and_recovers_too(operator):
    operator.fault("program_stop")
    operator.wait(lambda: not operator.state.robot_ready, "its word", 10)
    assert "program" in operator.state.robot
    assert operator.probe.call(RECOVER).success
    operator.wait(lambda: operator.state.robot_ready, "the arm", 20)
    # Nothing to do twice.
    assert "no recovery" in operator.probe.call(RECOVER).message


def test_commands_do_not_run_ahead_of_a_slowed_arm(operator):
    operator.fault("speed_scaling", duration=4.0)
    operator.wait(lambda: "slowed to 30%" in operator.state.robot, "its word", 10)
    wanted = offset("shoulder_pan_joint", 1.2)
    since = operator.probe.count(FORWARD)
    operator.follow(wanted, 1.5)
    assert operator.state.speed <= 0.31
    moved = np.abs(np.diff(operator.commands(since)[:, 0]))
    # A late step makes good for one more at most.
    assert moved.max() <= 2.0 * 0.3 * np.pi / 125.0 + 1e-6
    assert 0.1 * np.pi < moved.sum() / 1.5 <= 0.3 * np.pi
    apart = abs(operator.commands()[-1][0] - operator.measured()[0])
    # A simulation on a busy machine loses time to a command that keeps it.
    assert apart < 0.25 and operator.engaged


def test_frozen_joint_states_stop_the_commands(operator):
    wanted = offset("shoulder_pan_joint", 1.0)
    operator.follow(wanted, 0.4)
    operator.fault("frozen_states", duration=1.5)
    operator.follow(wanted, 0.5)
    since = operator.probe.count(FORWARD)
    operator.follow(wanted, 0.5)
    assert operator.probe.count(FORWARD) == since
    assert not operator.engaged or "joint states" in operator.state.reason
    operator.wait(lambda: operator.probe.count(FORWARD) > since, "commands", 20)


@pytest.mark.parametrize("kind", ["hiccup", "drop", "reorder", "dead_joint", "payload"])
def test_it_comes_through_and_never_exceeds_the_speed(operator, kind):
    wanted = offset("shoulder_pan_joint", 0.5)
    operator.follow(wanted, 0.3)
    since = operator.probe.count(FORWARD)
    operator.fault(kind, duration=1.0)
    operator.follow(wanted, 1.5)
    operator.wait_engaged()
    operator.follow(wanted, 1.5)
    assert operator.measured()[0] == pytest.approx(wanted[0], abs=0.03)
    commands = operator.commands(since)
    steps = np.abs(np.diff(commands, axis=0))
    # Two periods at most are made good at once; what is more begins anew from where the robot is.
    anew = np.flatnonzero((steps > 2.0 * LIMITS.velocity[:6] / 125.0 + 1e-6).any(axis=1)) + 1
    heard, states = operator.probe.arrived, operator.probe.received[JOINT_STATES.name]
    for i in anew:
        at = np.searchsorted(heard[JOINT_STATES.name], heard[FORWARD.name][since + i])
        near = [np.abs(np.array(m.position[:6]) - commands[i]).max() for m in states[at - 15 : at]]
        assert min(near) < 0.02 and kind == "hiccup"


def test_the_emergency_stop_is_latched(operator):
    wanted = offset("shoulder_pan_joint", 1.0)
    operator.follow(wanted, 0.4)
    operator.probe.publisher(topics.STOP).publish(Bool(data=True))
    operator.wait(lambda: operator.state.stopped, "the stop", 10)
    operator.follow(wanted, 0.7)
    since = operator.probe.count(FORWARD)
    operator.follow(wanted, 0.5)
    assert np.ptp(operator.commands(since), axis=0).max() < 1e-6
    assert not operator.probe.call(SET_MODE, mode=TeleopState.ENGAGED).success
    assert not operator.engaged and "emergency stop" in operator.state.reason
    assert operator.probe.call(RESET_STOP).success
    time.sleep(0.5)
    # Reset is not engage.
    assert not operator.state.stopped and not operator.engaged
    assert operator.probe.call(SET_MODE, mode=TeleopState.ENGAGED).success
    assert operator.probe.call(EMERGENCY_STOP).success
    operator.wait(lambda: operator.state.stopped, "the stop", 10)


def test_a_pedal_engages_releases_and_stops(operator):
    pedal = operator.probe.publisher(topics.JOY)

    def hold(buttons, seconds=0.4):
        for _ in range(round(seconds / 0.05)):
            pedal.publish(Joy(buttons=buttons))
            time.sleep(0.05)

    assert operator.probe.call(SET_MODE, mode=TeleopState.HOLD).success
    hold([0, 0])
    hold([1, 0])
    operator.wait(lambda: operator.engaged, "engagement", 10)
    hold([0, 0])
    operator.wait(lambda: not operator.engaged, "release", 10)
    hold([1, 0])
    operator.wait(lambda: operator.engaged, "engagement", 10)
    # Unplugged while held down.
    operator.wait(lambda: not operator.engaged, "release", 10)
    hold([0, 0])
    hold([0, 1])
    operator.wait(lambda: operator.state.stopped, "the stop", 10)


def test_a_page_that_falls_silent_releases(operator):
    page = operator.probe.publisher(topics.HEARTBEAT)
    assert operator.probe.call(SET_MODE, mode=TeleopState.HOLD).success
    for i in range(20):
        page.publish(Empty())
        if i == 5:
            assert operator.probe.call(SET_MODE, mode=TeleopState.ENGAGED).success
        time.sleep(0.1)
    assert operator.engaged
    operator.wait(lambda: not operator.engaged, "release", 10)
    assert "page" in operator.state.reason


def test_bad_faults_are_refused_with_the_choices(operator):
    answer = operator.probe.call(SET_FAULT, fault="earthquake", active=True)
    assert not answer.success and all(kind in answer.message for kind in FAULTS)
    assert not operator.probe.call(SET_FAULT, fault="drop", active=False).success


@pytest.mark.parametrize("driver", ["v4", "v5", "ros2_control", "menagerie"])
def test_one_finger_s_motion_arrives_at_that_finger_through_each_driver(probe, driver):
    spoken = HAND_DRIVERS[driver]
    with running(graph(hand_driver=driver)):
        operator = Operator(probe, spoken.command)
        operator.wait_engaged()
        wanted = offset("mfj1", 0.6)
        operator.follow(wanted, 1.5)
        moved = operator.measured() - HOME
        assert moved[JOINT_NAMES.index("mfj1")] == pytest.approx(0.6, abs=0.08)
        assert np.abs(np.delete(moved, JOINT_NAMES.index("mfj1"))).max() < 0.05
        last = operator.wait(lambda: operator.probe.last(spoken.command), "a command")
        sent = np.array(last.position if isinstance(last, JointState) else last.data)
        assert len(sent) == 16 and int(np.argmax(sent - spoken_home(spoken))) == (
            spoken.joints.index("mfj1")
        )


def spoken_home(spoken):
    return np.array(spoken.arrange(dict(zip(JOINT_NAMES, HOME, strict=True))))


@pytest.mark.parametrize("driver", ["scaled_trajectory", "trajectory"])
def test_the_arm_follows_trajectories_too(probe, driver):
    command = ARM_DRIVERS[driver].command
    with running(graph(control={"arm_driver": driver})):
        operator = Operator(probe, command)
        operator.wait_engaged()
        wanted = offset("shoulder_pan_joint", 0.3)
        operator.follow(wanted, 2.0)
        assert operator.measured()[0] == pytest.approx(wanted[0], abs=0.03)
        last = operator.wait(lambda: operator.probe.last(command), "a command")
        assert last.joint_names == list(ARM_JOINTS)
        assert operator.probe.count(FORWARD) == 0


def test_arm_and_hand_apart_with_a_prefix_as_on_the_real_robot(probe):
    """Nothing engages by itself, controllers are switched by engaging, states come in parts."""
    apart = {"apart": True, "arm_prefix": "left_", "hand_driver": "v4"}
    control = {"arm_prefix": "left_", "hand_driver": "v4", "merged_states": True}
    with running(graph(robot=apart, control=control, engage="false")):
        operator = Operator(probe, topics.MERGED_STATES, topics.HAND_STATES)
        heard = operator.probe
        for topic in (JOINT_STATES, topics.HAND_STATES, topics.MERGED_STATES):
            operator.wait(lambda topic=topic: heard.last(topic), topic.name)
        operator.wait(lambda: operator.state and "not active" in operator.state.robot, "its word")
        assert heard.last(JOINT_STATES).name[0] == "left_shoulder_pan_joint"
        assert heard.last(topics.HAND_STATES).name[0] == "joint_0.0"
        assert heard.last(topics.MERGED_STATES).name == list(JOINT_NAMES)
        assert heard.count(FORWARD) == 0
        operator.engage()
        operator.wait_engaged()
        wanted = offset("elbow_joint", 0.2)
        operator.follow(wanted, 1.5)
        whole = np.array(heard.last(topics.MERGED_STATES).position)
        np.testing.assert_allclose(whole, wanted, atol=0.03)


def test_the_arm_is_given_back_when_the_control_node_ends(probe):
    with running(graph(engage="false")) as supervisor:
        operator = Operator(probe)
        operator.wait(lambda: operator.state and operator.state.robot, "its word")
        operator.wait(lambda: operator.probe.count(JOINT_STATES), "joint states")
        operator.engage()
        robot = "mujoco_robot_node"
        operator.wait(lambda: supervisor.log.has(robot, FORWARD.name.split("/")[1]), "the switch")
        os.kill(supervisor.pids()["control_node"], signal.SIGINT)
        operator.wait(
            lambda: supervisor.log.has(robot, f"controller: {HOME_CONTROLLERS[0]}"), "its return"
        )
