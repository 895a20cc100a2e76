"""``manip mark start|success|failure|discard [task]``: sets an episode's mark from a shell."""

import time

import rclpy
from std_msgs.msg import String

from manip_bringup.episodes import Mark
from manip_core.interfaces import EPISODE_MARK
from manip_ros.topics import publisher

# So long a listener may take to be found, and a mark to arrive [s].
_FIND_S, _ARRIVE_S = 5.0, 2.0


def send(mark: Mark) -> None:
    """Publish a mark and wait until whoever listens has it.

    Raises:
        ValueError: Nobody listens.
    """
    rclpy.init()
    try:
        node = rclpy.create_node("mark_node")
        out = publisher(node, EPISODE_MARK)
        until = time.monotonic() + _FIND_S
        while not out.get_subscription_count():
            if time.monotonic() > until:
                raise ValueError(f"nobody listens to {EPISODE_MARK.name}: is a recording running?")
            time.sleep(0.02)
        out.publish(String(data=str(mark)))
        out.wait_for_all_acked(rclpy.duration.Duration(seconds=_ARRIVE_S))
        node.destroy_node()
    finally:
        rclpy.try_shutdown()
