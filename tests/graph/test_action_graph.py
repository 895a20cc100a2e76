"""The action node: a command for every hand that is seen, with the stamp of its picture."""

import time

import numpy as np
import pytest
import rclpy
from harness import Probe
from rclpy.executors import SingleThreadedExecutor

from manip_core.hand import Hand, SeenObject
from manip_core.interfaces import MANIPULATION, OBSERVATION, SCENE_OBJECTS
from manip_perception.action_node import ActionNode
from manip_ros.conversions import hand_to_msg, to_stamp
from manip_ros.manipulation_conversions import manipulation_from_msg
from manip_ros.scene_conversions import objects_to_msg
from synthetic_hand import make_hand


@pytest.fixture
def spun():
    """The node, and what spins it once."""
    rclpy.init()
    node = ActionNode()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    yield lambda: executor.spin_once(timeout_sec=0.02)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()


def test_every_observation_is_answered(spun):
    probe = Probe(MANIPULATION)
    try:
        hands, things = probe.publisher(OBSERVATION), probe.publisher(SCENE_OBJECTS)
        probe.wait(lambda: probe.node.count_subscribers(OBSERVATION.name) > 0, what="the node")
        cup = SeenObject(
            name="cup", position=np.array((0.1, 0.0, 0.6)), rotation=np.eye(3), confidence=0.9
        )
        sent = []
        for frame in range(6):
            stamp = to_stamp(time.time())
            hand = Hand(
                stamp=0.0,
                keypoints=make_hand((0.01 * frame, 0.05, 0.6)),
                confidence=0.9,
                tracked=frame != 4,
                objects=(cup,),
            )
            things.publish(objects_to_msg(hand, stamp))
            hands.publish(hand_to_msg(hand, stamp))
            sent.append(stamp)

            def answered(frame=frame):
                spun()
                return probe.count(MANIPULATION) > frame

            probe.wait(answered, what="an answer")
        told = probe.received[MANIPULATION.name]
        assert [msg.header.stamp for msg in told] == sent
        said = [manipulation_from_msg(msg) for msg in told]
        assert said[4].confidence == 0.0
        assert all(one.confidence > 0 for i, one in enumerate(said) if i != 4)
        # Neither old pictures nor nonsense are answered.
        old = hand_to_msg(Hand(stamp=0.0, keypoints=make_hand((0, 0, 0.6)), tracked=True), sent[0])
        old.header.stamp = to_stamp(1.0)
        hands.publish(old)
        for _ in range(20):
            spun()
        assert probe.count(MANIPULATION) == 6
    finally:
        probe.close()
