"""The guides against the code: what they name exists under that name."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from manip_bringup.graph import GRAPHS
from manip_control.can_hand import CanHandConfig
from manip_control.control_config import ControlConfig
from manip_control.guard import GuardConfig
from manip_core import interfaces, resources
from manip_core.robot_model import home

ROOT = Path(__file__).resolve().parents[2]
GUIDES = ("safety", "real_robot", "troubleshooting", "network")
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
# Arguments of other people's launch files, and parameters of nodes.
THEIRS = {"kinematics_params_file", "target_filename", "switch_controllers", "params"}
# Services and topics of other people's nodes, and a placeholder.
NOT_OURS = {"/teleop/*"}


def guide(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


@pytest.mark.parametrize("name", GUIDES)
def test_files_that_are_named_exist(name):
    folders = "src|tests|config|docs|scripts|docker|launch|urdf"
    for path in re.findall(rf"(?<![\w./~])((?:{folders})/[\w./-]*\w)", guide(name)):
        assert (ROOT / path).exists() or path.startswith("docker/.env"), path
    for link in re.findall(r"\]\((\w+\.md)\)", guide(name)):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.parametrize("name", GUIDES)
def test_tests_that_are_named_exist(name):
    for test in re.findall(r"`(test_\w+)`", guide(name)):
        assert f"def {test}(" in TESTS, test


@pytest.mark.parametrize("name", GUIDES)
def test_arguments_that_are_named_exist(name):
    known = {argument.name for graph in GRAPHS.values() for argument in graph.arguments}
    for argument in re.findall(r"(?<![\w.])([a-z][a-z_]*):=", guide(name)):
        assert argument in known | THEIRS, argument


@pytest.mark.parametrize("name", GUIDES)
def test_topics_and_services_that_are_named_exist(name):
    known = {one.name for one in (*interfaces._ALL, *interfaces.SERVICES)} | NOT_OURS
    for topic in re.findall(
        r"(?<![\w.])(/(?:teleop|allegroHand|controller_manager)/[\w*]+)", guide(name)
    ):
        assert topic in known, topic


def test_the_layers_that_are_described_are_modules():
    for module in re.findall(r"`(\w+\.py)`", guide("safety")):
        assert (ROOT / "src/manip_control/manip_control" / module).exists(), module


def test_figures_of_the_safety_guide_are_the_defaults():
    text = " ".join(guide("safety").split())
    config = ControlConfig()
    for says, value in {
        r"older than (\d+\.?\d*) s": config.max_age,
        r"more than (\d+) ms in the future": config.max_future * 1e3,
        r"below a confidence of (\d+\.?\d*)": config.min_confidence,
        r"no target came for (\d+\.?\d*) s": config.release_timeout,
        r"missing for (\d+\.?\d*) s": config.state_release,
        r"more than (\d+\.?\d*) rad from its command": config.max_deviation,
        r"closed or silent for (\d+\.?\d*) s": config.heartbeat_timeout,
        r"deviation of (\d+) cm": config.full_deviation * 1e2,
        r"confidence of (\d+\.?\d*), nothing": config.full_confidence,
        r"nothing from (\d+) cm": config.max_hand_deviation * 1e2,
        r"No target for (\d+) ms": config.target_timeout * 1e3,
        r"No joint states for (\d+) ms": config.state_timeout * 1e3,
        r"motors off after (\d+\.?\d*) s": CanHandConfig().command_timeout,
    }.items():
        found = re.search(says, text)
        assert found and float(found[1]) == pytest.approx(value), says
    assert "slows down to a fifth" in text and config.singular_speed == 0.2


def test_the_first_posture_is_home():
    for side in ("right", "left"):
        row = re.search(rf"\| {side} hand \[degrees\] \|(.*)\|", guide("real_robot"))[1]
        degrees = [float(cell) for cell in row.split("|")]
        assert np.allclose(degrees, np.degrees(home(side)[:6]), atol=0.051)


def test_parameters_in_the_example_are_read():
    block = re.search(r"```\ncontrol_node:\n(.*?)```", guide("real_robot"), re.S)[1]
    named = set(re.findall(r"^    (\w+):", block, re.M))
    known = {field.name for kind in (GuardConfig, CanHandConfig) for field in fields(kind)}
    assert named and named <= known
    boxes = re.search(r'keep_out: "(.*)"', block)[1]
    assert GuardConfig(keep_out=boxes).keep_out_boxes().shape == (1, 2, 3)


def test_a_lan_profile_takes_the_other_s_place(tmp_path, monkeypatch):
    """As docs/network.md says; and it differs by nothing but where UDP may go."""
    lan = ROOT / "config" / "fastdds_lan.xml"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "fastdds_shm.xml").write_text(lan.read_text())
    monkeypatch.setenv("MANIP_SHARE", str(tmp_path))
    assert resources.find("config/fastdds_shm.xml") == tmp_path / "config" / "fastdds_shm.xml"
    assert resources.find("config/manip.rviz").exists()
    monkeypatch.delenv("MANIP_SHARE")
    own = (ROOT / "config" / "fastdds_shm.xml").read_text()

    def bare(text: str) -> str:
        text = re.sub(
            r"<!--.*?-->|<interfaceWhiteList>.*?</interfaceWhiteList>", "", text, flags=re.S
        )
        return "".join(text.replace("loopback", "network").split())

    assert bare(own) == bare(lan.read_text()) and "interfaceWhiteList" not in lan.read_text()
