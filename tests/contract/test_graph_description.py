"""The one description of the node graph against what it describes."""

import importlib
import os
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from manip_bringup import cli
from manip_bringup.graph import GRAPHS, Argument, Graph, NodeSpec, environment, replay
from manip_bringup.supervisor import command_line
from manip_core import interfaces

ROOT = Path(__file__).resolve().parents[2]
ALL_ON = {"rviz": "true", "record": "/tmp/bags", "action": "true"}


def nodes_of(name: str) -> list[NodeSpec]:
    graph = GRAPHS[name]
    return graph.nodes(graph.resolve(ALL_ON))


def source_of(node: NodeSpec) -> Path:
    return ROOT / "src" / node.package / node.package / f"{node.executable}.py"


def declared(node: NodeSpec) -> set[str]:
    """Parameters that a node's source declares: by name, and by the fields of its config."""
    text = source_of(node).read_text()
    names = set(re.findall(r'declare\(self, "(\w+)"', text))
    for config in re.findall(r"declare_config\(\s*self,\s*(\w+)", text):
        module = importlib.import_module(f"{node.package}.{node.executable}")
        config_type = getattr(module, config)
        assert is_dataclass(config_type)
        names |= {field.name for field in fields(config_type)}
    return names


@pytest.mark.parametrize("name", GRAPHS)
def test_every_parameter_that_is_set_is_declared_by_its_node(name):
    for node in nodes_of(name):
        unknown = set(node.parameters) - declared(node)
        assert not unknown, f"{node.executable} does not declare {unknown}"


@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_is_an_executable_of_its_package(name):
    for node in nodes_of(name):
        setup = (ROOT / "src" / node.package / "setup.py").read_text()
        assert f'"{node.executable} = {node.package}.{node.executable}:main"' in setup


