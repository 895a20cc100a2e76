"""Builds the kernels for this machine's CPU, once for every source, compiler and processor."""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from manip_training.synthetic.kernel_scene import KernelScene

KERNELS = Path(__file__).parent / "kernels"
COMPILERS = ("c++", "g++", "clang++")
# Neither errno nor floating point traps are of interest; both keep loops from becoming vectors.
FLAGS = (
    *("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread"),
    *("-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"),
)


def sources_hash() -> str:
    """Changes with any of the kernels' files."""
    digest = hashlib.sha256()
    for path in sorted(KERNELS.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where built kernels are kept: ``manip`` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "manip" / "kernels"


@functools.cache
def cpu_kernels() -> ctypes.CDLL:
    """The CPU's kernels, built if they were not before.

    Raises:
        RuntimeError: There is no compiler, or it fails; the message holds what it said.
    """
    compiler = shlex.split(os.environ.get("CXX", "")) or list(filter(shutil.which, COMPILERS))[:1]
    if not compiler:
        raise RuntimeError(
            f"drawing on the CPU needs a C++ compiler: none of {', '.join(COMPILERS)} is on the "
            "PATH, and CXX is not set (Debian and Ubuntu: apt install g++)"
        )
    path = cache_folder() / f"cpu-{_key(compiler)}.so"
    if not path.exists():
        put(path, functools.partial(_compile, compiler))
    library = ctypes.CDLL(str(path))
    library.work_floats.restype = ctypes.c_longlong
    found, expected = library.scene_bytes(), ctypes.sizeof(KernelScene)
    if found != expected:
        raise RuntimeError(f"{path} takes a scene of {found} bytes, not {expected}: remove it")
    return library


def _key(compiler: list[str]) -> str:
    """Of everything that the result depends on."""
    try:
        version = subprocess.run(
            [*compiler, "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(
            f"the C++ compiler {shlex.join(compiler)} does not run: {error}"
        ) from error
    parts = (sources_hash(), version, *compiler, *FLAGS, platform.machine(), _processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _processor() -> str:
    """What tells processors of different instruction sets apart; a home may serve many machines."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    wanted = ("flags", "Features", "model name", "CPU part")
    lines = info.read_text().split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(wanted))


def put(path: Path, make: Callable[[str], object]) -> None:
    """Have a file made; others that do the same at the same time never see half of it.

    Args:
        path: Where it is to be.
        make: Writes it to the path that it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=path.stem, suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        make(name)
        Path(name).chmod(0o755)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _compile(compiler: list[str], to: str) -> None:
    command = [*compiler, *FLAGS, str(KERNELS / "cpu.cpp"), "-o", to]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr[-4000:]}")
