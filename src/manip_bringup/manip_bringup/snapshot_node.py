"""One look at the running graph, for ``manip snapshot``."""

import time

import numpy as np
import rclpy
from manip_msgs.msg import SceneObjects
from rclpy.node import Node

from manip_core.interfaces import JOINT_STATES, SCENE_OBJECTS
from manip_ros.topics import subscription


def robot_state(timeout: float) -> tuple[list[str], list[float], dict[str, np.ndarray]] | None:
    """Joint names, positions [rad] and poses of the objects; None where no robot tells them.

    Args:
        timeout: How long to wait for the joints [s]; objects may be missing.
    """
    rclpy.init()
    node = Node("snapshot_node")
    got = {}

    def keep_objects(msg: SceneObjects) -> None:
        # What the camera sees is no part of the robot's scene.
        if msg.source == SceneObjects.KNOWN:
            got["objects"] = msg

    subscription(node, JOINT_STATES, lambda msg: got.__setitem__("joints", msg))
    subscription(node, SCENE_OBJECTS, keep_objects)
    end = time.monotonic() + timeout
    try:
        while len(got) < 2 and time.monotonic() < end:
            rclpy.spin_once(node, timeout_sec=0.1)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    if "joints" not in got:
        return None
    objects = {}
    for item in got["objects"].objects if "objects" in got else ():
        p, q = item.pose.position, item.pose.orientation
        objects[item.name] = np.array([p.x, p.y, p.z, q.w, q.x, q.y, q.z])
    return list(got["joints"].name), list(got["joints"].position), objects
