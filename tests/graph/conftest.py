"""Graph tests talk on a domain of their own, and need the built workspace."""

import os

import pytest

# Before rclpy reads it; domains above 101 collide with ephemeral ports on Linux.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)

from harness import Probe


def pytest_collection_modifyitems(items):
    """Every test here starts processes: give each more time than a unit test gets."""
    for item in items:
        if "graph" in item.path.parts:
            item.add_marker(pytest.mark.timeout(180))


@pytest.fixture
def probe():
    """Makes probes and closes them."""
    made = []

    def make(*heard):
        made.append(Probe(*heard))
        return made[-1]

    yield make
    for one in made:
        one.close()
