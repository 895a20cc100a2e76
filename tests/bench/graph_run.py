"""Runs the whole sim graph on a video and keeps what every stage made of every frame."""

import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from rclpy.serialization import deserialize_message

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/graph"))

from harness import Probe, running, sim  # noqa: E402

from manip_core import interfaces as topics  # noqa: E402
from manip_ros.conversions import to_seconds  # noqa: E402
from manip_ros.topics import message_type  # noqa: E402

HEARD = (
    topics.CAMERA_INFO,
    topics.OBSERVATION,
    topics.SMOOTHED,
    topics.TARGET,
    topics.ARM_COMMAND,
    topics.HAND_COMMAND,
    topics.JOINT_STATES,
    topics.TELEOP_STATE,
    topics.DIAGNOSTICS,
)


@dataclass
class Run:
    """What was heard, in order of arrival.

    Attributes:
        frames: ``(n,)`` exposure stamps of all published frames [s]; row i is frame i of the
            video, modulo its length.
        messages: Topic name to its messages.
        arrived: Topic name to ``(n,)`` arrival times [s].
        peak_mb: Largest proportional memory of all nodes together.
        cpu_cores: Mean processor use of all nodes, in cores.
    """

    frames: np.ndarray
    messages: dict[str, list]
    arrived: dict[str, np.ndarray]
    peak_mb: float
    cpu_cores: float

    def of(self, topic) -> list:
        """Messages of a topic."""
        return self.messages[topic.name]

    def by_frame(self, topic, first: int, last: int) -> dict[int, object]:
        """Frame number to the topic's message with that frame's stamp, first to last exclusive."""
        numbers = {round(stamp * 1e6): i for i, stamp in enumerate(self.frames)}
        found = {}
        for msg in self.of(topic):
            number = numbers.get(round(to_seconds(msg.header.stamp) * 1e6))
            if number is not None and first <= number < last:
                found.setdefault(number, msg)
        return found

    def commands(self) -> list[tuple[float, float, np.ndarray, np.ndarray]]:
        """First command made from each exposure: stamp, arrival, arm (6,), hand (16,) [rad]."""
        out, seen = [], set()
        arms = self.of(topics.ARM_COMMAND)
        hands = self.of(topics.HAND_COMMAND)
        times = self.arrived[topics.HAND_COMMAND.name]
        # The control node sends both at once, arm first; reliable topics keep their order.
        shift = len(arms) - len(hands)
        for i, hand in enumerate(hands):
            stamp = to_seconds(hand.header.stamp)
            if stamp in seen or not 0 <= i + shift < len(arms):
                continue
            seen.add(stamp)
            out.append((stamp, times[i], np.array(arms[i + shift].data), np.array(hand.position)))
        return out


def run(source: str, frames: int, *, loops: int = 2, **arguments) -> Run:
    """Run the graph until ``loops`` whole passes of a video of ``frames`` frames have gone by
    after the robot first followed.
    """
    listener = Probe(*HEARD, raw=True)
    nodes = sim(source=source, viewer="true", port="8099", **arguments)
    memory = _Memory()
    with running(nodes) as supervisor:
        memory.watch(supervisor.pids)
        listener.wait(lambda: listener.count(topics.TARGET) > 0, what="the first target")
        begun = listener.count(topics.CAMERA_INFO)
        # Whole passes, from the next start of the video on, and a few frames to spare.
        end = (begun // frames + 1 + loops) * frames + 30
        listener.wait(
            lambda: listener.count(topics.CAMERA_INFO) >= end, timeout=600, what="the video"
        )
        time.sleep(0.5)
        memory.stop()
    listener.close()
    messages = {
        topic.name: [
            deserialize_message(raw, message_type(topic)) for raw in listener.received[topic.name]
        ]
        for topic in HEARD
    }
    stamps = np.array([to_seconds(m.header.stamp) for m in messages[topics.CAMERA_INFO.name]])
    missed = missed_at_start(stamps, messages[topics.DIAGNOSTICS.name])
    return Run(
        # Frames before discovery was through have no stamp here, but keep their number.
        frames=np.concatenate((np.full(missed, -1.0), stamps)),
        messages=messages,
        arrived={name: np.array(times) for name, times in listener.arrived.items()},
        peak_mb=memory.peak_mb,
        cpu_cores=memory.cpu_cores,
    )


def missed_at_start(stamps: np.ndarray, diagnostics: list) -> int:
    """Frames that the camera node says it has sent, less those that were heard until then."""
    missed = [
        int(value.value) - np.count_nonzero(stamps < to_seconds(msg.header.stamp))
        for msg in diagnostics
        for status in msg.status
        if status.name == "camera_node"
        for value in status.values
        if value.key == "frames"
    ]
    # A frame may be sent while the count is: the median is right about the others.
    return max(0, round(float(np.median(missed))))


def passes(run_: Run, frames: int) -> tuple[int, int]:
    """First and last (exclusive) frame of the whole passes in which the robot followed."""
    numbers = run_.by_frame(topics.TARGET, 0, len(run_.frames))
    first = (min(numbers) // frames + 1) * frames
    return first, (len(run_.frames) // frames) * frames


class _Memory:
    """Proportional set size of the nodes, sampled: shared pages are counted once."""

    def __init__(self):
        self.peak_mb = 0.0
        self.cpu_cores = 0.0
        self._stop = threading.Event()

    def watch(self, pids) -> None:
        self._thread = threading.Thread(target=self._run, args=(pids,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self, pids) -> None:
        before, began = None, time.monotonic()
        while not self._stop.wait(2.0):
            total, cpu = 0.0, 0.0
            for pid in pids().values():
                try:
                    process = psutil.Process(pid)
                    total += process.memory_full_info().pss
                    cpu += sum(process.cpu_times()[:2])
                except psutil.NoSuchProcess:
                    continue
            self.peak_mb = max(self.peak_mb, total / 1e6)
            if before is None and time.monotonic() - began > 10.0:
                before = (time.monotonic(), cpu)
            elif before is not None:
                self.cpu_cores = (cpu - before[1]) / (time.monotonic() - before[0])
