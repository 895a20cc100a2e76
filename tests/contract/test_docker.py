"""The Docker files, which no engine runs here: whatever they name exists."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from manip_bringup.graph import GRAPHS

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
# Packages of Ubuntu 24.04 (packages.ubuntu.com/noble) and of ROS 2 Jazzy on it
# (github.com/ros/rosdistro, jazzy/distribution.yaml; ros-jazzy-NAME with dashes).
UBUNTU = {
    *(
        "g++",
        "python3-dev",
        "python3-venv",
        "libegl1",
        "libgl1",
        "libgles2",
        "libglib2.0-0t64",
    ),
    *("novnc", "websockify", "tigervnc-standalone-server"),
}
ROS = {"ros2controlcli", "rviz2", "ur-robot-driver"}
# github.com/osrf/docker_images, ros/jazzy/ubuntu/noble/ros-base.
BASES = {"ros:jazzy-ros-base"}
# What Ubuntu 24.04 calls a library that scripts/setup.sh asks for by its older name.
RENAMED = {"libglib2.0-0": "libglib2.0-0t64"}
# Of the environment of ROS 2, of the base image, and of the packages above.
PROGRAMS = {"ros2", "rviz2", "Xtigervnc", "websockify", "manip"}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows each, lines joined and comments gone."""
    lines = [line for line in (DOCKER / "Dockerfile").read_text().splitlines()]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = text.replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def stages() -> dict[str, str]:
    """What each stage begins with."""
    return {rest.split()[2]: rest.split()[0] for rest in arguments("FROM")}


def installed() -> set[str]:
    """Packages that apt-get installs."""
    found = set()
    for command in re.findall(r"apt-get install ([^&]*)", " && ".join(arguments("RUN"))):
        found |= {word for word in command.split() if not word.startswith("-")}
    return found


