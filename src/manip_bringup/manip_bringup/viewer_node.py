"""The viewer node: feeds the operator page from the topics; its buttons are the operator link's."""

import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from urllib.parse import quote

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from manip_msgs.msg import (
    Contacts,
    HandMesh,
    HandObservation,
    JointTarget,
    SceneObjects,
    TeleopState,
)
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState

from manip_bringup.operator_link_node import OperatorLink
from manip_bringup.page_token import is_loopback
from manip_bringup.viewer import Thing, Viewer, ViewerConfig
from manip_bringup.viewer_status import Monitor, News, Teleop
from manip_core.hand import LEFT, RIGHT
from manip_core.interfaces import (
    DIAGNOSTICS,
    HAND_MESH,
    IMAGE,
    JOINT_STATES,
    OBSERVATION,
    SCENE_CONTACTS,
    SCENE_OBJECTS,
    SMOOTHED,
    TARGET,
    TELEOP_STATE,
    TRUTH,
)
from manip_ros.conversions import hand_from_msg, image_from_msg
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.scene_conversions import contacts_from_msg, objects_from_msg, vertices_from_msg
from manip_ros.topics import subscription

# Pictures that wait for the hand seen in them, and how long after the last hand they are shown
# without one [s].
_WAITING, _WAIT_S = 20, 1.0
_WATCH_PERIOD_S = 0.5


