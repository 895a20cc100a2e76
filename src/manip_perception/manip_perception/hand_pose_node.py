"""The hand pose node: a hand in every picture, by the estimator that was asked for."""

import time

from rclpy.node import Node

from manip_core.camera import CameraIntrinsics
from manip_core.hand import SIDES, Hand, palm_rotation
from manip_core.interfaces import (
    CAMERA_INFO,
    HAND_MESH,
    IMAGE,
    OBSERVATION,
    SCENE_CONTACTS,
    SCENE_OBJECTS,
)
from manip_perception.estimator import HandEstimator, make_estimator
from manip_ros.conversions import (
    camera_from_msg,
    hand_to_msg,
    image_from_msg,
    to_seconds,
)
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare
from manip_ros.scene_conversions import contacts_to_msg, mesh_to_msg, objects_to_msg
from manip_ros.topics import publisher, subscription


class HandPoseNode(Node):
    """Runs a :class:`HandEstimator` on every picture and publishes the hand that is followed.

    What else the estimator sees of that hand, its surface, objects and contacts, goes out while
    there is something to say, and once, empty, when there is nothing any more.
    """

    def __init__(self):
        super().__init__("hand_pose_node")
        self._side = declare(self, "hand", "right")
        if self._side not in SIDES:
            raise ValueError(f"hand must be one of {', '.join(SIDES)}, got {self._side!r}")
        self._camera: CameraIntrinsics | None = None
        self._observations = publisher(self, OBSERVATION)
        self._diagnostics = Diagnostics(self)
        self._frames = self._tracked = 0
        name = declare(self, "estimator", "mediapipe")
        self._estimator = _make_estimator(name, self._options())
        description = getattr(self._estimator, "description", name)
        self.get_logger().info(f"estimator: {description}")
        self._diagnostics.values["estimator"] = description
        self._mesh = publisher(self, HAND_MESH)
        self._objects = publisher(self, SCENE_OBJECTS)
        self._contacts = publisher(self, SCENE_CONTACTS)
        self._filled = set()
        try:
            # Not before the estimator is there: a file starts with its first reader.
            subscription(self, CAMERA_INFO, self._on_camera_info)
            subscription(self, IMAGE, self._on_image)
        except BaseException:
            self._estimator.close()
            raise

    def _options(self) -> dict[str, object]:
        """Fields of the estimator's own config that are set; zero and empty leave its default."""
        options = {
            "hand_length": declare(self, "hand_length", 0.0),
            "num_hands": declare(self, "num_hands", 0),
            "min_confidence": declare(self, "min_confidence", 0.0),
            "model": declare(self, "model", ""),
            "runtime": declare(self, "runtime", ""),
            "threads": declare(self, "threads", 0),
        }
        return {name: value for name, value in options.items() if value}

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
        hands = [hand for hand in hands if self._usable(hand)]
        hand = max(
            (hand for hand in hands if hand.side == self._side),
            key=lambda hand: hand.confidence,
            default=Hand(stamp=stamp, side=self._side),
        )
        self._observations.publish(hand_to_msg(hand, msg.header.stamp))
        self._publish_surroundings(hand, msg.header.stamp)
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

    def _usable(self, hand: Hand) -> bool:
        problem = hand.problem()
        if problem is None:
            try:
                palm_rotation(hand.keypoints, hand.side)
            except ValueError as error:
                problem = str(error)
        if problem:
            self._diagnostics.reject("hand", problem)
        return not problem

    def _publish_surroundings(self, hand: Hand, stamp) -> None:
        for topic, convert, something in (
            (self._mesh, mesh_to_msg, hand.vertices is not None),
            (self._objects, objects_to_msg, bool(hand.objects)),
            (self._contacts, contacts_to_msg, bool(hand.contacts)),
        ):
            if (something or topic in self._filled) and topic.get_subscription_count():
                topic.publish(convert(hand, stamp))
                (self._filled.add if something else self._filled.discard)(topic)


def _make_estimator(name: str, options: dict[str, object]) -> HandEstimator:
    try:
        return make_estimator(name, **options)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("manip_"):
            raise
        raise ValueError(
            f"estimator {name} needs {error.name}, which is not installed: "
            f"run scripts/setup.sh {name}"
        ) from error


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(HandPoseNode, args)
