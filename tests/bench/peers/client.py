"""Drives the peer libraries from the benchmark's own environment; see run_peers.py."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
NAMES = ("dex_vector", "dexpilot", "dexi_rs")
SHIPPED_ALPHA = 0.2  # low_pass_alpha of the shipped allegro_hand_right configurations
WRIST_LINK = "human_wrist"


def python() -> Path:
    """Interpreter of the peers' environment, made on first use (about 1 GB, a few minutes).

    ``MANIP_PEERS_VENV`` names another one.
    """
    venv = Path(os.environ.get("MANIP_PEERS_VENV", ROOT / ".venv-peers"))
    marker = venv / "installed"
    requirements = (HERE / "requirements.txt").read_text()
    if not marker.exists() or marker.read_text() != requirements:
        print(f"installing the peer libraries into {venv} …", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True, env=_environment())
        subprocess.run(
            [
                venv / "bin" / "python",
                "-m",
                "pip",
                "install",
                "-q",
                "-r",
                HERE / "requirements.txt",
            ],
            check=True,
            env=_environment(),
        )
        marker.write_text(requirements)
    return venv / "bin" / "python"


def _environment() -> dict[str, str]:
    # The ROS wheels' bootstrap marks its children as done; another environment's Python must not
    # inherit that, nor this one's paths.
    hidden = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH", "PYTHONPATH")
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    return kept | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def hand_urdf(urdf: str, palm: str, wrist: np.ndarray) -> str:
    """The part of a URDF from ``palm`` on, and a link at ``wrist`` ``(3,)`` [m], the human's."""
    robot = ET.fromstring(urdf)
    joints = robot.findall("joint")
    kept, grew = {palm}, True
    while grew:
        children = {
            joint.find("child").get("link")
            for joint in joints
            if joint.find("parent").get("link") in kept
        }
        grew = not children <= kept
        kept |= children
    out = ET.Element("robot", name="hand")
    for link in robot.findall("link"):
        if link.get("name") in kept:
            for shape in link.findall("visual") + link.findall("collision"):
                link.remove(shape)
            out.append(link)
    out.extend(joint for joint in joints if joint.find("parent").get("link") in kept)
    ET.SubElement(out, "link", name=WRIST_LINK)
    joint = ET.SubElement(out, "joint", name=f"{WRIST_LINK}_joint", type="fixed")
    ET.SubElement(joint, "parent", link=palm)
    ET.SubElement(joint, "child", link=WRIST_LINK)
    ET.SubElement(joint, "origin", xyz=" ".join(map(str, wrist)), rpy="0 0 0")
    return ET.tostring(out, encoding="unicode")


class Peers:
    """The peers' process. ``points`` and ``starts`` as in run_peers.py."""

    def __init__(self, folder: Path, urdf: str, points, starts, tips, joints, scale: float):
        self._folder = folder
        np.savez(folder / "inputs.npz", points=points, starts=starts)
        (folder / "hand.urdf").write_text(urdf)
        config = {"wrist": WRIST_LINK, "tips": tips, "joints": joints, "scale": scale}
        (folder / "config.json").write_text(json.dumps(config))
        files = [folder / name for name in ("inputs.npz", "hand.urdf", "config.json")]
        self._process = subprocess.Popen(
            [python(), HERE / "run_peers.py", *files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        self._answer()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers' process ended with {self._process.wait()}")
        return json.loads(line)

    def _ask(self, **request) -> dict:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def run(self, peer: str, sequence: int) -> list[float]:
        """Retargets one sequence; milliseconds of each frame."""
        return self._ask(peer=peer, sequence=sequence)["ms"]

    def finish(self) -> dict[str, np.ndarray]:
        """Joint angles ``(n, joints)`` [rad] of each peer; ends the process."""
        out = self._folder / "results.npz"
        self._ask(save=str(out))
        self._process.wait(timeout=30)
        results = np.load(out)
        return {name: results[f"q_{name}"] for name in NAMES}


def filtered(q: np.ndarray, starts: np.ndarray, alpha: float = SHIPPED_ALPHA) -> np.ndarray:
    """The peers' shipped low-pass filter, y += alpha (q - y), started afresh at each sequence."""
    out = q.copy()
    for first, last in pairwise(starts):
        for row in range(first + 1, last):
            out[row] = out[row - 1] + alpha * (q[row] - out[row - 1])
    return out
