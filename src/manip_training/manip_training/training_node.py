"""The training node: starts a training run on request and publishes how it goes."""

import time
from dataclasses import dataclass
from pathlib import Path

from rclpy.node import Node

from manip_core.interfaces import CANCEL_TRAINING, START_TRAINING, TRAINING_STATE
from manip_ros.main import run
from manip_ros.parameters import declare_config
from manip_ros.topics import message_type, publisher, service
from manip_training.job import Status, TrainingJob


@dataclass(frozen=True, kw_only=True)
class TrainingNodeConfig:
    """Parameters of the node.

    Attributes:
        runs: Folder in which runs started without a name get theirs.
        period: Seconds between two looks at the run folder.
    """

    runs: str = "runs"
    period: float = 0.5

    def __post_init__(self):
        if not self.period > 0:
            raise ValueError(f"period must be more than 0 s, got {self.period}")


class TrainingNode(Node):
    """Runs ``manip train`` as a child: the graph's own work never waits for it."""

    def __init__(self):
        super().__init__("training_node")
        self._config = declare_config(self, TrainingNodeConfig)
        self._job = TrainingJob()
        self._states = publisher(self, TRAINING_STATE)
        self._sent = None
        service(self, START_TRAINING, self._on_start)
        service(self, CANCEL_TRAINING, self._on_cancel)
        self.create_timer(self._config.period, self._look)
        self._look()

    def close(self) -> None:
        """End the run, which saves what it has."""
        self._job.close()

    def _on_start(self, request, response):
        name = request.name or time.strftime("train-%Y-%m-%d-%H%M%S")
        folder = Path(self._config.runs).expanduser() / name
        try:
            self._job.start(folder.resolve(), list(request.overrides))
        except (RuntimeError, OSError) as error:
            response.success, response.message = False, str(error)
        else:
            response.success, response.run = True, str(folder.resolve())
            self.get_logger().info(f"training in {folder}: {' '.join(request.overrides)}")
        self._look()
        return response

    def _on_cancel(self, _request, response):
        response.success = self._job.cancel(time.monotonic())
        response.message = "" if response.success else "no run is under way"
        self._look()
        return response

    def _look(self) -> None:
        state = self._job.poll(time.monotonic())
        now = (state.status, state.step, tuple(state.metrics.items()))
        if now == self._sent:
            return
        if state.status is Status.FAILED:
            self.get_logger().error(f"training failed: {state.message.splitlines()[-1]}")
        self._sent = now
        msg = message_type(TRAINING_STATE)()
        msg.header.stamp = self.get_clock().now().to_msg()
        msg.status = state.status.value
        msg.run = state.run
        msg.step, msg.steps = state.step, state.steps
        msg.progress = min(1.0, state.step / state.steps) if state.steps else 0.0
        msg.metric_names = list(state.metrics)
        msg.metric_values = list(state.metrics.values())
        msg.message = state.message
        self._states.publish(msg)


def main(args: list[str] | None = None) -> None:
    """Entry point."""
    run(TrainingNode, args)
