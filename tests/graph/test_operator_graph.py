"""The operator page as a real node: buttons reach the safety core, and closing it releases."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from harness import only, running, sim
from manip_msgs.msg import JointTarget, TeleopState
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from manip_bringup.page_server import BENCH_PATH
from manip_core.interfaces import (
    EPISODE_MARK,
    HEARTBEAT,
    STOP,
    TARGET,
    TELEOP_STATE,
)
from manip_core.robot_model import JOINT_NAMES, home
from manip_ros.conversions import to_stamp

NODES = ("mujoco_robot_node", "control_node", "viewer_node")


class BenchPage:
    """What a browser does on the page's own line: signs of life, presses, and reading the state."""

    def __init__(self, port):
        self._socket = connect(f"ws://127.0.0.1:{port}{BENCH_PATH}")
        self.state = {}
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._beat, self._read)]
        for thread in self._threads:
            thread.start()

    def _beat(self):
        while not self._closed.wait(0.2):
            self.send(beat=True)

    def _read(self):
        try:
            for text in self._socket:
                self.state = json.loads(text)
        except ConnectionClosed:
            pass

    def send(self, **message):
        self._socket.send(json.dumps(message))

    def close(self):
        self._closed.set()
        self._threads[0].join()
        self._socket.close()
        self._threads[1].join()


@pytest.fixture
def bench(probe):
    """Robot, control and page, engaged by nobody; a probe, and what opens a page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = only(sim(viewer="true", engage="false", port=str(port)), *NODES)
    opened = []
    with running(nodes):
        listener = probe(TELEOP_STATE, HEARTBEAT, STOP, EPISODE_MARK)

        def page():
            def answers():
                try:
                    opened.append(BenchPage(port))
                except OSError:
                    return False
                return True

            listener.wait(answers, what="the page")
            return opened[-1]

        listener.wait(lambda: ready(listener), what="a robot that is ready")
        yield listener, page, port
        for one in opened:
            one.close()


@contextmanager
def targets(probe):
    """A hand that rests at the robot's home: without targets the clutch is released anyway."""
    ended, out = threading.Event(), probe.publisher(TARGET)

    def publish():
        while not ended.wait(1 / 30):
            msg = JointTarget(names=list(JOINT_NAMES), positions=home("right").tolist())
            msg.header.stamp = to_stamp(time.time() - 0.01)
            msg.confidence = 1.0
            out.publish(msg)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def ready(probe):
    state = probe.last(TELEOP_STATE)
    return state is not None and state.reason == "ready to engage"


def mode(probe):
    return probe.last(TELEOP_STATE).mode


def engage(probe, page, *, hold=False):
    """Press, or hold down, as soon as the page offers it, and again where it says why not.

    A loaded machine may well be without fresh joint states at the moment of a press.
    """

    def done():
        return mode(probe) == TeleopState.ENGAGED

    def refused():
        return page.state["note"].startswith("Cannot engage")

    probe.wait(lambda: page.state.get("reaches"), what="a page that reaches the control node")
    for _ in range(5):
        probe.wait(lambda: not refused(), what="an end to what was refused before")
        page.send(**({"hold": True} if hold else {"press": "engage"}))
        probe.wait(lambda: done() or refused(), what="an answer to a press")
        if done():
            return
        if hold:
            page.send(hold=False)
    raise AssertionError(f"five presses did not engage: {page.state}")


def test_clutch_stop_and_marks(bench):
    probe, open_page, _ = bench
    with targets(probe):
        check_buttons(probe, open_page())


def check_buttons(probe, page):
    probe.wait(lambda: probe.count(HEARTBEAT) > 3, what="signs of life")
    engage(probe, page)
    probe.wait(lambda: page.state["engaged"] and page.state["driver"] == "you", what="the state")
    page.send(press="release")
    probe.wait(lambda: mode(probe) == TeleopState.HOLD, what="release")
    engage(probe, page, hold=True)
    page.send(hold=False)
    probe.wait(lambda: mode(probe) == TeleopState.HOLD, what="release")

    page.send(press="start", text="cube into bowl")
    page.send(press="success")
    probe.wait(lambda: probe.count(EPISODE_MARK) == 2, what="marks")
    said = [msg.data for msg in probe.received[EPISODE_MARK.name]]
    assert said == ["start cube into bowl", "success"]
    probe.wait(lambda: page.state["episode"]["counts"] == {"success": 1}, what="the episode")

    engage(probe, page)
    page.send(press="stop")
    probe.wait(lambda: probe.last(TELEOP_STATE).stopped, timeout=2.0, what="the stop")
    probe.wait(lambda: probe.count(STOP), what="the topic")
    assert probe.last(STOP).data
    probe.wait(lambda: page.state["word"] == "STOPPED", what="the word")
    page.send(press="engage")
    time.sleep(0.5)
    assert mode(probe) == TeleopState.HOLD and probe.last(TELEOP_STATE).stopped
    page.send(press="reset_stop")
    probe.wait(lambda: not probe.last(TELEOP_STATE).stopped, what="the reset")
    assert mode(probe) == TeleopState.HOLD


def test_closing_the_operator_s_page_releases_the_clutch(bench):
    probe, open_page, _ = bench
    spectator, page = open_page(), open_page()
    with targets(probe):
        engage(probe, page)
        # Longer than the safety core waits for signs of life, with the page open.
        time.sleep(2.0)
        assert mode(probe) == TeleopState.ENGAGED
        page.close()
        probe.wait(lambda: mode(probe) == TeleopState.HOLD, timeout=5.0, what="release")
        assert "page" in probe.last(TELEOP_STATE).reason
    probe.wait(lambda: spectator.state["driver"] == "", what="a page without a driver")


def test_another_site_cannot_open_the_line(bench):
    _, open_page, port = bench
    open_page()
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}{BENCH_PATH}", origin="http://evil.example")
    assert refused.value.response.status_code == 403
