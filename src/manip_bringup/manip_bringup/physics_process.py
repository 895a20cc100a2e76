"""Physics in a process of its own: it needs JAX, which the suite does not.

It runs in this environment where JAX is installed, else in that of ``scripts/setup_physics.sh``.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from manip_core import resources

_SETUP = "the physics needs JAX, which is not installed here: run scripts/setup_physics.sh"


def interpreter() -> str:
    """A Python that has JAX: this one, else ``MANIP_PHYSICS``, else that of its set-up.

    Raises:
        ValueError: There is none; the message says what to run.
    """
    if find_spec("jax"):
        return sys.executable
    if given := os.environ.get("MANIP_PHYSICS"):
        return given
    try:
        return str(resources.find(".venv-physics/bin/python"))
    except FileNotFoundError:
        raise ValueError(_SETUP) from None


def environment() -> dict[str, str]:
    """Ours, but for what is said of our own Python; with the packages that the physics needs."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    }
    packages = [find_spec(name) for name in ("manip_core", "manip_model", "manip_physics")]
    folders = [str(Path(spec.origin).resolve().parents[1]) for spec in packages if spec]
    return kept | {"PYTHONPATH": os.pathsep.join(folders)}


def train(words: list[str]) -> int:
    """``manip train physics=mjx [key=value …]``: offsets to retargeted joints, learned in MJX."""
    command = [interpreter(), "-m", "manip_physics.offsets", *words]
    return subprocess.run(command, env=environment()).returncode
