"""The camera node: pictures with the stamp of their exposure, and the camera's intrinsics."""

import threading
import time

from rclpy.node import Node

from manip_core.camera import CameraIntrinsics
from manip_core.hand import Hand
from manip_core.interfaces import CAMERA_INFO, IMAGE, OBSERVATION, TRUTH
from manip_perception.camera import (
    DEMO,
    CameraConfig,
    FrameSource,
    SourceMissingError,
    calibration_path,
    demo_truth,
    open_source,
    resolve,
)
from manip_ros.conversions import (
    camera_info_to_msg,
    hand_to_msg,
    image_to_msg,
    to_seconds,
    to_stamp,
)
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.topics import publisher, subscription
from manip_ros.worker import Worker

RETRY_S = 1.0
# Discovery is one-sided for a moment: what is sent at once may be lost.
SETTLE_S = 0.5
# Nodes that start together need some time; who waits longer is told why.
PATIENCE_S = 10.0
# How long rate 0 waits for the graph's answer to a picture before it goes on.
ANSWER_S = 2.0


class CameraNode(Node):
    """Reads a :class:`FrameSource` in a thread of its own and publishes what it gives."""

    def __init__(self):
        super().__init__("camera_node")
        self.config = declare_config(self, CameraConfig)
        self._images = publisher(self, IMAGE)
        self._infos = publisher(self, CAMERA_INFO)
        self._diagnostics = Diagnostics(self)
        self._answered = threading.Event()
        self._intrinsics: CameraIntrinsics | None = None
        self._last_stamp = 0.0
        self._frames = 0
        path = calibration_path(self.config)
        self._calibration = CameraIntrinsics.from_yaml(path) if path else None
        self._truth = demo_truth() if resolve(self.config.source) == DEMO else None
        self._truths = publisher(self, TRUTH) if self._truth is not None else None
        self._source = self._open()
        if self.config.rate == 0 and not (self._source and self._source.live):
            subscription(self, OBSERVATION, self._on_observation)
        self.get_logger().info(f"source: {resolve(self.config.source)}")
        self._worker = Worker(self, self._run, "frames")

    def close(self) -> None:
        """Stop the thread and free the camera."""
        self._worker.close()
        if self._source:
            self._source.close()

    def _open(self) -> FrameSource | None:
        """The source, or ``None`` where a camera is missing; a wrong file raises."""
        try:
            source = open_source(self.config)
        except SourceMissingError as error:
            self._diagnostics.problem(f"{error}; trying again every {RETRY_S:.0f} s", error=True)
            return None
        self._diagnostics.problem("")
        return source

    def _on_observation(self, msg) -> None:
        if to_seconds(msg.header.stamp) >= self._last_stamp - 1e-6:
            self._answered.set()

    def _await_subscriber(self, stop: threading.Event) -> None:
        """A file has a first frame that somebody wants: wait for whoever reads it."""
        began = time.monotonic()
        while not stop.is_set() and not self._images.get_subscription_count():
            if time.monotonic() - began > PATIENCE_S:
                self._diagnostics.problem("waiting for a subscriber before the first frame")
            stop.wait(0.05)
        self._diagnostics.problem("")
        stop.wait(SETTLE_S)

    def _run(self, stop: threading.Event) -> None:
        if self._source and not self._source.live:
            self._await_subscriber(stop)
        due = time.time()
        while not stop.is_set():
            if self._source is None:
                stop.wait(RETRY_S)
                self._source = self._open()
                due = time.time()
                continue
            try:
                frame = self._source.read()
            except SourceMissingError as error:
                self._diagnostics.problem(f"{error} Trying again", error=True)
                self._source.close()
                self._source = None
                continue
            if frame is None:
                if not self.config.loop:
                    self._diagnostics.problem("the source has ended")
                    return
                self._source.rewind()
                frame = self._source.read()
                if frame is None:
                    self._diagnostics.problem("the source has no frame left", error=True)
                    return
            image, age = frame
            if not self._source.live:
                due = self._wait(due, stop)
            self._publish(image, time.time() - age)

    def _wait(self, due: float, stop: threading.Event) -> float:
        """Wait until a recorded frame's turn has come; returns the next one's."""
        if self.config.rate == 0:
            if self._frames and not self._answered.wait(ANSWER_S):
                self._diagnostics.reject(
                    "unanswered frame", f"no hand observation within {ANSWER_S} s of a picture"
                )
            self._answered.clear()
            return due
        period = 1.0 / (self.config.rate if self.config.rate > 0 else self._source.rate)
        now = time.time()
        if now < due:
            stop.wait(due - now)
            return due + period
        # Late: the clip slips, so that no burst of old frames follows.
        slipped = now - due
        if self._frames and slipped > period:
            self._diagnostics.counters["frames late"] += 1
        return (now if slipped > period else due) + period

    def _publish(self, image, stamp: float) -> None:
        height, width = image.shape[:2]
        if self._intrinsics is None or (self._intrinsics.width, self._intrinsics.height) != (
            width,
            height,
        ):
            self._intrinsics = self._make_intrinsics(width, height)
        self._last_stamp = stamp
        ros_stamp = to_stamp(stamp)
        self._infos.publish(camera_info_to_msg(self._intrinsics, ros_stamp))
        self._images.publish(image_to_msg(image, ros_stamp))
        if self._truth is not None:
            # The clip comes whole and in order, so the count of frames is the place in it.
            true = self._truth[self._frames % len(self._truth)]
            hand = Hand(stamp=stamp, keypoints=true, confidence=1.0, tracked=True)
            self._truths.publish(hand_to_msg(hand, ros_stamp))
        self._frames += 1
        self._diagnostics.values["frames"] = self._frames

    def _make_intrinsics(self, width: int, height: int) -> CameraIntrinsics:
        if self._calibration is not None:
            return self._calibration.scaled(width, height)
        self.get_logger().warning(
            f"no calibration: assuming a horizontal field of view of {self.config.fov_deg:g} "
            "degrees; set calibration:=FILE, or fov_deg, for true distances"
        )
        return CameraIntrinsics.from_fov(width, height, self.config.fov_deg)


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(CameraNode, args)
