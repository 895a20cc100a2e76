"""The control node: targets in, the drivers' own commands out."""

import time
from dataclasses import replace

import numpy as np
from manip_msgs.msg import TeleopState
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from manip_control.allegro_drivers import hand_driver
from manip_control.controller import ENGAGED, ControlConfig, Controller
from manip_core.interfaces import (
    ARM_COMMAND,
    HAND_COMMAND,
    JOINT_STATES,
    SET_MODE,
    TARGET,
    TELEOP_STATE,
)
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES, limits
from manip_ros.conversions import to_seconds, to_stamp
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare, declare_config
from manip_ros.topics import publisher, service, subscription

STATE_PERIOD_S = 0.1


class ControlNode(Node):
    """Runs a :class:`Controller` at a fixed rate."""

    def __init__(self):
        super().__init__("control_node")
        config = declare_config(self, ControlConfig)
        side = declare(self, "hand", "right")
        driver = hand_driver(declare(self, "hand_driver", "v5"))
        robot = limits(side)
        self._controller = Controller(
            config,
            JOINT_NAMES,
            replace(robot, velocity=robot.velocity * config.speed_fraction),
            arm_joints=len(ARM_JOINTS),
            # Differs from every number given before a restart, so that nobody keeps an old anchor.
            engagement=int(time.time()) % 2**31,
        )
        self._hand_order = [JOINT_NAMES.index(name) for name in driver.joints]
        self._hand_names = list(driver.names)
        self._arm = publisher(self, ARM_COMMAND)
        self._hand = publisher(self, HAND_COMMAND)
        self._states = publisher(self, TELEOP_STATE)
        self._diagnostics = Diagnostics(self)
        self._latency = float("nan")
        self._published: tuple | None = None
        self._published_at = 0.0
        subscription(self, JOINT_STATES, self._on_joint_states)
        subscription(self, TARGET, self._on_target)
        service(self, SET_MODE, self._on_set_mode)
        self.create_timer(1.0 / config.rate, self._step)

    def _now(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _on_joint_states(self, msg: JointState) -> None:
        try:
            self._controller.on_joint_states(msg.name, msg.position, self._now())
        except ValueError as error:
            self._diagnostics.reject("joint state", str(error))

    def _on_target(self, msg) -> None:
        stamp = to_seconds(msg.header.stamp)
        try:
            self._controller.on_target(msg.names, msg.positions, stamp, msg.confidence, self._now())
        except ValueError as error:
            self._diagnostics.reject("target", str(error))

    def _on_set_mode(self, request, response):
        response.success, response.message = self._controller.set_mode(request.mode, self._now())
        self._publish_state()
        return response

    def _step(self) -> None:
        now = self._now()
        command = self._controller.step(now)
        if command is not None:
            self._arm.publish(Float64MultiArray(data=command.positions[: len(ARM_JOINTS)].tolist()))
            hand = JointState(
                name=self._hand_names, position=command.positions[self._hand_order].tolist()
            )
            # The exposure, so that whoever listens knows how old the command's cause is.
            hand.header.stamp = to_stamp(now if command.stamp is None else command.stamp)
            self._hand.publish(hand)
            if command.fresh:
                self._latency = self._now() - command.stamp
        state = self._state()
        if state != self._published or now - self._published_at > STATE_PERIOD_S:
            self._publish_state()

    def _state(self) -> tuple:
        controller = self._controller
        return controller.mode, controller.reason, controller.engagement

    def _publish_state(self) -> None:
        before = self._published
        mode, reason, engagement = self._published = self._state()
        if before is None or (mode, engagement) != (before[0], before[2]):
            word = "engaged" if mode == ENGAGED else "holding"
            self.get_logger().info(f"{word}: {reason}" if reason else word)
        self._published_at = self._now()
        msg = TeleopState(
            mode=mode,
            holding=mode == ENGAGED and bool(reason),
            reason=reason,
            engagement=engagement,
            latency=self._latency,
            rejected=self._controller.rejected,
        )
        msg.header.stamp = to_stamp(self._published_at)
        self._states.publish(msg)
        self._diagnostics.values["latency [ms]"] = self._latency * 1e3
        speed = np.abs(self._controller.limiter.velocity).max()
        self._diagnostics.values["fastest joint [rad/s]"] = float(speed)


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(ControlNode, args)
