"""Differentiable physics: its gradients against differences, its speed, what it is good for.

``python tests/bench/run.py physics``, after ``scripts/setup_physics.sh``. Each part runs in that
environment, in a process of its own.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from manip_bringup.physics_process import environment, interpreter

_PARTS = ("physics_cases", "physics_speed", "physics_versus")


def measure_physics() -> dict[str, float]:
    """All figures.

    Raises:
        FileNotFoundError: There is no environment with JAX.
    """
    try:
        python = interpreter()
    except ValueError as error:
        raise FileNotFoundError(str(error)) from error
    figures = {}
    for part in _PARTS:
        figures |= child(python, part)
    # What is to be reached is that of the lift from near; the others stand beside it.
    figures["physics_gradient_vs_cem"] = figures["physics_lift_gradient_vs_cem"]
    return figures


def child(python: str, part: str) -> dict[str, float]:
    """Figures of one part; raises `subprocess.CalledProcessError` where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        subprocess.run(
            [python, str(Path(__file__).with_name(f"{part}.py")), str(out)],
            env=environment(),
            check=True,
        )
        return json.loads(out.read_text())
