"""The smoothing node: every observation is answered, and losses are bridged as it was told."""

import time

import numpy as np
import pytest
import rclpy
from harness import START_S, Probe
from rclpy.executors import SingleThreadedExecutor

from manip_core.hand import Hand
from manip_core.interfaces import OBSERVATION, SMOOTHED
from manip_perception.smoothing_node import SmoothingNode
from manip_ros.conversions import hand_from_msg, hand_to_msg, to_stamp
from synthetic_hand import make_hand

PERIOD, BEFORE, LOST, AFTER = 1 / 30, 15, 11, 4


def shown(frame: int, stamp: float) -> Hand:
    """A hand that goes to the right, and is not seen for a while."""
    if BEFORE <= frame < BEFORE + LOST:
        return Hand(stamp=stamp)
    return Hand(
        stamp=stamp,
        tracked=True,
        keypoints=make_hand((0.1 + 0.004 * frame, 0.05, 0.6)),
        keypoints_std=np.full((21, 3), 0.004),
        confidence=0.9,
    )


@pytest.fixture(params=["false", "true"])
def smoothing(request):
    """Whether it bridges, and what spins the node once."""
    rclpy.init(args=["--ros-args", "-p", f"bridge:={request.param}"])
    node, executor = SmoothingNode(), SingleThreadedExecutor()
    executor.add_node(node)
    yield request.param == "true", lambda: executor.spin_once(timeout_sec=0.01)
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown()


def test_losses_are_bridged_for_as_long_as_it_was_told(smoothing):
    bridge, spin = smoothing
    listener = Probe(SMOOTHED)
    try:
        seen = listener.publisher(OBSERVATION)
        listener.wait(lambda: listener.node.count_publishers(SMOOTHED.name), what="the node")
        # Until the line stands both ways: a hand that nobody sees changes nothing.
        while not listener.count(SMOOTHED):
            now = time.time()
            seen.publish(hand_to_msg(Hand(stamp=now), to_stamp(now)))
            spin()
        until = time.time() + 0.5
        while time.time() < until:
            spin()
        before = listener.count(SMOOTHED)
        # Spaced as a camera's, whatever the time that they take; older than a second they would
        # not be answered, so none waits longer than it must.
        began = time.time()
        for frame in range(BEFORE + LOST + AFTER):
            stamp = began + frame * PERIOD
            time.sleep(max(0.0, stamp - time.time()))
            seen.publish(hand_to_msg(shown(frame, stamp), to_stamp(stamp)))
            while listener.count(SMOOTHED) <= before + frame:
                assert time.time() < stamp + START_S, "an answer did not come about"
                spin()
        hands = [hand_from_msg(msg) for msg in listener.received[SMOOTHED.name][before:]]
    finally:
        listener.close()
    lost = hands[BEFORE : BEFORE + LOST]
    # One-Euro's own bridge is 0.2 s long, this one 0.5 s.
    assert all(hand.bridged for hand in lost[:5])
    assert lost[-1].tracked is bridge and lost[-1].bridged is bridge
    if bridge:
        spread = [hand.keypoints_std.mean() for hand in lost]
        assert spread[-1] > 1.4 * spread[0]
        assert lost[-1].confidence < 0.5 * lost[0].confidence
        wrists = np.array([hand.keypoints[0] for hand in hands[BEFORE - 1 :]])
        # Forecast and led back: no step as wide as what was missed meanwhile.
        assert np.linalg.norm(np.diff(wrists, axis=0), axis=1).max() < 0.5 * 0.004 * LOST
    assert hands[-1].tracked and not hands[-1].bridged