class ViewerNode(Node):
    """Takes pictures, hands and joints only while a browser is connected."""

    def __init__(self):
        super().__init__("viewer_node")
        self.config = declare_config(self, ViewerConfig)
        monitor = Monitor()
        monitor.listens = False
        self.link = OperatorLink(self, monitor)
        bench = self.link.socket.handle
        self.viewer = Viewer(self.config, monitor, bench, self.link.press)
        self._diagnostics = Diagnostics(self)
        self._subscriptions_while_watched = []
        self._pictures: OrderedDict[tuple[int, int], Image] = OrderedDict()
        self._picture_due = 0.0
        self._matched_at = -_WAIT_S
        subscription(self, TELEOP_STATE, self._on_state)
        subscription(self, DIAGNOSTICS, self._on_diagnostics)
        self._refresh = None
        self.create_timer(_WATCH_PERIOD_S, self._watch)
        self._say_where()

    def close(self) -> None:
        """Stop serving."""
        self.viewer.close()

    def _say_where(self) -> None:
        config, token = self.config, self.viewer.token
        if not token:
            self.get_logger().info(f"operator page: http://{config.host}:{config.port}")
            return
        name = config.host if is_loopback(config.host) else _own_address(config.host)
        # Printed, not logged: whatever is logged goes to everybody on /rosout.
        print(f"operator page: http://{name}:{config.port}/?token={quote(token)}", flush=True)

    def _watch(self) -> None:
        """Start listening with the first browser, and stop after the last."""
        watched = self.viewer.watched or self.link.pages > 0
        self._diagnostics.values["browsers"] = len(self.viewer.server.get_clients())
        self._diagnostics.counters["rejected: page"] = self.link.refused
        if watched == (self._refresh is not None):
            return
        monitor = self.viewer.monitor
        monitor.listens = watched
        if watched:
            # From now on it has a second to be heard.
            monitor.on_robot(time.monotonic())
            self._refresh = self.create_timer(1.0 / self.config.rate, self._on_refresh)
            self._subscriptions_while_watched = [
                subscription(self, JOINT_STATES, self._on_joints),
                subscription(self, TARGET, self._on_target),
                subscription(self, SCENE_OBJECTS, self._on_objects),
                subscription(self, SCENE_CONTACTS, self._on_contacts),
                subscription(self, HAND_MESH, self._on_mesh),
                subscription(self, TRUTH, self._on_truth),
                subscription(self, SMOOTHED, self._on_hand),
                subscription(self, OBSERVATION, self._on_observation),
                subscription(self, IMAGE, self._on_image),
            ]
            return
        for item in self._subscriptions_while_watched:
            self.destroy_subscription(item)
        self.destroy_timer(self._refresh)
        self._subscriptions_while_watched, self._refresh = [], None
        self._pictures.clear()

    def _on_refresh(self) -> None:
        now = time.monotonic()
        self._show_old_pictures(now)
        self.viewer.refresh(now)

    def _on_state(self, msg: TeleopState) -> None:
        self.viewer.monitor.on_teleop(
            Teleop(
                engaged=msg.mode == TeleopState.ENGAGED,
                received=time.monotonic(),
                holding=msg.holding,
                reason=msg.reason,
                stopped=msg.stopped,
                speed=msg.speed,
                robot_ready=msg.robot_ready,
                robot=msg.robot,
                warnings=tuple(msg.warnings),
                latency=msg.latency,
            )
        )

    def _on_diagnostics(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            fine = status.level == DiagnosticStatus.OK
            values = {item.key: item.value for item in status.values}
            news = News("" if fine else status.message, values, time.monotonic())
            self.viewer.monitor.on_news(status.name, news)

    def _on_target(self, msg: JointTarget) -> None:
        self.viewer.target.set_target(msg.names, msg.positions, time.monotonic())

    def _on_joints(self, msg: JointState) -> None:
        self.viewer.set_joints(msg.name, msg.position, time.monotonic())

    def _on_objects(self, msg: SceneObjects) -> None:
        if msg.source == SceneObjects.SEEN:
            self._see(
                "objects", lambda now: self.viewer.seen.set_objects(objects_from_msg(msg), now)
            )
            return
        things = []
        for item in msg.objects:
            p, q, s = item.pose.position, item.pose.orientation, item.size
            position, quaternion = np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w])
            things.append(Thing(item.name, position, quaternion, np.array([s.x, s.y, s.z])))
        self.viewer.set_things(things)

    def _on_contacts(self, msg: Contacts) -> None:
        self._see(
            "contacts", lambda now: self.viewer.seen.set_contacts(contacts_from_msg(msg), now)
        )

    def _on_mesh(self, msg: HandMesh) -> None:
        side = RIGHT if msg.handedness == HandMesh.RIGHT else LEFT
        self._see(
            "mesh", lambda now: self.viewer.seen.set_surface(vertices_from_msg(msg), side, now)
        )

    def _see(self, kind: str, take: Callable[[float], None]) -> None:
        try:
            take(time.monotonic())
        except ValueError as error:
            self._diagnostics.reject(kind, str(error))

    def _on_hand(self, msg: HandObservation) -> None:
        try:
            self.viewer.set_hand(hand_from_msg(msg), time.monotonic())
        except ValueError as error:
            self._diagnostics.reject("hand", str(error))

    def _on_truth(self, msg: HandObservation) -> None:
        self.viewer.monitor.on_truth(hand_from_msg(msg))

    def _on_image(self, msg: Image) -> None:
        stamp = msg.header.stamp
        self._pictures[stamp.sec, stamp.nanosec] = msg
        while len(self._pictures) > _WAITING:
            self._pictures.popitem(last=False)

    def _on_observation(self, msg: HandObservation) -> None:
        """Show the very picture that this hand was seen in."""
        stamp = msg.header.stamp
        picture = self._pictures.pop((stamp.sec, stamp.nanosec), None)
        if picture is None:
            return
        self._matched_at = now = time.monotonic()
        if now < self._picture_due:
            return
        try:
            self._show(picture, hand_from_msg(msg))
        except ValueError as error:
            self._diagnostics.reject("hand", str(error))

    def _show_old_pictures(self, now: float) -> None:
        """Show pictures that no hand has come for, as they are."""
        if self._pictures and now - self._matched_at > _WAIT_S and now >= self._picture_due:
            _, msg = self._pictures.popitem(last=True)
            self._pictures.clear()
            self._show(msg, None)

    def _show(self, msg: Image, hand) -> None:
        self._picture_due = time.monotonic() + 0.9 / self.config.picture_rate
        try:
            self.viewer.set_picture(image_from_msg(msg), hand)
        except ValueError as error:
            self._diagnostics.reject("picture", str(error))


def _own_address(host: str) -> str:
    """What others call this machine by; ``host`` itself where that is one address of it."""
    if host not in ("0.0.0.0", "::"):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing: only asks which way a packet to elsewhere would leave (RFC 5737).
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(ViewerNode, args)
