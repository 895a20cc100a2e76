"""The replay node: takes the camera node's place and plays a bag with fresh stamps."""

import threading
import time

from rclpy.node import Node

from manip_bringup.replay import Playback, ReplayConfig
from manip_core.interfaces import CAMERA_INFO, IMAGE, OBSERVATION
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.topics import publisher

# Between the last message of a round and the first of the next, which is one camera period.
_ROUND_PAUSE_S = 1 / 30


class ReplayNode(Node):
    """Publishes what a :class:`Playback` holds, at the recorded pace."""

    def __init__(self):
        super().__init__("replay_node")
        self.config = declare_config(self, ReplayConfig)
        self._playback = Playback(self.config.bag)
        wanted = (
            (OBSERVATION,) if OBSERVATION.name in self._playback.topics else (IMAGE, CAMERA_INFO)
        )
        self._outputs = {topic.name: publisher(self, topic) for topic in wanted}
        self._diagnostics = Diagnostics(self)
        self._stop = threading.Event()
        self.get_logger().info(f"replaying {', '.join(self._playback.topics)} of {self.config.bag}")
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        start = time.time()
        while not self._stop.is_set():
            start = self._play(start) + _ROUND_PAUSE_S
            if not self.config.loop:
                self._diagnostics.problem("the bag has ended")
                return

    def _play(self, start: float) -> float:
        """Play one round from ``start``; returns when its last message was due."""
        due = start
        for item in self._playback:
            due = start + item.offset / self.config.rate
            if self._stop.wait(max(due - time.time(), 0.0)):
                break
            late = time.time() - due
            if late > 0.5:
                # Slip rather than send a burst of old pictures.
                start, due = start + late, due + late
                self._diagnostics.counters["slips"] += 1
            try:
                self._outputs[item.target].publish(item.message(due))
            except ValueError as error:
                self._diagnostics.reject("picture", str(error))
            except Exception:
                # The context may be gone between the check and the call.
                if self._stop.is_set() or not self.context.ok():
                    self._stop.set()
                    return due
                raise
            self._diagnostics.counters["messages"] += 1
        return due


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(ReplayNode, args)
