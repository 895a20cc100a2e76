"""The viewer node: feeds the operator page from the topics, and calls services for its buttons."""

import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from manip_msgs.msg import Contacts, HandMesh, HandObservation, SceneObjects, TeleopState
from manip_msgs.srv import Calibrate, SetMode
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from manip_bringup.viewer import Thing, Viewer, ViewerConfig
from manip_bringup.viewer_status import Teleop
from manip_core.hand import LEFT, RIGHT
from manip_core.interfaces import (
    CALIBRATE,
    HAND_MESH,
    IMAGE,
    JOINT_STATES,
    OBSERVATION,
    RESET_ROBOT,
    SCENE_CONTACTS,
    SCENE_OBJECTS,
    SET_MODE,
    SMOOTHED,
    TELEOP_STATE,
    TRUTH,
)
from manip_ros.conversions import hand_from_msg, image_from_msg
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.scene_conversions import contacts_from_msg, objects_from_msg, vertices_from_msg
from manip_ros.topics import client, subscription

# Pictures that wait for the hand seen in them, and how long after the last hand they are shown
# without one [s].
_WAITING, _WAIT_S = 20, 1.0
_WATCH_PERIOD_S = 0.5


class ViewerNode(Node):
    """Listens only while a browser is connected."""

    def __init__(self):
        super().__init__("viewer_node")
        self.config = declare_config(self, ViewerConfig)
        self._pressed: list[str] = []
        names = ("engage", "hold", "reset", "calibrate")
        # Buttons are pressed on the page's own threads; ROS is called from this node's.
        actions = {name: (lambda name=name: self._pressed.append(name)) for name in names}
        self.viewer = Viewer(self.config, actions)
        self._diagnostics = Diagnostics(self)
        self._set_mode = client(self, SET_MODE)
        self._calibrate = client(self, CALIBRATE)
        self._reset = client(self, RESET_ROBOT)
        self._subscriptions_while_watched = []
        self._pictures: OrderedDict[tuple[int, int], Image] = OrderedDict()
        self._picture_due = 0.0
        self._matched_at = -_WAIT_S
        subscription(self, TELEOP_STATE, self._on_state)
        self._refresh = None
        self.create_timer(_WATCH_PERIOD_S, self._watch)
        self.get_logger().info(f"operator page: http://{self.config.host}:{self.config.port}")

    def close(self) -> None:
        """Stop serving."""
        self.viewer.close()

    def _watch(self) -> None:
        """Start listening with the first browser, and stop after the last."""
        watched = self.viewer.watched
        self._diagnostics.values["browsers"] = len(self.viewer.server.get_clients())
        if watched == (self._refresh is not None):
            return
        if watched:
            self._refresh = self.create_timer(1.0 / self.config.rate, self._on_refresh)
            self._subscriptions_while_watched = [
                subscription(self, JOINT_STATES, self._on_joints),
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
        while self._pressed:
            self._act(self._pressed.pop(0))
        now = time.monotonic()
        self._show_old_pictures(now)
        self.viewer.refresh(now)

    def _on_state(self, msg: TeleopState) -> None:
        self.viewer.monitor.on_teleop(
            Teleop(
                engaged=msg.mode == TeleopState.ENGAGED,
                holding=msg.holding,
                reason=msg.reason,
                latency=msg.latency,
                received=time.monotonic(),
            )
        )

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

    def _act(self, name: str) -> None:
        if name == "calibrate":
            caller, request = self._calibrate, Calibrate.Request()
        elif name == "reset":
            caller, request = self._reset, Trigger.Request()
        else:
            mode = TeleopState.ENGAGED if name == "engage" else TeleopState.HOLD
            caller, request = self._set_mode, SetMode.Request(mode=mode)
        if not caller.service_is_ready():
            self.viewer.note(f"Nobody answers {caller.srv_name}", good=False)
            return
        caller.call_async(request).add_done_callback(self._on_answer)

    def _on_answer(self, future) -> None:
        answer = future.result()
        if answer is not None:
            fallback = "Done" if answer.success else "That did not work"
            self.viewer.note(answer.message or fallback, answer.success)


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(ViewerNode, args)