@pytest.mark.parametrize("name", GRAPHS)
def test_node_names_are_unique(name):
    names = [node.name for node in nodes_of(name)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", GRAPHS)
def test_a_launch_file_stands_for_every_graph_and_is_short(name):
    launch = ROOT / "launch" / f"{name}.launch.py"
    assert f'describe("{name}")' in launch.read_text()
    for path in (launch, ROOT / "src/manip_bringup/manip_bringup/launching.py"):
        assert len(path.read_text().splitlines()) < 60


def test_arguments_are_checked():
    graph = Graph("", (Argument("hand", "right", "", ("right", "left")),), lambda a: [])
    assert graph.resolve({}) == {"hand": "right"}
    with pytest.raises(ValueError, match="right, left"):
        graph.resolve({"hand": "both"})
    with pytest.raises(ValueError, match="unknown arguments"):
        graph.resolve({"hands": "left"})


def test_make_passes_on_every_argument():
    makefile = (ROOT / "Makefile").read_text()
    offered = set(re.search(r"^ARGS := (.*)$", makefile, re.M).group(1).lower().split())
    wanted = {argument.name for argument in GRAPHS["sim"].arguments} | {"params"}
    assert offered == wanted


def test_command_line_quotes_for_ros(monkeypatch, tmp_path):
    executable = tmp_path / "lib" / "p" / "n"
    executable.parent.mkdir(parents=True)
    executable.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    line = command_line(NodeSpec("p", "n", {"source": "0", "loop": True, "rate": -1.0, "x": ""}))
    assert line[1:] == [
        *("--ros-args", "-p", "source:='0'", "-p", "loop:=true"),
        *("-p", "rate:=-1.0", "-p", "x:=''"),
    ]
    with pytest.raises(FileNotFoundError, match="ament prefixes"):
        command_line(NodeSpec("p", "missing"))


def test_mirror_tracks_the_other_hand():
    graph = GRAPHS["sim"]
    nodes = {n.name: n for n in graph.nodes(graph.resolve({"mirror": "true", "hand": "right"}))}
    assert nodes["hand_pose_node"].parameters["hand"] == "left"
    assert nodes["mujoco_robot_node"].parameters["hand"] == "right"


def test_smoothing_is_as_chosen():
    graph = GRAPHS["perception"]

    def chosen(**given):
        (node,) = (n for n in graph.nodes(graph.resolve(given)) if n.name == "smoothing_node")
        return node.parameters

    assert chosen() == {"smoothing": "one_euro", "bridge": False}
    assert chosen(smoothing="temporal", bridge="true") == {"smoothing": "temporal", "bridge": True}
    with pytest.raises(ValueError, match="one_euro, temporal"):
        graph.resolve({"smoothing": "kalman"})


def test_the_estimator_is_told_only_what_is_chosen():
    graph = GRAPHS["sim"]

    def parameters(**given):
        nodes = graph.nodes(graph.resolve(given))
        (node,) = (n for n in nodes if n.executable == "hand_pose_node")
        return node.parameters

    # Nothing set: the estimator's own defaults hold, whichever it is.
    assert not any(parameters()[name] for name in ("hand_length", "model", "runtime"))
    chosen = parameters(estimator="amt", runtime="openvino", model="runs/one")
    assert (chosen["estimator"], chosen["runtime"]) == ("amt", "openvino")
    assert chosen["model"] == "runs/one"
    for wrong in ({"estimator": "guess"}, {"runtime": "tflite"}):
        with pytest.raises(ValueError, match="must be one of"):
            graph.resolve(wrong)


@pytest.mark.parametrize(
    "given, extra",
    [
        ((), ""),
        (("ESTIMATOR=mediapipe",), ""),
        (("ESTIMATOR=amt",), "amt"),
        (("ESTIMATOR=amt", "RUNTIME=torch"), "train"),
    ],
)
def test_make_sets_up_what_the_estimator_needs(given, extra):
    command = ["make", "--dry-run", "--silent", "sim", *given]
    # Not what a make that runs these tests was given.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    setup, start = ended.stdout.splitlines()
    assert setup.split() == ["scripts/setup.sh", *extra.split()]
    for word in given:
        name, value = word.split("=")
        assert f"{name.lower()}:='{value}'" in start


def test_set_up_knows_its_extras():
    said = subprocess.run(["scripts/setup.sh", "no_such"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 1 and "[amt|train|export|dev], got no_such" in said.stderr


def test_a_real_robot_waits_for_its_operator():
    control = next(n for n in nodes_of("real") if n.executable == "control_node")
    assert control.parameters["auto_engage"] is False
    assert control.parameters["speed_fraction"] <= 0.25
    assert not any(n.executable == "mujoco_robot_node" for n in nodes_of("real"))


def test_replay_takes_the_camera_s_place():
    graph = GRAPHS["sim"]
    names = [n.executable for n in replay(graph, graph.resolve({}), "/tmp/bag")]
    assert "replay_node" in names and "camera_node" not in names


def test_cli_says_what_is_wrong(capsys):
    for words, said in (
        (["fly"], "no such command"),
        (["sim", "hand=left"], "name:=value"),
        (["sim", "hand:=both"], "left, right"),
        (["replay"], "name the bag"),
        (["replay", "/no/such/bag"], "no bag at"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 2 and said in capsys.readouterr().err
    cli.main(["--help"])
    assert "source:=" in capsys.readouterr().out


def test_environment_names_an_existing_profile():
    assert Path(environment()["FASTRTPS_DEFAULT_PROFILES_FILE"]).exists()


@pytest.mark.parametrize("described", [*interfaces.TOPICS, *interfaces.SERVICES])
def test_message_types_exist(described):
    package, kind, name = described.type.split("/")
    if f"{package}.{kind}" not in sys.modules:
        module = pytest.importorskip(f"{package}.{kind}")
    else:
        module = sys.modules[f"{package}.{kind}"]
    assert hasattr(module, name)
