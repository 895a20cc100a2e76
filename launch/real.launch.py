"""Starts the ``real`` graph; see ``ros2 launch manip_bringup real.launch.py --show-args``."""

from manip_bringup.launching import describe


def generate_launch_description():
    """The graph as launch actions."""
    return describe("real")
