"""Driver node of an Allegro Hand V4 on the CAN bus: speaks the topics that V4's ROS driver has."""

import threading
import time

from rclpy.node import Node
from sensor_msgs.msg import JointState

from manip_control.allegro_drivers import hand_driver
from manip_control.can_bus import CanBus
from manip_control.can_hand import CanHand, CanHandConfig
from manip_control.can_protocol import Frame, Message, request
from manip_core.robot_model import limits
from manip_ros.conversions import to_stamp
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare, declare_config
from manip_ros.topics import publisher, subscription
from manip_ros.worker import Worker

# Longest wait for a frame: how often silence is looked for.
_WAIT_S = 0.005
_INFO_PERIOD_S = 1.0


class CanHandNode(Node):
    """Moves frames between a bus and a :class:`CanHand`."""

    def __init__(self):
        super().__init__("can_hand_node")
        config = declare_config(self, CanHandConfig)
        side = declare(self, "hand", "right")
        interface = declare(self, "can_interface", "socketcan")
        channel = declare(self, "can_channel", "can0")
        self._rate = declare(self, "rate", 125.0)
        self._hand = CanHand(config, limits(side), side)
        self._driver = hand_driver("can")
        self._bus = CanBus(interface, channel)
        self._lock = threading.Lock()
        self._states = publisher(self, self._driver.states)
        self._diagnostics = Diagnostics(self)
        subscription(self, self._driver.command, self._on_command)
        self._worker = Worker(self, self._run, "can")

    def close(self) -> None:
        """Take all torque away."""
        self._worker.close()
        self._send(self._hand.end())
        self._bus.close()

    def _on_command(self, msg: JointState) -> None:
        try:
            with self._lock:
                self._hand.command(msg.position, time.monotonic())
        except ValueError as error:
            self._diagnostics.reject("hand command", str(error))

    def _run(self, stop: threading.Event) -> None:
        hand, publish_due, info_due = self._hand, 0.0, 0.0
        self._send(hand.start())
        while not stop.is_set():
            frame = self._bus.receive(_WAIT_S)
            now = time.monotonic()
            with self._lock:
                frames = hand.update(now) if frame is None else hand.receive(frame, now)
            self._send(frames)
            if now >= info_due:
                info_due = now + _INFO_PERIOD_S
                # Also begins anew with a hand that was switched on after us.
                again = hand.start()[1:] if hand.problem else []
                self._send(again or [request(Message.HAND_INFO, hand.config.device)])
                self._report()
            if frame is not None and hand.measured_at is not None and now >= publish_due:
                publish_due = max(publish_due + 1.0 / self._rate, now)
                self._publish()

    def _send(self, frames: list[Frame]) -> None:
        try:
            for frame in frames:
                self._bus.send(frame, _WAIT_S)
        except OSError as error:
            self._diagnostics.reject("frame not sent", str(error))

    def _publish(self) -> None:
        hand = self._hand
        msg = JointState(
            name=list(self._driver.names),
            position=hand.position.tolist(),
            velocity=hand.velocity.tolist(),
            effort=hand.duty.tolist(),
        )
        msg.header.stamp = to_stamp(time.time() - (time.monotonic() - hand.measured_at))
        self._states.publish(msg)

    def _report(self) -> None:
        hand, info = self._hand, self._hand.info
        self._diagnostics.problem(hand.problem)
        if info is not None:
            self._diagnostics.values["board [degrees C]"] = info.temperature
            self._diagnostics.values["firmware"] = ".".join(map(str, info.firmware))
        self._diagnostics.values["frames not understood"] = hand.ignored


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(CanHandNode, args)
