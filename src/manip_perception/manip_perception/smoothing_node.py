"""The smoothing node: filtered hands, each with the stamp of its image."""

from rclpy.node import Node

from manip_core.interfaces import OBSERVATION, SMOOTHED
from manip_perception.smoothing import HandSmoother, SmoothingConfig
from manip_ros.conversions import age_problem, hand_from_msg, hand_to_msg, to_seconds
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.topics import publisher, subscription


class SmoothingNode(Node):
    """Runs a :class:`HandSmoother`."""

    def __init__(self):
        super().__init__("smoothing_node")
        self._smoother = HandSmoother(declare_config(self, SmoothingConfig))
        self._smoothed = publisher(self, SMOOTHED)
        self._diagnostics = Diagnostics(self)
        subscription(self, OBSERVATION, self._on_observation)

    def _on_observation(self, msg) -> None:
        stamp = to_seconds(msg.header.stamp)
        if problem := age_problem(stamp, self.get_clock().now().nanoseconds * 1e-9):
            self._diagnostics.reject("observation", problem)
            return
        try:
            seen = hand_from_msg(msg)
        except ValueError as error:
            self._diagnostics.reject("observation", str(error))
            seen = None
        hand = self._smoother.update(seen if seen and seen.tracked else None, stamp)
        if self._smoother.reason:
            self._diagnostics.reject("smoothing", self._smoother.reason)
        self._smoothed.publish(hand_to_msg(hand, msg.header.stamp))


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(SmoothingNode, args)
