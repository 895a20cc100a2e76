"""The RViz node: robot_description, /tf and /tf_static; hand, objects and contacts as markers.

It does robot_state_publisher's work from the same robot model as everything else, so that nothing
but this suite is needed; `ros2 run` of the original beside it would publish the same frames.
"""

import shutil
import subprocess
import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import Point, TransformStamped
from manip_msgs.msg import Contacts, HandMesh, SceneObjects
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import ColorRGBA, Header, String
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from manip_bringup.contact_drawing import drawn_contacts
from manip_bringup.hand_mesh import hand_faces
from manip_bringup.robot_frames import HandShape, RobotFrames, Transform, hand_shape
from manip_core import resources
from manip_core.hand import LEFT, RIGHT, SeenContact
from manip_core.interfaces import (
    HAND_MARKERS,
    HAND_MESH,
    JOINT_STATES,
    ROBOT_DESCRIPTION,
    SCENE_CONTACTS,
    SCENE_OBJECTS,
    SMOOTHED,
    TF,
    TF_STATIC,
)
from manip_core.robot_model import check_side, load_urdf
from manip_ros.conversions import hand_from_msg
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare
from manip_ros.scene_conversions import contacts_from_msg, vertices_from_msg
from manip_ros.topics import publisher, subscription

# Frames are sent at most this often; the joints come more than 100 times a second.
_TF_PERIOD_S = 1 / 50
# RViz forgets a hand that is not seen any more after this time [s].
_LIFETIME_S = 0.5
_HAND, _SURFACE, _CONTACTS = "hand", "surface", "contacts"
_OBJECTS = {SceneObjects.KNOWN: "objects", SceneObjects.SEEN: "seen_objects"}
_SKIN, _OBJECT, _TEXT = (0.66, 0.77, 0.91, 0.6), (0.67, 0.47, 0.78, 0.35), (0.92, 0.93, 0.96, 1.0)
# Length of an object's axes [m].
_AXIS = 0.05


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
        subscription(self, HAND_MESH, self._on_mesh)
        subscription(self, SCENE_OBJECTS, self._on_objects)
        subscription(self, SCENE_CONTACTS, self._on_contacts)
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
        self._publish("hand", lambda: _hand_markers(hand_shape(hand_from_msg(msg)), msg.header))

    def _on_mesh(self, msg: HandMesh) -> None:
        side = RIGHT if msg.handedness == HandMesh.RIGHT else LEFT
        self._publish("mesh", lambda: _surface_markers(vertices_from_msg(msg), side, msg.header))

    def _on_objects(self, msg: SceneObjects) -> None:
        self._publish("objects", lambda: _object_markers(msg))

    def _on_contacts(self, msg: Contacts) -> None:
        self._publish("contacts", lambda: _contact_markers(contacts_from_msg(msg), msg.header))

    def _publish(self, kind: str, make: Callable[[], list[Marker]]) -> None:
        if not self._markers.get_subscription_count():
            return
        try:
            markers = make()
        except ValueError as error:
            self._diagnostics.reject(kind, str(error))
            return
        if markers:
            self._markers.publish(MarkerArray(markers=markers))


def _transform(transform: Transform, stamp) -> TransformStamped:
    msg = TransformStamped(child_frame_id=transform.child)
    msg.header.stamp, msg.header.frame_id = stamp, transform.parent
    t, r = msg.transform.translation, msg.transform.rotation
    t.x, t.y, t.z = map(float, transform.translation)
    r.x, r.y, r.z, r.w = map(float, transform.quaternion)
    return msg


def _hand_markers(shape: HandShape | None, header: Header) -> list[Marker]:
    if shape is None:
        return [Marker(header=header, ns=_HAND, action=Marker.DELETEALL)]
    line_colours = np.repeat(shape.line_colours, 2, axis=0)
    lines = shape.lines.reshape(-1, 3)
    return [
        _list(header, _HAND, 0, Marker.LINE_LIST, 0.005, lines, line_colours),
        _list(header, _HAND, 1, Marker.SPHERE_LIST, 0.008, shape.points, shape.point_colours),
        _list(header, _HAND, 2, Marker.SPHERE_LIST, 0.014, shape.tips, shape.tip_colours),
    ]


def _surface_markers(vertices: np.ndarray | None, side: str, header: Header) -> list[Marker]:
    if vertices is None:
        return []
    marker = _marker(header, _SURFACE, 0, Marker.TRIANGLE_LIST, (1.0, 1.0, 1.0), _SKIN)
    # One object a vertex, shared by its triangles, is three times as fast as one a corner.
    points = _points(vertices)
    marker.points = [points[row] for row in hand_faces(side).ravel().tolist()]
    return [marker]


def _object_markers(msg: SceneObjects) -> list[Marker]:
    space = _OBJECTS.get(msg.source)
    if space is None:
        raise ValueError(f"source of objects must be among {list(_OBJECTS)}, got {msg.source}")
    markers = []
    axes = np.zeros((6, 3))
    axes[1::2] = _AXIS * np.eye(3)
    colours = np.repeat(np.eye(3), 2, axis=0)
    for index, item in enumerate(msg.objects):
        key, size = 3 * index, (item.size.x, item.size.y, item.size.z)
        made = [
            _list(msg.header, space, key, Marker.LINE_LIST, 0.003, axes, colours),
            _marker(msg.header, space, key + 1, Marker.TEXT_VIEW_FACING, (0.0, 0.0, 0.02), _TEXT),
        ]
        made[1].text = item.name
        if min(size) > 0:
            made.append(_marker(msg.header, space, key + 2, Marker.CUBE, size, _OBJECT))
        for marker in made:
            marker.pose = item.pose
        markers += made
    return markers


def _contact_markers(contacts: tuple[SeenContact, ...], header: Header) -> list[Marker]:
    points, ends, colours = drawn_contacts(contacts)
    if not len(points):
        return []
    colours = colours / 255.0
    forces = np.stack((points, ends), axis=1).reshape(-1, 3)
    return [
        _list(header, _CONTACTS, 0, Marker.SPHERE_LIST, 0.008, points, colours),
        _list(header, _CONTACTS, 1, Marker.LINE_LIST, 0.003, forces, np.repeat(colours, 2, axis=0)),
    ]


def _list(header: Header, space: str, key: int, kind: int, size: float, points, colours) -> Marker:
    """A marker of many points, each with a colour ``(3,)``, 0 to 1."""
    marker = _marker(header, space, key, kind, (size, size, size), (0.0, 0.0, 0.0, 0.0))
    marker.points = _points(points)
    marker.colors = [ColorRGBA(r=float(r), g=float(g), b=float(b), a=1.0) for r, g, b in colours]
    return marker


def _marker(header: Header, space: str, key: int, kind: int, scale, colour) -> Marker:
    marker = Marker(header=header, ns=space, id=key, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x, marker.scale.y, marker.scale.z = scale
    marker.color.r, marker.color.g, marker.color.b, marker.color.a = colour
    marker.lifetime.nanosec = int(_LIFETIME_S * 1e9)
    return marker


def _points(points: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in points.tolist()]


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(RvizNode, args)
