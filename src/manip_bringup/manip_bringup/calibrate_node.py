"""Takes the pictures of a camera calibration, each with the joints of the arm that stands still."""

import os
import select
import sys
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.node import Node

from manip_bringup.calibrate_files import JOINTS_FILE, read_joints, write_joints
from manip_bringup.charuco import Board
from manip_bringup.graph import environment
from manip_core.interfaces import IMAGE, JOINT_STATES
from manip_core.robot_model import ARM_JOINTS
from manip_ros.conversions import image_from_msg
from manip_ros.topics import subscription

# The arm counts as still when no joint moved by more in this time; a camera is late by less.
_STILL_S, _STILL_RAD = 0.5, 1e-3
_STALE_S = 0.5


class CaptureNode(Node):
    """Keeps the newest picture and the arm's last half second, or somewhat more."""

    def __init__(self, prefix: str = ""):
        super().__init__("calibrate_node")
        self._names = [prefix + name for name in ARM_JOINTS]
        self._joints: deque[tuple[float, np.ndarray]] = deque()
        self._picture: tuple[float, np.ndarray] | None = None
        subscription(self, IMAGE, self._keep_picture)
        subscription(self, JOINT_STATES, self._keep_joints)

    def still(self, now: float) -> tuple[np.ndarray, np.ndarray]:
        """The picture, uint8 BGR, and arm joints ``(6,)`` [rad].

        Raises:
            ValueError: Nothing came lately, or the arm moves; the message says which.
        """
        if self._picture is None or now - self._picture[0] > _STALE_S:
            raise ValueError(f"no picture came on {IMAGE.name} lately: is the camera node running?")
        if not self._joints or now - self._joints[-1][0] > _STALE_S:
            raise ValueError(
                f"no {', '.join(self._names)} on {JOINT_STATES.name} lately: is the driver running?"
            )
        values = np.array([joints for _, joints in self._joints])
        if np.ptp(values, axis=0).max() > _STILL_RAD:
            raise ValueError("the arm moves: wait until it stands still")
        if now - self._joints[0][0] < _STILL_S:
            raise ValueError(f"the arm is watched for less than {_STILL_S} s: press Enter again")
        return self._picture[1], values.mean(0)

    def _keep_picture(self, msg) -> None:
        self._picture = (time.monotonic(), image_from_msg(msg))

    def _keep_joints(self, msg) -> None:
        position = dict(zip(msg.name, msg.position, strict=False))
        if any(name not in position for name in self._names):
            return
        now = time.monotonic()
        self._joints.append((now, np.array([position[name] for name in self._names])))
        # The newest that is old enough stays: however late joints come, the whole time is covered.
        while len(self._joints) > 1 and now - self._joints[1][0] >= _STILL_S:
            self._joints.popleft()


def capture(folder: Path, board: Board, prefix: str = "") -> int:
    """Take a picture each time Enter is pressed, until ``q`` or the end of input.

    Args:
        folder: Where pictures and joints go; what is there is kept and added to.
        board: What must be seen for a picture to count.
        prefix: What the driver puts before the joints' names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / JOINTS_FILE
    joints = read_joints(table, prefix) if table.exists() else {}
    # The graph's own transport: else most pictures are lost on the way.
    os.environ.update(environment())
    rclpy.init()
    node = CaptureNode(prefix)
    print("Move the arm, let it stand still, press Enter; q and Enter ends.")
    try:
        while True:
            rclpy.spin_once(node, timeout_sec=0.02)
            if not select.select([sys.stdin], [], [], 0)[0]:
                continue
            line = sys.stdin.readline()
            if not line or line.strip() == "q":
                return 0
            try:
                image, position = node.still(time.monotonic())
            except ValueError as problem:
                print(problem)
                continue
            sighting = board.find(image)
            if sighting is None:
                print("the board is not seen well enough here: turn it to the camera, into light")
                continue
            numbers = [int(p.stem) for p in folder.glob("*.png") if p.stem.isdecimal()]
            number = 1 + max(numbers, default=0)
            name = f"{number:03d}.png"
            cv2.imwrite(str(folder / name), image)
            joints[name] = position
            write_joints(table, joints, prefix)
            print(
                f"{name}: {len(sighting)} of {len(board.corners)} corners, {len(joints)} pictures"
            )
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
