"""The action node: what the hand is about to do, of every hand that is seen."""

from rclpy.node import Node

from manip_core.interfaces import CAMERA_OPTICAL_FRAME, MANIPULATION, OBSERVATION, SCENE_OBJECTS
from manip_perception.action import ActionConfig, ActionDecoder, read
from manip_ros.conversions import age_problem, hand_from_msg, to_seconds
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.manipulation_conversions import manipulation_to_msg
from manip_ros.parameters import declare, declare_config
from manip_ros.scene_conversions import objects_from_msg
from manip_ros.topics import publisher, subscription


class ActionNode(Node):
    """Runs an :class:`ActionDecoder`; objects are those that the camera sees, not the robot's."""

    def __init__(self):
        super().__init__("action_node")
        weights = declare(self, "weights", "")
        self._decoder = ActionDecoder(read(weights), declare_config(self, ActionConfig))
        self._objects, self._objects_stamp = (), -1.0
        self._commands = publisher(self, MANIPULATION)
        self._diagnostics = Diagnostics(self)
        subscription(self, SCENE_OBJECTS, self._on_objects)
        subscription(self, OBSERVATION, self._on_hand)

    def _on_objects(self, msg) -> None:
        if msg.source != msg.SEEN or msg.header.frame_id != CAMERA_OPTICAL_FRAME:
            return
        try:
            self._objects = objects_from_msg(msg)
            self._objects_stamp = to_seconds(msg.header.stamp)
        except ValueError as error:
            self._diagnostics.reject("objects", str(error))

    def _on_hand(self, msg) -> None:
        stamp = to_seconds(msg.header.stamp)
        if problem := age_problem(stamp, self.get_clock().now().nanoseconds * 1e-9):
            self._diagnostics.reject("hand", problem)
            return
        try:
            hand = hand_from_msg(msg)
        except ValueError as error:
            self._diagnostics.reject("hand", str(error))
            hand = None
        fresh = abs(stamp - self._objects_stamp) <= self._decoder.config.max_object_age
        said = self._decoder.update(hand, stamp, self._objects if fresh else ())
        self._commands.publish(manipulation_to_msg(said, msg.header.stamp))


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(ActionNode, args)
