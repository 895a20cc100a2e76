"""Recording the whole line, killed or not, and running the bag through the graph again."""

import os
import signal
import time

import pytest
from harness import running, sim
from rosbags.highlevel import AnyReader

from manip_bringup.graph import GRAPHS, replay
from manip_core import interfaces
from manip_core.interfaces import CAMERA_INFO, OBSERVATION, TARGET

# Discovery of one topic after the other takes so long on loaded cores.
START_SLACK_S = 1.0


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A few seconds of the whole line, its recorder killed in mid-run; and what was heard."""
    from harness import Probe

    folder = tmp_path_factory.mktemp("bags") / "run"
    with running(sim(record=str(folder))) as supervisor:
        listener = Probe(CAMERA_INFO, OBSERVATION, TARGET)
        try:
            listener.wait(lambda: listener.count(TARGET) > 120, timeout=90, what="targets")
            killed = time.time()
            os.kill(supervisor.pids()["recorder_node"], signal.SIGKILL)
            time.sleep(0.2)
        finally:
            listener.close()
    heard = {
        topic.name: [t for t in listener.arrived[topic.name] if t < killed]
        for topic in (CAMERA_INFO, OBSERVATION, TARGET)
    }
    return folder, heard, killed


def test_a_killed_recorder_leaves_a_bag_that_is_whole_up_to_the_last_second(bag):
    folder, heard, killed = bag
    with AnyReader([folder]) as reader:
        counts = {c.topic: c.msgcount for c in reader.connections}
        began, ended = reader.start_time * 1e-9, reader.end_time * 1e-9
        types = {c.topic: c.msgtype for c in reader.connections}
        messages = [
            reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages()
            if connection.topic == TARGET.name
        ]
    assert killed - ended < 1.0
    # Recorder and listener join when each is ready: what both heard begins with the later one.
    # A message may reach the one just before, the other just after that.
    for name, times in heard.items():
        both = [t for t in times if began + START_SLACK_S < t < killed - 1.0]
        assert counts[name] >= len(both) > 10, name
    assert types[OBSERVATION.name] == "manip_msgs/msg/HandObservation"
    assert len(messages[0].names) == 22
    recorded = set(counts) - {"/camera/image_raw/compressed"}
    assert recorded <= {topic.name for topic in interfaces.TOPICS}


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
