"""Messages that come too often for the executor."""

import os
import threading
import traceback
from collections.abc import Callable, Container

from rclpy.callback_groups import CallbackGroup
from rclpy.impl.implementation_singleton import rclpy_implementation

from manip_core.interfaces import Topic
from manip_ros.topics import subscription
from manip_ros.worker import Worker

# How soon the thread sees that it is to end [s].
_WAKE_S = 0.2


class _Aside(CallbackGroup):
    """Entities that the node's executor leaves alone."""

    def can_execute(self, entity) -> bool:
        return False

    def beginning_execution(self, entity) -> bool:
        return False

    def ending_execution(self, entity) -> None:
        pass


def _nothing(_msg) -> None:
    pass


class Listener:
    """Takes the messages of a few topics in a thread of its own.

    For each message rclpy's executor looks anew at all that its node has: nearly a millisecond for
    a node of two dozen entities, and the interpreter's lock is held meanwhile. This waits for its
    own subscriptions only. Callbacks are called one after the other, beside the executor's.
    """

    def __init__(self, node, callbacks: dict[Topic, Callable], raw: Container[Topic] = ()):
        """Listen in the name of ``node``.

        Args:
            node: The node whose subscriptions these are.
            callbacks: What each topic's messages go to.
            raw: Topics whose messages are handed over as serialised bytes.
        """
        self._node = node
        self._group = _Aside()
        self._subscriptions = [
            (
                # The executor never calls anything.
                subscription(node, topic, _nothing, raw=topic in raw, group=self._group),
                callback,
            )
            for topic, callback in callbacks.items()
        ]
        self._worker = Worker(node, self._run, "listener")

    def close(self) -> None:
        """Take no more messages."""
        self._worker.close()

    def _run(self, stop: threading.Event) -> None:
        context = self._node.context
        entities = (len(self._subscriptions), 0, 0, 0, 0, 0)
        wait_set = rclpy_implementation.WaitSet(*entities, context.handle)
        while not stop.is_set() and context.ok():
            wait_set.clear_entities()
            for one, _ in self._subscriptions:
                wait_set.add_subscription(one.handle)
            wait_set.wait(int(_WAKE_S * 1e9))
            for one, callback in self._subscriptions:
                self._take(one, callback)

    def _take(self, one, callback: Callable) -> None:
        """All that has come, in its order."""
        while (taken := one.handle.take_message(one.msg_type, one.raw)) is not None:
            try:
                callback(taken[0])
            except Exception:
                if not self._node.context.ok():
                    return
                # Deaf, the node would look alive: whoever watches it is to start it anew.
                self._node.get_logger().fatal(traceback.format_exc())
                os._exit(1)
