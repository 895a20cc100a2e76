"""Recording the whole line, killed or not, and running the bag through the graph again."""

import os
import signal
import time

import numpy as np
import pytest
from harness import running, sim
from rosbags.highlevel import AnyReader, AnyReaderError

from manip_bringup.graph import GRAPHS, replay
from manip_bringup.recorder import COMPRESSED_IMAGE
from manip_core import interfaces
from manip_core.interfaces import (
    CAMERA_INFO,
    OBSERVATION,
    TARGET,
)
from manip_ros.conversions import to_seconds

HEARD = (CAMERA_INFO, OBSERVATION, TARGET)


def recorded(folder) -> dict[str, list]:
    """Messages of HEARD in the bag as it is at this moment, by topic."""
    messages = {topic.name: [] for topic in HEARD}
    with AnyReader([folder]) as reader:
        for connection, _, raw in reader.messages():
            if connection.topic in messages:
                messages[connection.topic].append(reader.deserialize(raw, connection.msgtype))
    return messages


def least_recorded(folder) -> int:
    """Of which of HEARD the bag holds least; 0 before the recorder has begun one."""
    try:
        return min(map(len, recorded(folder).values()))
    except (AnyReaderError, FileNotFoundError):
        return 0


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A few seconds of the whole line, its recorder killed in mid-run; and what was heard."""
    from harness import Probe

    folder = tmp_path_factory.mktemp("bags") / "run"
    with running(sim(record=str(folder))) as supervisor:
        listener = Probe(*HEARD)
        try:
            listener.wait(lambda: listener.count(TARGET) > 120, timeout=90, what="targets")
            # The recorder finds topics when it does: a second and more of each lies in the file.
            listener.wait(lambda: least_recorded(folder) > 60, what="a bag of all topics")
            killed = time.time()
            os.kill(supervisor.pids()["recorder_node"], signal.SIGKILL)
            time.sleep(0.2)
        finally:
            listener.close()
    heard = {
        topic.name: [
            to_seconds(msg.header.stamp)
            for msg, arrived in zip(
                listener.received[topic.name], listener.arrived[topic.name], strict=False
            )
            if arrived < killed - 1.0
        ]
        for topic in HEARD
    }
    return folder, heard, killed


def test_a_killed_recorder_leaves_a_bag_that_is_whole_up_to_the_last_second(bag):
    folder, heard, killed = bag
    with AnyReader([folder]) as reader:
        topics = {c.topic for c in reader.connections}
        ended = reader.end_time * 1e-9
        types = {c.topic: c.msgtype for c in reader.connections}
    # Half a second between flushes; the rest is what a loaded machine may be late by.
    assert killed - ended < 1.5
    messages = recorded(folder)
    for name, stamps in heard.items():
        kept = np.array([to_seconds(m.header.stamp) for m in messages[name]])
        # The recorder may have joined later than who listened here; from then on it has all,
        # but for the few that either may miss while the machine is busy elsewhere.
        both = [stamp for stamp in stamps if stamp > kept[0] - 1e-6]
        assert len(both) > 10, name
        missing = np.abs(kept[:, None] - both).min(axis=0) > 1e-6
        assert missing.mean() < 0.05, name
    assert types[OBSERVATION.name] == "manip_msgs/msg/HandObservation"
    assert len(messages[TARGET.name][0].names) == 22
    ours = (*interfaces.TOPICS, *interfaces.OPTIONAL_TOPICS, COMPRESSED_IMAGE)
    assert topics <= {topic.name for topic in ours}


def test_a_bag_runs_through_the_graph_again(bag, probe):
    folder, heard, _ = bag
    graph = GRAPHS["sim"]
    nodes = replay(graph, graph.resolve({"viewer": "false"}), str(folder))
    listener = probe(OBSERVATION, TARGET)
    with running(nodes):
        listener.wait(lambda: listener.count(TARGET) > 30, timeout=90, what="targets")
        listener.wait(
            lambda: listener.count(OBSERVATION) > 0.5 * len(heard[OBSERVATION.name]),
            what="the bag's pictures",
        )
    assert sum(m.tracked for m in listener.received[OBSERVATION.name]) > 20
