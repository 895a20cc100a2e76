"""Real nodes on a domain of their own, and a probe that listens to them."""

import os
import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from manip_bringup.graph import GRAPHS, NodeSpec
from manip_bringup.supervisor import Supervisor
from manip_core.interfaces import JOINT_STATES
from manip_core.robot_model import ARM_JOINTS, limits
from manip_ros import topics
from manip_ros.conversions import to_seconds

# Nodes need a few seconds each to import what they use; two loaded cores take longer.
START_S = 60.0


class Probe:
    """A node that keeps what it hears, spun in a thread of its own; ``raw`` keeps it serialised."""

    def __init__(self, *heard, raw: bool = False):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(f"probe_{os.getpid()}_{id(self)}", context=self.context)
        self.received = {topic.name: [] for topic in heard}
        self.arrived = {topic.name: [] for topic in heard}
        for topic in heard:
            topics.subscription(self.node, topic, self._keeper(topic.name), raw=raw)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _keeper(self, name):
        def keep(msg):
            self.arrived[name].append(time.time())
            self.received[name].append(msg)

        return keep

    def last(self, topic):
        messages = self.received[topic.name]
        return messages[-1] if messages else None

    def count(self, topic):
        return len(self.received[topic.name])

    def wait(self, condition, timeout=START_S, what="condition"):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        raise AssertionError(f"{what} did not come about within {timeout} s")

    def call(self, described, timeout=START_S, **request):
        client = topics.client(self.node, described)
        assert client.wait_for_service(timeout), f"no service {described.name}"
        future = client.call_async(topics.message_type(described).Request(**request))
        return self.wait(lambda: future.done() and future.result(), timeout, described.name)

    def publisher(self, topic):
        made = topics.publisher(self.node, topic)
        self.wait(lambda: made.get_subscription_count() > 0, what=f"subscriber of {topic.name}")
        return made

    def close(self):
        self._executor.shutdown()
        self._thread.join(timeout=2.0)
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


class Log:
    """A file-like sink for the supervisor that keeps the lines."""

    def __init__(self):
        self.lines = []

    def write(self, text):
        if text.strip():
            self.lines.append(text.rstrip())

    def flush(self):
        pass

    def isatty(self):
        return False

    def has(self, *parts):
        return any(all(part in line for part in parts) for line in self.lines)


@contextmanager
def running(nodes: list[NodeSpec], log: Log | None = None):
    """The nodes under a supervisor; yields it and its log, and ends them all."""
    log = log or Log()
    supervisor = Supervisor(nodes, out=log)
    supervisor.log = log
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        thread.join(timeout=20)
        assert not thread.is_alive(), "the supervisor did not end"
        if os.environ.get("MANIP_TEST_LOG"):
            print("\n".join(log.lines))


def sim(**arguments) -> list[NodeSpec]:
    """The sim graph without views, with the given arguments."""
    graph = GRAPHS["sim"]
    return graph.nodes(graph.resolve({"viewer": "false", "source": "demo", **arguments}))


def only(nodes: list[NodeSpec], *executables: str) -> list[NodeSpec]:
    """Those of the nodes."""
    return [node for node in nodes if node.executable in executables]


def assert_arm_within_speed(probe):
    """Over any quarter of a second the arm turns no faster than its limits allow.

    A quarter of it may be time that a loaded simulation catches up on.
    """
    heard = probe.received[JOINT_STATES.name]
    order = [heard[0].name.index(name) for name in ARM_JOINTS]
    stamps = np.array([to_seconds(msg.header.stamp) for msg in heard])
    positions = np.array([msg.position for msg in heard])[:, order]
    later = np.searchsorted(stamps, stamps + 0.25)
    rows = np.flatnonzero(later < len(stamps))
    moved = np.abs(positions[later[rows]] - positions[rows])
    seconds = (stamps[later[rows]] - stamps[rows])[:, None]
    assert (moved / seconds <= 1.25 * limits("right").velocity[:6]).all()
