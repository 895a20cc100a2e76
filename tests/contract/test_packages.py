"""Package manifests against what the packages import, and who may know whom."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
PYTHON = sorted(path.parent.name for path in SRC.glob("*/setup.py"))
ROS = re.compile(r"^(rclpy|launch|launch_ros|\w+_msgs|\w+_srvs|\w+_interfaces|manip_\w+)$")
# Packages that others may use, from the bottom up.
MAY_KNOW = {
    "manip_core": set(),
    "manip_ros": {"manip_core", "manip_msgs"},
    "manip_perception": {"manip_core", "manip_model", "manip_msgs", "manip_ros"},
    "manip_retargeting": {"manip_core", "manip_msgs", "manip_ros"},
    "manip_control": {"manip_core", "manip_msgs", "manip_ros"},
    "manip_model": {"manip_core"},
    "manip_training": {"manip_core", "manip_model", "manip_msgs", "manip_ros"},
    "manip_physics": {"manip_core", "manip_model"},
    "manip_bringup": {
        *("manip_core", "manip_msgs", "manip_ros"),
        *("manip_perception", "manip_retargeting", "manip_control", "manip_training"),
        "manip_physics",
    },
}


def imports_of(package: str) -> set[str]:
    """Top-level modules that the package's sources import."""
    found = set()
    for path in (SRC / package / package).rglob("*.py"):
        found |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.M))
    return found - {package}


def manifest(package: str) -> ET.Element:
    return ET.parse(SRC / package / "package.xml").getroot()


@pytest.mark.parametrize("package", PYTHON)
def test_what_is_imported_is_declared(package):
    declared = {e.text for e in manifest(package) if e.tag.endswith("depend")}
    missing = {name for name in imports_of(package) if ROS.match(name)} - declared
    assert not missing, f"{package}/package.xml does not declare {missing}"


@pytest.mark.parametrize("package", PYTHON)
def test_packages_know_only_whom_they_may(package):
    known = {name for name in imports_of(package) if name.startswith("manip_")}
    assert known <= MAY_KNOW[package]


@pytest.mark.parametrize("package", [*PYTHON, "manip_msgs"])
def test_manifests_say_what_they_must(package):
    root = manifest(package)
    assert root.findtext("name") == package
    assert root.findtext("license") == "Apache-2.0"
    assert "@" in root.find("maintainer").get("email")
    assert len(root.findtext("description")) > 20


def test_the_core_has_no_ros_in_it():
    assert not {name for name in imports_of("manip_core") if ROS.match(name)}
