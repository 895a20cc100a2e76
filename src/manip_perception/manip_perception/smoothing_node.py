"""The smoothing node: filtered hands, each with the stamp of its image."""

from rclpy.node import Node

from manip_core.interfaces import OBSERVATION, SMOOTHED
from manip_core.resources import find
from manip_perception.bridging import Bridge, BridgeConfig
from manip_perception.smoothing import HandSmoother, SmoothingConfig
from manip_perception.temporal import TemporalNetwork
from manip_perception.temporal_smoothing import TemporalSmoother
from manip_perception.transition import Transition
from manip_ros.conversions import age_problem, hand_from_msg, hand_to_msg, to_seconds
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare, declare_config
from manip_ros.topics import publisher, subscription

ONE_EURO, TEMPORAL = "one_euro", "temporal"
SHIPPED = "assets/temporal/weights.npz"


def make_smoother(kind: str, weights: str, config: SmoothingConfig) -> HandSmoother:
    """The smoother of that name.

    Args:
        kind: ``ONE_EURO`` or ``TEMPORAL``.
        weights: (``TEMPORAL``) a file of ``manip temporal``; empty for the one that ships.
        config: Of either.

    Raises:
        ValueError: There is no such smoother, or the file is none of weights.
        FileNotFoundError: The file is not there.
    """
    if kind == ONE_EURO:
        return HandSmoother(config)
    if kind == TEMPORAL:
        return TemporalSmoother(TemporalNetwork.read(weights or find(SHIPPED)), config)
    raise ValueError(f"smoothing must be {ONE_EURO} or {TEMPORAL}, got {kind!r}")


class SmoothingNode(Node):
    """Runs a :class:`HandSmoother`; which one is the parameter ``smoothing``. With ``bridge`` a
    :class:`Bridge` stands behind it, for losses of up to half a second."""

    def __init__(self):
        super().__init__("smoothing_node")
        kind, weights = declare(self, "smoothing", ONE_EURO), declare(self, "weights", "")
        self._smoother = make_smoother(kind, weights, declare_config(self, SmoothingConfig))
        wanted, bridge = declare(self, "bridge", False), declare_config(self, BridgeConfig)
        self._bridge = Bridge(Transition.shipped(), bridge) if wanted else None
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
        if self._bridge is not None:
            hand = self._bridge.update(hand)
        self._smoothed.publish(hand_to_msg(hand, msg.header.stamp))


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(SmoothingNode, args)
