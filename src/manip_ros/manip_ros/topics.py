"""Publishers, subscriptions, clients and services from the descriptions in ``manip_core``."""

import threading
from importlib import import_module

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from manip_core.interfaces import Qos, Service, Topic

_PROFILES = {
    Qos.SENSOR: QoSProfile(depth=2, reliability=ReliabilityPolicy.BEST_EFFORT),
    Qos.RELIABLE: QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE),
    Qos.LATCHED: QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    ),
}


def qos(topic: Topic) -> QoSProfile:
    """The rclpy profile of a topic."""
    return _PROFILES[topic.qos]


def message_type(described: Topic | Service) -> type:
    """The Python class behind ``package/msg/Name`` or ``package/srv/Name``."""
    package, kind, name = described.type.split("/")
    return getattr(import_module(f"{package}.{kind}"), name)


def publisher(node, topic: Topic, name: str | None = None):
    """A publisher of ``topic`` on ``node``, under another ``name`` where one is given."""
    return node.create_publisher(message_type(topic), name or topic.name, qos(topic))


def subscription(
    node, topic: Topic, callback, name: str | None = None, *, raw: bool = False, group=None
):
    """A subscription of ``node`` to ``topic``; ``raw`` hands over the serialised bytes, ``group``
    is its callback group.
    """
    return node.create_subscription(
        message_type(topic),
        name or topic.name,
        callback,
        qos(topic),
        raw=raw,
        callback_group=group,
    )


def service(node, described: Service, callback):
    """A service server on ``node``."""
    return node.create_service(message_type(described), described.name, callback)


class BlockingService:
    """A service whose callback may take its time: it runs in a thread of its own.

    (A coroutine would block the node's other callbacks, or spin its executor without pause.)
    """

    def __init__(self, node, described: Service, callback):
        name = described.name.rsplit("/", 1)[-1]
        self._node = Node(f"{node.get_name()}_{name}", context=node.context)
        self._service = service(self._node, described, callback)
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:
            # rclpy may report an invalid context while it is being shut down by a signal.
            if self._node.context.ok():
                raise

    def close(self) -> None:
        """Stop serving."""
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(timeout=1.0)
        self._node.destroy_node()


def client(node, described: Service):
    """A service client on ``node``."""
    return node.create_client(message_type(described), described.name)
