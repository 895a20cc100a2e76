"""The whole line, from the bundled clip to the robot, as a user starts it."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from harness import assert_arm_within_speed, running, sim
from manip_msgs.msg import HandObservation, TeleopState

from manip_core.interfaces import (
    ARM_COMMAND,
    CALIBRATE,
    IMAGE,
    JOINT_STATES,
    OBSERVATION,
    SMOOTHED,
    TARGET,
    TELEOP_STATE,
)
from manip_ros.conversions import to_seconds, to_stamp


def following(probe):
    state = probe.last(TELEOP_STATE)
    return state is not None and state.mode == TeleopState.ENGAGED and not state.holding


@pytest.fixture(scope="module")
def line():
    """The whole sim graph on the clip, following, shared by the tests of this file."""
    from harness import Probe

    with running(sim()) as supervisor:
        listener = Probe(OBSERVATION, SMOOTHED, TARGET, ARM_COMMAND, JOINT_STATES, TELEOP_STATE)
        try:
            listener.wait(lambda: following(listener), timeout=90, what="the robot following")
            yield supervisor, listener
        finally:
            listener.close()


def test_the_robot_follows_the_clip(line):
    _, probe = line
    begun = probe.count(JOINT_STATES)
    time.sleep(6.0)
    positions = np.array([m.position for m in probe.received[JOINT_STATES.name][begun:]])
    assert np.ptp(positions, axis=0).max() > 0.2
    assert probe.last(OBSERVATION).tracked
    assert 0.0 < probe.last(TELEOP_STATE).latency < 0.5
    # The stamp of the exposure goes through the whole line.
    seen = {to_seconds(m.header.stamp) for m in probe.received[OBSERVATION.name]}
    assert {to_seconds(m.header.stamp) for m in probe.received[TARGET.name][-50:]} <= seen
    assert_arm_within_speed(probe)


def test_the_clip_tells_the_truth_and_it_is_near(line, probe):
    from manip_core.interfaces import TRUTH
    from manip_core.metrics import mpjpe_mm

    listener = probe(TRUTH, SMOOTHED)
    listener.wait(lambda: listener.count(SMOOTHED) > 60 and listener.count(TRUTH) > 60)
    true = {to_seconds(m.header.stamp): m.keypoints for m in listener.received[TRUTH.name]}
    errors = [
        mpjpe_mm(np.reshape(m.keypoints, (21, 3)), np.reshape(true[stamp], (21, 3)))
        for m in listener.received[SMOOTHED.name]
        if (stamp := to_seconds(m.header.stamp)) in true and m.tracked
    ]
    # A wrong frame, or a wrong camera, would be off by far more.
    assert len(errors) > 30 and np.mean(errors) < 40.0


def test_calibration_measures_the_hand(line):
    _, probe = line
    answer = probe.call(CALIBRATE, duration=1.0)
    assert answer.success, answer.message
    assert 0.06 < answer.palm_length < 0.14
    assert all(1.0 < scale < 2.5 for scale in answer.finger_scale)


@pytest.mark.parametrize("victim", ["hand_pose_node", "smoothing_node", "retargeting_node"])
def test_a_killed_node_returns_and_the_robot_holds_meanwhile(line, victim):
    supervisor, probe = line
    probe.wait(lambda: following(probe), what="following")
    engagement = probe.last(TELEOP_STATE).engagement
    os.kill(supervisor.pids()[victim], signal.SIGKILL)
    probe.wait(lambda: not following(probe), 5.0, "the robot holding")
    time.sleep(0.6)
    held = probe.count(ARM_COMMAND)
    time.sleep(0.3)
    commands = np.array([m.data for m in probe.received[ARM_COMMAND.name]][held:])
    assert len(commands) > 3
    if probe.last(TELEOP_STATE).holding:
        assert np.ptp(commands, axis=0).max() < 0.02
    probe.wait(lambda: following(probe), what="following again")
    assert probe.last(TELEOP_STATE).engagement > engagement
    time.sleep(0.5)
    assert_arm_within_speed(probe)


def test_nan_keypoints_and_old_stamps_do_no_harm(line):
    supervisor, probe = line
    probe.wait(lambda: following(probe), what="following")
    before = supervisor.pids()
    publisher = probe.publisher(OBSERVATION)
    images = probe.publisher(IMAGE)
    for i in range(30):
        bad = HandObservation(tracked=True, confidence=0.9, handedness=HandObservation.RIGHT)
        bad.keypoints = np.full(63, np.nan, np.float32)
        bad.header.stamp = to_stamp(time.time() - (100.0 if i % 2 else 0.0))
        publisher.publish(bad)
        odd = odd_image(i)
        images.publish(odd)
        time.sleep(0.01)
    assert supervisor.pids() == before
    begun = probe.count(TARGET)
    probe.wait(lambda: probe.count(TARGET) > begun + 15 and following(probe), 10, "following")
    assert all(np.isfinite(m.positions).all() for m in probe.received[TARGET.name])
    assert_arm_within_speed(probe)


def odd_image(i):
    """Pictures that no camera of ours sends: gray, four channels, odd sizes, lies."""
    from sensor_msgs.msg import Image

    encoding, channels = (("mono8", 1), ("bgra8", 4), ("bgr8", 3), ("nonsense", 3))[i % 4]
    msg = Image(height=33, width=47, encoding=encoding, step=47 * channels)
    msg.header.stamp = to_stamp(time.time())
    msg.data = bytes(33 * 47 * channels - (i % 5 == 0))
    return msg


def manip(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "manip_bringup.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
        | {"ROS_DOMAIN_ID": str((int(os.environ["ROS_DOMAIN_ID"]) + 50) % 100)},
    )


def children_of(process: subprocess.Popen, at_least: int) -> list[psutil.Process]:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= at_least:
            return found
        time.sleep(0.05)
    raise AssertionError("the nodes did not start")


@pytest.mark.parametrize("wait", [0.0, 4.0])
def test_ctrl_c_ends_everything_cleanly(wait):
    process = manip("sim", "source:=demo", "viewer:=false")
    nodes = children_of(process, 6)
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "all ended" in said and "did not end" not in said
    assert not [node for node in nodes if node.is_running()]


def test_nodes_end_when_the_supervisor_is_killed():
    process = manip("sim", "source:=demo", "viewer:=false")
    nodes = children_of(process, 6)
    time.sleep(3.0)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(nodes, timeout=15)
    assert not alive
