"""A Python that has LeRobot, in an environment of its own: its versions are not ours."""

import os
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
_LOADER = Path(__file__).with_name("lerobot_load.py")


@lru_cache
def find() -> str:
    """The interpreter: ``MANIP_LEROBOT``, or that of ``scripts/setup_lerobot.sh``; else empty."""
    given = os.environ.get("MANIP_LEROBOT", str(ROOT / ".venv-lerobot/bin/python"))
    return given if Path(given).exists() else ""


def load(dataset: Path, out: Path) -> dict[str, np.ndarray]:
    """Every row of a dataset as ``LeRobotDataset`` gives it, by feature; see ``lerobot_load.py``.

    Raises:
        RuntimeError: LeRobot could not load it; with what it said.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        # What this environment's Python is told is nothing to the other one.
        if name not in ("PYTHONPATH", "VIRTUAL_ENV", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")
    }
    libraries = Path(find()).parents[1] / "ffmpeg"
    environment |= {
        "LD_LIBRARY_PATH": str(libraries) if libraries.exists() else "",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(out.parent / "huggingface"),
    }
    done = subprocess.run(
        [find(), str(_LOADER), str(dataset), str(out)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"LeRobot did not load {dataset}:\n{done.stderr[-3000:]}")
    with np.load(out) as arrays:
        return dict(arrays)
