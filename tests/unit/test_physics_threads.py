"""XLA's pool of threads on a CPU, which too few threads bring to a halt; where JAX is installed."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("jax")

# Threads of the pool in a process that has computed something; JAX is set up by the import alone.
_COUNT = """
from pathlib import Path
{first}
import jax.numpy as jnp
jnp.ones(3).block_until_ready()
names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
print(names.count("tf_XLAEigen"))
"""


def pool(first: str, **given: str) -> int:
    ours = {name: value for name, value in os.environ.items() if name != "PJRT_NPROC"} | given
    done = subprocess.run(
        [sys.executable, "-c", _COUNT.format(first=first)],
        env=ours,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def test_the_pool_has_threads_for_all_factorisations_of_a_step():
    assert pool("import manip_physics") == max(8, os.cpu_count())


def test_what_the_user_set_stands():
    assert pool("import manip_physics", PJRT_NPROC="3") == 3
