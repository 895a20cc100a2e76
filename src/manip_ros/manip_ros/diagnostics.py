"""Counters and warnings of a node, published once a second on ``/diagnostics``."""

from collections import Counter

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from manip_core.interfaces import DIAGNOSTICS
from manip_ros.topics import publisher


class Diagnostics:
    """What a node has counted, and what is wrong with it just now.

    ``reject`` is for bad input: it counts, and logs at most once in two seconds for each kind,
    so that a flood of garbage cannot fill the log.
    """

    def __init__(self, node, period: float = 1.0):
        self.counters: Counter[str] = Counter()
        self.values: dict[str, float | str] = {}
        self._node = node
        self._problem = ""
        self._level = DiagnosticStatus.OK
        self._logged: dict[str, float] = {}
        self._publisher = publisher(node, DIAGNOSTICS)
        self._timer = node.create_timer(period, self.publish)

    def reject(self, kind: str, message: str) -> None:
        """Count one piece of bad input of ``kind`` and say what was wrong with it."""
        self.counters[f"rejected: {kind}"] += 1
        now = self._node.get_clock().now().nanoseconds * 1e-9
        if now - self._logged.get(kind, -1e9) > 2.0:
            self._logged[kind] = now
            count = self.counters[f"rejected: {kind}"]
            self._node.get_logger().warning(f"{message} ({kind}, {count} so far)")

    def problem(self, message: str, *, error: bool = False) -> None:
        """Set what is wrong now; an empty message clears it. Changes are logged."""
        if message == self._problem:
            return
        self._problem = message
        level = DiagnosticStatus.ERROR if error else DiagnosticStatus.WARN
        self._level = level if message else DiagnosticStatus.OK
        logger = self._node.get_logger()
        if not message:
            logger.info("recovered")
        elif error:
            logger.error(message)
        else:
            logger.warning(message)

    def publish(self) -> None:
        """Publish the present status."""
        status = DiagnosticStatus(
            level=self._level,
            name=self._node.get_name(),
            message=self._problem or "ok",
            hardware_id="manip",
            values=[
                KeyValue(key=key, value=f"{value:.6g}" if isinstance(value, float) else str(value))
                for key, value in (*self.values.copy().items(), *self.counters.copy().items())
            ],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
