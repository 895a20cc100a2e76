"""How evenly commands are sent while the whole graph runs on a video: ``jitter_ms_p99``.

``python tests/bench/bench_jitter.py [rate] [realtime priority]``
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/graph"), str(Path(__file__).parent)]
os.environ.setdefault("ROS_DOMAIN_ID", "78")

from dataclasses import replace  # noqa: E402

from harness import Probe, running, sim  # noqa: E402

from manip_core import interfaces as topics  # noqa: E402

DATA = Path(os.environ.get("MANIP_DATA", ROOT / ".." / "shared" / "data"))
VIDEO = DATA / "real_video" / "hand_720p_30fps.mp4"
SETTLE_S, MEASURE_S = 8.0, 25.0


def measure_jitter(rate: float = 125.0, priority: float = 10) -> dict[str, float]:
    """Deviation of the command period under the full graph, operator page included.

    ``jitter_ms_p99`` is what the control loop itself measures: 99th percentile over its last 2000
    periods of how far the time between two wakings was from the period. ``command_gap_ms_p99`` is
    the same of the commands as another process receives them.
    """
    source = str(VIDEO) if VIDEO.exists() else "demo"
    timing = {"rate": rate, "hand_rate": rate, "realtime_priority": int(priority)}
    nodes = [
        replace(node, parameters=node.parameters | timing)
        if node.executable == "control_node"
        else node
        for node in sim(source=source, viewer="true", port="8098")
    ]
    probe = Probe(topics.ARM_COMMAND, topics.DIAGNOSTICS, topics.TARGET)
    with running(nodes):
        probe.wait(lambda: probe.count(topics.TARGET) > 10, 120, "targets")
        time.sleep(SETTLE_S)
        began = probe.count(topics.ARM_COMMAND)
        time.sleep(MEASURE_S)
    probe.close()
    said = {}
    for msg in probe.received[topics.DIAGNOSTICS.name]:
        for status in msg.status:
            if status.name == "control_node":
                said |= {value.key: value.value for value in status.values}
    gaps = np.diff(probe.arrived[topics.ARM_COMMAND.name][began:])
    return {
        "jitter_ms_p99": float(said["jitter p99 [ms]"]),
        "jitter_periods_left_out": float(said["periods left out"]),
        "command_gap_ms_p99": 1e3 * float(np.percentile(np.abs(gaps - 1.0 / rate), 99)),
        "control_share_ms": float(said.get("share of control [ms]", "nan")),
    }


if __name__ == "__main__":
    print(json.dumps(measure_jitter(*map(float, sys.argv[1:])), indent=1))
