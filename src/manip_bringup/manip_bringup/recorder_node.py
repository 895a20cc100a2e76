"""The recorder node: every topic of the suite into a bag that withstands a kill."""

import os
import time
from functools import partial

from rclpy.node import Node
from rclpy.qos import QoSProfile

from manip_bringup.cdr import read_text
from manip_bringup.episodes import EpisodeLog, Mark
from manip_bringup.recorder import Recorder, RecorderConfig, topics
from manip_core.interfaces import (
    EPISODE_MARK,
    Qos,
)
from manip_ros.diagnostics import Diagnostics
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.topics import message_type, qos

# Deep enough for what comes while another callback runs; pictures are large.
_DEPTH = {Qos.SENSOR: 30, Qos.RELIABLE: 1000, Qos.LATCHED: 100}
_REPORT_S = 1.0


class RecorderNode(Node):
    """Hands serialised messages to a :class:`Recorder` and reports on it."""

    def __init__(self):
        super().__init__("recorder_node")
        self.config = declare_config(self, RecorderConfig)
        self.recorder = Recorder(self.config, os.environ.get("ROS_DISTRO", "jazzy"))
        self._episodes = EpisodeLog()
        self._diagnostics = Diagnostics(self)
        for topic in topics(self.config.images):
            profile = qos(topic)
            deep = QoSProfile(
                depth=_DEPTH[topic.qos],
                reliability=profile.reliability,
                durability=profile.durability,
            )
            callback = partial(self._on_message, topic.name)
            self.create_subscription(message_type(topic), topic.name, callback, deep, raw=True)
        self.create_timer(_REPORT_S, self._report)
        self.get_logger().info(
            f"recording to {self.recorder.folder}, pictures {self.config.images}"
        )

    def close(self) -> None:
        """End the bag."""
        self.recorder.close()
        written = sum(self.recorder.written.values())
        dropped = sum(self.recorder.dropped.values())
        print(
            f"recorded {written} messages, {self.recorder.size / 1e6:.1f} MB, to "
            f"{self.recorder.folder}; {dropped} lost {self.recorder.problem}".rstrip(),
            flush=True,
        )

    def _on_message(self, name: str, data: bytes, info: dict) -> None:
        # When it reached this process: on a loaded machine it may have waited for this callback.
        stamp = info["received_timestamp"] or time.time_ns()
        self.recorder.put(name, stamp, data)
        if name == EPISODE_MARK.name:
            try:
                mark = Mark.parse(read_text(data))
                self.get_logger().info(self._episodes.add(mark, stamp * 1e-9))
            except ValueError as error:
                self._diagnostics.reject("mark", str(error))

    def _report(self) -> None:
        recorder, values = self.recorder, self._diagnostics.values
        self._diagnostics.problem(recorder.problem, error=True)
        values["bag"] = str(recorder.folder)
        values["size [MB]"] = recorder.size / 1e6
        values["messages"] = sum(recorder.written.values())
        values["lost"] = sum(recorder.dropped.values())
        values["episode"] = "none" if self._episodes.open is None else "open"
        values["episodes"] = ", ".join(f"{n} {o}" for o, n in self._episodes.counts().items())


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(RecorderNode, args)