def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def filled(text: str, **given: str) -> str:
    """Compose's own substitution of ``${NAME:-default}``."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: given.get(m[1]) or m[2], text)


def test_stages_begin_with_images_that_exist():
    begun = set()
    for stage, base in stages().items():
        assert base in BASES | begun
        begun.add(stage)
    assert {"cpu", "cuda"} <= begun


def test_packages_are_known_and_each_known_one_is_used():
    assert installed() == UBUNTU | {f"ros-jazzy-{name}" for name in ROS}


def test_what_the_set_up_asks_for_is_there():
    setup = (ROOT / "scripts" / "setup.sh").read_text()
    asked = set(re.findall(r"need\+=\(([\w+.-]+)\)", setup)) | set(
        re.findall(r"\.so\.\d:([\w.-]+)", setup)
    )
    asked.discard("python3")  # of the base image
    assert {"libgl1", "g++"} < asked
    assert {RENAMED.get(name, name) for name in asked} <= installed()


def test_files_that_are_copied_and_run_exist():
    for rest in arguments("COPY"):
        for source in rest.split()[1:-1]:
            assert (ROOT / source).exists(), source
    for script in re.findall(r"(?:scripts|docker)/[\w.]+\.sh", (DOCKER / "Dockerfile").read_text()):
        assert os.access(ROOT / script, os.X_OK), script
    assert (ROOT / "config" / "manip.rviz").exists()


def test_python_packages_are_those_of_the_requirement_files():
    setup = (ROOT / "scripts" / "setup.sh").read_text()
    for command in re.findall(r"pip install ([^&\n]*)", " && ".join(arguments("RUN"))):
        words = shlex.split(command)
        files = [words[i + 1] for i, word in enumerate(words) if word == "-r"]
        assert files and all((ROOT / name).exists() for name in files)
        others = [word for word in words if not word.startswith("-") and word not in files]
        assert all(f"'{word}'" in setup for word in others), others
    for extra in re.findall(r"scripts/setup\.sh (\w+)", " && ".join(arguments("RUN"))):
        assert f"  {extra}) extras=" in setup


def test_nothing_runs_as_root():
    user = {}
    for stage, base in stages().items():
        user[stage] = user.get(base, "0")
    stage = None
    for instruction, rest in instructions():
        if instruction == "FROM":
            stage = rest.split()[2]
            user[stage] = user.get(rest.split()[0], "0")
        elif instruction == "USER":
            user[stage] = rest
    assert set(user.values()) == {"1000"}
    assert not any("privileged" in str(service) for service in compose()["services"].values())


def test_what_the_image_makes_itself_is_not_copied():
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    assert {".git", ".venv*", "build", "install", "models"} <= set(ignored)
    needed = {"src", "scripts", "requirements", "launch", "config", "urdf", "assets", "docker"}
    assert not needed & set(ignored)


@pytest.mark.parametrize("script", ["entrypoint.sh", "rviz_web.sh"])
def test_scripts_are_sound_and_name_what_is_there(script):
    path = DOCKER / script
    assert subprocess.run(["bash", "-n", path]).returncode == 0
    text = path.read_text()
    assert re.findall(r"^set -e$", text, re.M)
    for program in re.findall(r"^(?:DISPLAY=\S+ exec )?(\w+)(?= -| :| --)", text, re.M):
        assert program in PROGRAMS | {"set"}
    for file in re.findall(r"config/[\w.]+", text):
        assert (ROOT / file).exists()


def test_services_build_stages_and_have_a_profile():
    described = compose()
    assert {"sim", "real", "train"} <= set(described["services"])
    for name, service in described["services"].items():
        assert service["profiles"] == [name]
        build = service["build"]
        assert build["target"] in stages()
        assert service["image"] == f"manip:{build['target']}"
        assert (DOCKER / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).exists()


def test_the_card_goes_to_those_who_need_it():
    for name in ("train", "sim-gpu"):
        service = compose()["services"][name]
        assert service["build"]["target"] == "cuda"
        (card,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert card["driver"] == "nvidia" and card["capabilities"] == ["gpu"]


def test_volumes_are_declared_and_mounted_where_the_image_has_folders():
    described = compose()
    made = re.search(r"mkdir -p ([\w ]+)", " ".join(arguments("RUN")))[1].split()
    for service in described["services"].values():
        for volume in service.get("volumes", ()):
            source, target = filled(volume).split(":")
            if not source.startswith("/"):
                assert source in described["volumes"]
                assert target in {f"/opt/manip/{name}" for name in made}


@pytest.mark.parametrize("camera", ["", "/dev/video2"])
def test_the_camera_is_passed_through_under_its_own_name(camera):
    given = {"MANIP_CAMERA": camera}
    for name in ("sim", "real"):
        service = compose()["services"][name]
        ((outside, inside),) = (filled(d, **given).split(":") for d in service["devices"])
        if camera:
            assert outside == inside == camera
            assert f"source:={camera}" in filled(service["command"], **given)
        else:
            # A device that every machine has stands in, under a name that nobody opens.
            assert outside == "/dev/null" and not inside.startswith("/dev/video")
        assert "video" in service["group_add"]


@pytest.mark.parametrize("name", [name for name in compose()["services"]])
def test_commands_are_understood(name):
    program, *words = shlex.split(filled(compose()["services"][name]["command"]))
    if program == "ros2":
        launch, package, file, *words = words
        assert (launch, package) == ("launch", "manip_bringup")
        assert (ROOT / "launch" / file).exists()
        GRAPHS[file.split(".")[0]].resolve(dict(word.split(":=", 1) for word in words))
    elif program == "manip":
        assert words[0] == "train"
        experiment = next(word for word in words if word.startswith("+experiment="))
        folder = ROOT / "src" / "manip_training" / "manip_training"
        assert f'"{experiment.split("=")[1]}"' in (folder / "config.py").read_text()
    elif program == "rviz2":
        assert (ROOT / words[-1]).exists()
    else:
        assert os.access(ROOT / program, os.X_OK)


def test_settings_that_are_read_are_explained():
    text = (DOCKER / "compose.yaml").read_text()
    explained = text[: text.index("\nname:")]
    read = set(re.findall(r"\$\{(\w+)", text)) - {"DISPLAY"}
    known = {"ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_DOMAIN_ID"}
    assert {name for name in read if name not in explained} <= known
    network = (ROOT / "docs" / "network.md").read_text()
    assert all(name in network for name in known)


def test_the_graph_is_described_without_the_environments_own_packages():
    """``ros2 launch`` runs under the system's Python, which sees ROS, numpy and PyYAML alone."""
    blocked = ("mujoco", "cv2", "mink", "viser", "mediapipe", "xacro", "rclpy")
    code = (
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
        "from manip_bringup import graph\n"
        "for one in graph.GRAPHS.values(): one.nodes(one.resolve({}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
