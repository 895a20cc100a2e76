"""The RViz node: robot_description, /tf and /tf_static, and the hand as markers.

It does robot_state_publisher's work from the same robot model as everything else, so that nothing
but this suite is needed; `ros2 run` of the original beside it would publish the same frames.
"""

import shutil
import subprocess
import time

import numpy as np
from geometry_msgs.msg import Point, TransformStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA, String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from manip_bringup.robot_frames import HandShape, RobotFrames, Transform, hand_shape
from manip_core import resources
from manip_core.hand import RIGHT
from manip_core.interfaces import (
    CAMERA_OPTICAL_FRAME,
    HAND_MARKERS,
    JOINT_STATES,
    ROBOT_DESCRIPTION,
    SMOOTHED,
    TF,
    TF_STATIC,
)
from manip_core.robot_model import check_side, load_urdf
from manip_ros.conversions import hand_from_msg
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare
from manip_ros.topics import publisher, subscription

# Frames are sent at most this often; the joints come more than 100 times a second.
_TF_PERIOD_S = 1 / 50
# RViz forgets a hand that is not seen any more after this time [s].
_LIFETIME_S = 0.5
_NAMESPACE = "hand"


class RvizNode(Node):
    """Publishes what ``config/manip.rviz`` shows, and starts RViz 2 where it is asked to."""

    def __init__(self):
        super().__init__("rviz_node")
        side = check_side(declare(self, "hand", RIGHT))
        start = declare(self, "start_rviz", True)
        meshes = declare(self, "meshes", "")
        self._frames = RobotFrames(side)
        self._diagnostics = Diagnostics(self)
        self._tf = publisher(self, TF)
        self._tf_static = publisher(self, TF_STATIC)
        self._markers = publisher(self, HAND_MARKERS)
        self._description = publisher(self, ROBOT_DESCRIPTION)
        self._description.publish(String(data=load_urdf(side, meshes=meshes)))
        now = self.get_clock().now().to_msg()
        self._tf_static.publish(
            TFMessage(transforms=[_transform(t, now) for t in self._frames.fixed()])
        )
        self._tf_due = 0.0
        subscription(self, JOINT_STATES, self._on_joints)
        subscription(self, SMOOTHED, self._on_hand)
        self._rviz = self._start_rviz() if start else None

    def close(self) -> None:
        """End RViz."""
        if self._rviz is not None and self._rviz.poll() is None:
            self._rviz.terminate()

    def _start_rviz(self) -> subprocess.Popen | None:
        program = shutil.which("rviz2")
        if program is None:
            self.get_logger().info("rviz2 is not installed here; its topics are published anyway")
            return None
        return subprocess.Popen([program, "-d", str(resources.find("config/manip.rviz"))])

    def _on_joints(self, msg: JointState) -> None:
        now = time.monotonic()
        if now < self._tf_due or not self._tf.get_subscription_count():
            return
        self._tf_due = now + _TF_PERIOD_S
        try:
            frames = self._frames.moving(msg.name, msg.position)
        except ValueError as error:
            self._diagnostics.reject("joint states", str(error))
            return
        self._tf.publish(TFMessage(transforms=[_transform(t, msg.header.stamp) for t in frames]))

    def _on_hand(self, msg) -> None:
        if not self._markers.get_subscription_count():
            return
        try:
            shape = hand_shape(hand_from_msg(msg))
        except ValueError as error:
            self._diagnostics.reject("hand", str(error))
            return
        self._markers.publish(MarkerArray(markers=_hand_markers(shape, msg.header.stamp)))


def _transform(transform: Transform, stamp) -> TransformStamped:
    msg = TransformStamped(child_frame_id=transform.child)
    msg.header.stamp, msg.header.frame_id = stamp, transform.parent
    t, r = msg.transform.translation, msg.transform.rotation
    t.x, t.y, t.z = map(float, transform.translation)
    r.x, r.y, r.z, r.w = map(float, transform.quaternion)
    return msg


def _hand_markers(shape: HandShape | None, stamp) -> list[Marker]:
    if shape is None:
        marker = Marker(ns=_NAMESPACE, action=Marker.DELETEALL)
        marker.header.stamp, marker.header.frame_id = stamp, CAMERA_OPTICAL_FRAME
        return [marker]
    line_colours = np.repeat(shape.line_colours, 2, axis=0)
    return [
        _marker(0, Marker.LINE_LIST, 0.005, shape.lines.reshape(-1, 3), line_colours, stamp),
        _marker(1, Marker.SPHERE_LIST, 0.008, shape.points, shape.point_colours, stamp),
        _marker(2, Marker.SPHERE_LIST, 0.014, shape.tips, shape.tip_colours, stamp),
    ]


def _marker(key: int, kind: int, size: float, points, colours, stamp) -> Marker:
    marker = Marker(ns=_NAMESPACE, id=key, type=kind, action=Marker.ADD)
    marker.header.stamp, marker.header.frame_id = stamp, CAMERA_OPTICAL_FRAME
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = size
    marker.lifetime.nanosec = int(_LIFETIME_S * 1e9)
    marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in points]
    marker.colors = [ColorRGBA(r=float(r), g=float(g), b=float(b), a=1.0) for r, g, b in colours]
    return marker


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(RvizNode, args)
