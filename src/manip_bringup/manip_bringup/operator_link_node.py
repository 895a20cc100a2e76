"""The page's buttons as ROS calls: clutch, emergency stop, signs of life, episodes."""

import threading
import time
from collections.abc import Callable

from manip_msgs.msg import TeleopState
from manip_msgs.srv import Calibrate, SetMode
from rclpy.node import Node
from std_msgs.msg import Bool, Empty, String
from std_srvs.srv import Trigger

from manip_bringup.bench_socket import BenchSocket
from manip_bringup.bench_state import bench_state, for_page
from manip_bringup.episodes import MARKS, Mark
from manip_bringup.operator_desk import BEAT, OperatorDesk, Wish
from manip_bringup.viewer_status import Monitor
from manip_core import interfaces as topics
from manip_core.interfaces import EPISODE_MARK
from manip_ros.topics import client, publisher, subscription

_TICK_S = 0.1
# So often every page is told the state even where nothing has changed, so that it can tell a dead
# line from a calm one [s].
_ANYWAY_S = 0.5
_SAID = {
    "stop": "Stopping …",
    "engage": "Engaging …",
    "release": "Releasing …",
    "reset_stop": "Resetting the emergency stop …",
    "recover": "Recovering the arm …",
    "reset": "Resetting the robot …",
    "calibrate": "Hold your open hand before the camera, fingers straight …",
}
_REQUESTS: dict[str, tuple[topics.Service, Callable[[], object]]] = {
    "stop": (topics.EMERGENCY_STOP, Trigger.Request),
    "engage": (topics.SET_MODE, lambda: SetMode.Request(mode=TeleopState.ENGAGED)),
    "release": (topics.SET_MODE, lambda: SetMode.Request(mode=TeleopState.HOLD)),
    "reset_stop": (topics.RESET_STOP, Trigger.Request),
    "recover": (topics.RECOVER, Trigger.Request),
    "reset": (topics.RESET_ROBOT, Trigger.Request),
    "calibrate": (topics.CALIBRATE, Calibrate.Request),
}


class OperatorLink:
    """Does what the pages ask for, and tells them how things are.

    Pages speak on the server's thread, ROS answers on the node's. A press wakes the node at once;
    the emergency stop does not even wait for that.

    Attributes:
        socket: Serves the pages' connections.
    """

    def __init__(self, node: Node, monitor: Monitor):
        """``monitor`` keeps what the pages are told."""
        self.socket = BenchSocket(self)
        self._monitor = monitor
        self._desk = OperatorDesk()
        self._lock = threading.Lock()
        self._wishes: list[Wish] = []
        self._later: list[Wish] = []
        self._sent: dict | None = None
        self._sent_at = 0.0
        self._stop = publisher(node, topics.STOP)
        self._heartbeat = publisher(node, topics.HEARTBEAT)
        self._mark = publisher(node, EPISODE_MARK)
        self._clients = {service.name: client(node, service) for service, _ in _REQUESTS.values()}
        subscription(node, EPISODE_MARK, self._on_mark)
        self._wake = node.create_guard_condition(self._obey)
        node.create_timer(_TICK_S, self._tick)

    @property
    def refused(self) -> int:
        """Messages of pages that said nothing known."""
        return self._desk.refused

    @property
    def pages(self) -> int:
        """How many pages are open."""
        return self._desk.pages

    def press(self, name: str) -> None:
        """A button of the panel was pressed; from any thread."""
        self._want([Wish(name)])

    def opened(self, page: int) -> None:
        """A page has come."""
        with self._lock:
            self._desk.opened(page, time.monotonic())

    def said(self, page: int, message: object) -> None:
        """A page says something."""
        with self._lock:
            wishes = self._desk.hear(page, message, time.monotonic())
        if any(wish.name == "stop" for wish in wishes):
            self._stop.publish(Bool(data=True))
            self._monitor.on_stop_pressed(time.monotonic())
        self._want(wishes)

    def closed(self, page: int) -> None:
        """A page has gone."""
        with self._lock:
            wishes = self._desk.closed(page, time.monotonic())
        self._want(wishes)

    def _want(self, wishes: list[Wish]) -> None:
        if wishes:
            with self._lock:
                self._wishes += wishes
            self._wake.trigger()

    def _on_mark(self, msg) -> None:
        self._monitor.on_mark(msg.data, time.monotonic())

    def _obey(self) -> None:
        with self._lock:
            wishes, self._wishes = self._wishes, []
        for wish in wishes:
            self._do(wish)

    def _do(self, wish: Wish) -> None:
        now = time.monotonic()
        if wish.name == BEAT:
            self._heartbeat.publish(Empty())
            return
        if wish.name in MARKS:
            self._mark.publish(String(data=str(Mark(wish.name, wish.text.strip()))))
            return
        self._monitor.note(_SAID[wish.name], now)
        service, request = _REQUESTS[wish.name]
        caller = self._clients[service.name]
        if not caller.service_is_ready():
            if wish.name == "release":
                # Never lost: asked again until somebody is there to hear it. Not so an engagement,
                # which would surprise whoever pressed long ago.
                self._later.append(wish)
            self._monitor.note(f"nobody answers {service.name}", now, good=False)
            return
        caller.call_async(request()).add_done_callback(self._on_answer)

    def _on_answer(self, future) -> None:
        answer = future.result()
        if answer is not None:
            fallback = "Done" if answer.success else "That did not work"
            self._monitor.note(answer.message or fallback, time.monotonic(), answer.success)

    def _tick(self) -> None:
        now = time.monotonic()
        with self._lock:
            self._wishes = [*self._later, *self._wishes, *self._desk.tick(now)]
        self._later = []
        self._obey()
        if self._monitor.stop_unconfirmed(now):
            # Lost, or nobody was there to hear it: said again until somebody confirms it.
            self._stop.publish(Bool(data=True))
        self._monitor.reaches = self._clients[topics.SET_MODE.name].service_is_ready()
        with self._lock:
            state = bench_state(self._monitor, self._desk, now)
        if state != self._sent or now - self._sent_at >= _ANYWAY_S:
            self._sent, self._sent_at = state, now
            self.socket.push(lambda page: for_page(state, page))
