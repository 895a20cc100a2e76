"""Taking calibration pictures from a running camera and arm: only what is fit to be used counts."""

import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import JointState

from manip_bringup.calibrate_files import JOINTS_FILE, read_joints
from manip_bringup.charuco import Board
from manip_bringup.graph import environment
from manip_core.interfaces import IMAGE, JOINT_STATES
from manip_core.robot_model import ARM_JOINTS, home
from manip_ros.conversions import image_to_msg

PREFIX = "left_arm_"


class Sender:
    """A camera and an arm driver, as far as a capture hears them; 50 messages a second."""

    def __init__(self, probe, image):
        self._node = probe.node
        self.image, self.speed, self.quiet = image, 0.0, False
        self.position = home()[:6].copy()
        self._pictures = probe.publisher(IMAGE)
        self._joints = probe.publisher(JOINT_STATES)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        names = [PREFIX + name for name in ARM_JOINTS]
        while not self._end.wait(0.02):
            if self.quiet:
                continue
            self.position = self.position + 0.02 * self.speed
            self._joints.publish(JointState(name=names, position=self.position.tolist()))
            self._pictures.publish(image_to_msg(self.image, self._node.get_clock().now().to_msg()))

    def close(self):
        self._end.set()
        self._thread.join()


def until(press, wanted: str, not_before: str) -> None:
    """Press Enter until ``wanted`` is said; before that nothing but ``not_before`` may be."""
    for _ in range(40):
        said = press()
        if wanted in said:
            return
        known = [not_before, f"no {PREFIX}", "watched for less than"]
        assert any(each in said for each in known), said
        time.sleep(0.5)
    raise AssertionError(f"{wanted!r} was never said")


@pytest.fixture
def capture(tmp_path):
    """A capture into a folder, and what it says to each press of Enter."""
    line = [sys.executable, "-u", "-m", "manip_bringup.cli", "calibrate-camera", str(tmp_path)]
    process = subprocess.Popen(
        [*line, "--capture", "--prefix", PREFIX],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "press Enter" in process.stdout.readline()

    def press(word: str = "") -> str:
        process.stdin.write(word + "\n")
        process.stdin.flush()
        return process.stdout.readline()

    yield press, process
    process.kill()
    process.wait()


def test_only_a_board_before_an_arm_that_stands_still_is_taken(
    tmp_path, probe, capture, monkeypatch
):
    press, process = capture
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    assert "no picture came" in press()
    Board().print(tmp_path.parent / "board.png")
    board = cv2.resize(cv2.imread(str(tmp_path.parent / "board.png")), (640, 480))
    sender = Sender(probe(), board)
    try:
        sender.speed = 0.5
        until(press, "the arm moves", not_before="no picture came")
        sender.speed = 0.0
        until(press, "001.png: 24 of 24 corners, 1 pictures", not_before="the arm moves")
        sender.image = np.zeros_like(board)
        time.sleep(1.0)
        assert "not seen well enough" in press()
        sender.quiet = True
        time.sleep(1.0)
        assert "no picture came" in press()
    finally:
        sender.close()
    press("q")
    assert process.wait(timeout=20) == 0
    taken = read_joints(tmp_path / JOINTS_FILE, PREFIX)
    assert list(taken) == ["001.png"] and np.allclose(taken["001.png"], sender.position)
    assert Board().find(cv2.imread(str(tmp_path / "001.png"))) is not None
