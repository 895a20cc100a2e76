"""Messages taken beside the executor: all of them, in their order, and by nobody else."""

import threading
import time

import rclpy
from harness import Probe
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool, String

from manip_core.interfaces import EPISODE_MARK, STOP
from manip_ros.listener import Listener


def test_a_listener_takes_everything_in_order_and_the_executor_nothing():
    sender = Probe()
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("hearer", context=context)
    heard, threads = [], set()

    def take(msg):
        threads.add(threading.current_thread().name)
        heard.append(msg)

    listener = Listener(node, {EPISODE_MARK: take, STOP: take}, raw=(STOP,))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        marks, stops = sender.publisher(EPISODE_MARK), sender.publisher(STOP)
        for i in range(60):
            marks.publish(String(data=str(i)))
            if i % 20 == 0:
                stops.publish(Bool(data=False))
            # Reliable topics keep ten messages for who is slow.
            taken = len(heard)
            sender.wait(lambda taken=taken: len(heard) > taken, what="a message")
            executor.spin_once(timeout_sec=0.0)
        sender.wait(lambda: len(heard) == 63, what="all messages")
        assert [m.data for m in heard if isinstance(m, String)] == [str(i) for i in range(60)]
        assert sum(isinstance(m, bytes) for m in heard) == 3
        assert threads == {"listener"}
        listener.close()
        marks.publish(String(data="late"))
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            executor.spin_once(timeout_sec=0.02)
        assert len(heard) == 63
    finally:
        listener.close()
        node.destroy_node()
        rclpy.shutdown(context=context)
        sender.close()
