"""The CAN driver as a real node, with an emulated hand at the other end of a virtual bus."""

import threading
import time

import numpy as np
import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState

from manip_control.can_bus import CanBus
from manip_control.can_hand_node import CanHandNode
from manip_control.emulated_can_hand import EmulatedCanHand
from manip_core.interfaces import HAND_COMMAND, HAND_STATES
from manip_core.robot_model import HAND_JOINTS, home

REST = home("right")[-16:]


@pytest.fixture
def hand():
    """An emulated hand that lives in real time, as far as it gets."""
    bus, one, stop = CanBus("virtual", "graph"), EmulatedCanHand(), threading.Event()

    def live():
        while not stop.is_set():
            for frame in one.step():
                bus.send(frame, 0.1)
            while (frame := bus.receive(0.0005)) is not None:
                for answer in one.receive(frame):
                    bus.send(answer, 0.1)

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    yield one
    stop.set()
    thread.join(timeout=5)
    bus.close()


@pytest.fixture
def node(hand):
    """The driver's node, in this process: the virtual bus does not leave it."""
    arguments = "--ros-args -p can_interface:=virtual -p can_channel:=graph -p state_timeout:=0.5"
    rclpy.init(args=[*arguments.split(), "-p", "command_timeout:=0.5"])
    made = CanHandNode()
    executor = SingleThreadedExecutor()
    executor.add_node(made)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield made
    executor.shutdown()
    thread.join(timeout=5)
    made.close()
    made.destroy_node()
    rclpy.try_shutdown()


def test_commands_move_the_hand_and_their_end_leaves_it_limp(hand, node, probe):
    listener = probe(HAND_STATES)
    commands = listener.publisher(HAND_COMMAND)
    listener.wait(lambda: listener.count(HAND_STATES) > 10, what="joint states")
    assert listener.last(HAND_STATES).name[0] == "joint_0.0" and not hand.on
    wanted = REST.copy()
    wanted[HAND_JOINTS.index("rfj1")] += 0.5

    def there():
        commands.publish(JointState(name=["any"] * 16, position=wanted.tolist()))
        time.sleep(0.008)
        return abs(hand.position - wanted).max() < 0.08

    listener.wait(there, 60, "the finger")
    assert hand.on
    seen = np.array(listener.last(HAND_STATES).position)
    assert abs(seen - wanted).max() < 0.12
    # A command that is none does not count as one.
    until = time.time() + 20.0
    while hand.on and time.time() < until:
        commands.publish(JointState(position=[float("nan")] * 16))
        time.sleep(0.05)
    assert not hand.on and not hand.duty.any()
