"""Set-up from a fresh clone: time and size. ``python tests/bench/bench_setup.py``"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def measure_setup() -> dict[str, float]:
    """Clone what is committed into an empty folder and set it up as ``make sim`` does first."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AMENT_", "CMAKE_", "MANIP_", "_ROS_", "PYTHONPATH", "VIRTUAL_"))
    }
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "manip"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        began = time.monotonic()
        subprocess.run(
            ["make", "setup"], cwd=clone, check=True, env=environment, stdout=subprocess.DEVNULL
        )
        seconds = time.monotonic() - began
        size = subprocess.run(["du", "-sm", str(clone)], capture_output=True, text=True, check=True)
    return {"setup_s": seconds, "setup_mb": float(size.stdout.split()[0])}


if __name__ == "__main__":
    print(json.dumps(measure_setup(), indent=2))
