"""The hand pose node: a hand in every picture, by the estimator that was asked for."""

import time

from rclpy.node import Node

from manip_core.camera import CameraIntrinsics
from manip_core.hand import SIDES, Hand
from manip_core.interfaces import CAMERA_INFO, IMAGE, OBSERVATION
from manip_perception.estimator import make_estimator
from manip_ros.conversions import (
    camera_from_msg,
    hand_to_msg,
    image_from_msg,
    to_seconds,
)
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare
from manip_ros.topics import publisher, subscription


class HandPoseNode(Node):
    """Runs a :class:`HandEstimator` on every picture and publishes the hand that is followed."""

    def __init__(self):
        super().__init__("hand_pose_node")
        self._side = declare(self, "hand", "right")
        if self._side not in SIDES:
            raise ValueError(f"hand must be one of {', '.join(SIDES)}, got {self._side!r}")
        self._camera: CameraIntrinsics | None = None
        self._observations = publisher(self, OBSERVATION)
        self._diagnostics = Diagnostics(self)
        self._frames = self._tracked = 0
        hand_length = declare(self, "hand_length", 0.0)
        options = {"hand_length": hand_length} if hand_length > 0 else {}
        self._estimator = make_estimator(declare(self, "estimator", "mediapipe"), **options)
        try:
            # Not before the estimator is there: a file starts with its first reader.
            subscription(self, CAMERA_INFO, self._on_camera_info)
            subscription(self, IMAGE, self._on_image)
        except BaseException:
            self._estimator.close()
            raise

    def close(self) -> None:
        """Free the estimator's threads."""
        self._estimator.close()

    def _on_camera_info(self, msg) -> None:
        if self._camera and list(msg.k) == self._camera_k and msg.width == self._camera.width:
            return
        try:
            self._camera = camera_from_msg(msg)
            self._camera_k = list(msg.k)
        except ValueError as error:
            self._diagnostics.reject("camera info", str(error))

    def _on_image(self, msg) -> None:
        began = time.perf_counter()
        stamp = to_seconds(msg.header.stamp)
        if self._camera is None:
            self._diagnostics.reject("image", "no camera info yet: intrinsics are needed")
            return
        try:
            hands = self._estimator.estimate(image_from_msg(msg), stamp, self._camera)
        except ValueError as error:
            self._diagnostics.reject("image", str(error))
            hands = []
        hand = max(
            (hand for hand in hands if hand.side == self._side),
            key=lambda hand: hand.confidence,
            default=Hand(stamp=stamp, side=self._side),
        )
        self._observations.publish(hand_to_msg(hand, msg.header.stamp))
        self._frames += 1
        self._tracked += hand.tracked
        self._diagnostics.values |= {
            "estimator [ms]": (time.perf_counter() - began) * 1e3,
            "frames": self._frames,
            "tracked": self._tracked,
        }
        other = any(h.side != self._side for h in hands)
        self._diagnostics.problem(
            f"only the other hand is seen: the {self._side} one is followed"
            if other and not hand.tracked
            else ""
        )


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(HandPoseNode, args)
