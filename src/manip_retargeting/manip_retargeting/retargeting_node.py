"""The retargeting node: hands in, joint targets out, anchored anew at each engagement."""

import time

import numpy as np
from manip_msgs.msg import JointTarget, TeleopState
from rclpy.node import Node

from manip_core.hand_skeleton import Keypoint
from manip_core.interfaces import CALIBRATE, JOINT_STATES, SMOOTHED, TARGET, TELEOP_STATE
from manip_core.robot_model import JOINT_NAMES
from manip_retargeting.config import RetargetingConfig
from manip_retargeting.retargeter import Retargeter, Status
from manip_ros.conversions import age_problem, hand_from_msg, to_seconds
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare, declare_config
from manip_ros.topics import BlockingService, publisher, subscription

CALIBRATION_S = 2.0
# Share of a calibration's time in which the hand must have been seen.
CALIBRATION_SEEN = 0.5
# Joint states older than this do not say where the robot is.
STATE_TIMEOUT_S = 0.2


class RetargetingNode(Node):
    """Runs a :class:`Retargeter` while the clutch is engaged."""

    def __init__(self):
        super().__init__("retargeting_node")
        side = declare(self, "hand", "right")
        self._retargeter = Retargeter(declare_config(self, RetargetingConfig), side)
        self._names = list(JOINT_NAMES)
        self._joint_states = None
        self._state_at = -np.inf
        self._engagement: int | None = None
        self._anchored: int | None = None
        self._last_stamp: float | None = None
        self._calibration: list | None = None
        self._targets = publisher(self, TARGET)
        self._diagnostics = Diagnostics(self)
        subscription(self, JOINT_STATES, self._on_joint_states)
        subscription(self, TELEOP_STATE, self._on_teleop_state)
        subscription(self, SMOOTHED, self._on_hand)
        self._calibrate = BlockingService(self, CALIBRATE, self._on_calibrate)

    def close(self) -> None:
        """Stop serving calibrations."""
        self._calibrate.close()

    def _on_joint_states(self, msg) -> None:
        # Read only at engagement: kept as it is.
        self._joint_states, self._state_at = msg, time.monotonic()

    def _on_teleop_state(self, msg) -> None:
        engaged = msg.mode == TeleopState.ENGAGED
        self._engagement = msg.engagement if engaged else None
        if not engaged:
            self._retargeter.release()
            self._anchored = None

    def _on_hand(self, msg) -> None:
        stamp = to_seconds(msg.header.stamp)
        if problem := age_problem(stamp, self.get_clock().now().nanoseconds * 1e-9):
            self._diagnostics.reject("hand", problem)
            return
        try:
            hand = hand_from_msg(msg)
        except ValueError as error:
            self._diagnostics.reject("hand", str(error))
            return
        if not hand.tracked:
            return
        if self._calibration is not None:
            self._calibration.append(hand)
        if self._engagement is None:
            return
        if self._anchored != self._engagement:
            self._engage(hand)
            return
        dt = stamp - self._last_stamp
        if not dt > 0:
            self._diagnostics.reject("hand", f"stamp is {-dt:.3f} s before the last one's")
            return
        began = time.perf_counter()
        result = self._retargeter.solve(hand, dt)
        self._last_stamp = stamp
        if result.status is Status.REJECTED:
            self._diagnostics.reject("hand", result.reason)
            return
        target = JointTarget(names=self._names, positions=result.q.tolist())
        target.header = msg.header
        target.confidence = msg.confidence
        self._targets.publish(target)
        self._diagnostics.values["solve [ms]"] = (time.perf_counter() - began) * 1e3
        self._diagnostics.counters[result.status.value] += 1

    def _engage(self, hand) -> None:
        """Anchor to this hand and to where the robot is."""
        msg = self._joint_states
        if msg is None or time.monotonic() - self._state_at > STATE_TIMEOUT_S:
            self._diagnostics.problem("no fresh joint states to engage from")
            return
        measured = dict(zip(msg.name, msg.position, strict=False))
        try:
            q = np.array([measured[name] for name in self._names])
        except KeyError as error:
            self._diagnostics.problem(f"joint states lack {error}")
            return
        result = self._retargeter.engage(q, hand)
        if result.status is Status.REJECTED:
            self._diagnostics.problem(f"cannot engage: {result.reason}")
            return
        self._diagnostics.problem("")
        self._anchored, self._last_stamp = self._engagement, hand.stamp
        self.get_logger().info("engaged")

    def _on_calibrate(self, request, response):
        duration = request.duration if request.duration > 0 else CALIBRATION_S
        self._calibration = hands = []
        time.sleep(duration)
        self._calibration = None
        seen = hands[-1].stamp - hands[0].stamp if len(hands) > 1 else 0.0
        if seen < CALIBRATION_SEEN * duration:
            response.message = (
                f"the hand was seen for {seen:.1f} of {duration:.1f} s: "
                "hold it open before the camera"
            )
            return response
        try:
            scale = self._retargeter.calibrate(hands)
        except ValueError as error:
            response.message = str(error)
            return response
        response.success = True
        response.message = f"calibrated from {len(hands)} observations"
        response.finger_scale = scale.tips.astype(np.float32)
        keypoints = np.array([hand.keypoints for hand in hands])
        palms = keypoints[:, Keypoint.MIDDLE_MCP] - keypoints[:, Keypoint.WRIST]
        response.palm_length = float(np.median(np.linalg.norm(palms, axis=1)))
        self.get_logger().info(f"{response.message}: finger scale {scale.tips.round(2)}")
        return response


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(RetargetingNode, args)
