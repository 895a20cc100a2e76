"""Starts the ``real`` graph; ``--show-args`` lists its arguments."""

from manip_bringup.launching import describe


def generate_launch_description():
    """The graph as launch actions."""
    return describe("real")
