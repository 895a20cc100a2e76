"""What computes the pose transformer: the runtimes that there are, and the fastest that works here.

Whichever it is, it takes the same crops and gives the same arrays.
"""

import importlib.util
import os
import time
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np

from manip_model.shards import read_index

AUTO = "auto"
# How long each is measured for its choice [s], and how often it runs before that counts.
_MEASURED, _WARM_UP = 0.5, 3
# Where a driver of NVIDIA's is loaded; the second within WSL.
_NVIDIA = ("/dev/nvidiactl", "/dev/dxg")


class Unusable(Exception):
    """A runtime cannot be used here; the message says why."""


class Runtime(ABC):
    """The network of one folder, ready to run.

    Attributes:
        name: As it is asked for.
        size: Side of its crops [px].
        largest: Most crops in one call.
    """

    name: str
    size: int
    largest: int

    def infer(
        self, images: np.ndarray, cameras: np.ndarray, sides: np.ndarray, hints: np.ndarray
    ) -> dict[str, np.ndarray]:
        """See B hands at once.

        Args:
            images: ``(B, 3, S, S)`` uint8 RGB.
            cameras: ``(B, 4)`` fx, fy, cx, cy of the crops [px].
            sides: ``(B,)`` whose mesh is built: 0 left, 1 right, -1 the likelier.
            hints: ``(B,)`` what the network is told of it; -1 for nothing.

        Returns:
            The fields of :class:`manip_model.outputs.ModelOutput` that
            ``manip_model.graph_names.OUTPUTS`` names, float32.

        Raises:
            ValueError: Arrays of another form, or too many.
        """
        count = len(images)
        if images.dtype != np.uint8 or images.shape != (count, 3, self.size, self.size):
            raise ValueError(
                f"images must be (B, 3, {self.size}, {self.size}) uint8, "
                f"got {images.shape} {images.dtype}"
            )
        if not 1 <= count <= self.largest:
            raise ValueError(f"{self.name} takes 1 to {self.largest} crops, got {count}")
        cameras = np.ascontiguousarray(cameras, dtype=np.float32)
        sides, hints = (np.ascontiguousarray(x, dtype=np.int64) for x in (sides, hints))
        if cameras.shape != (count, 4) or sides.shape != (count,) or hints.shape != (count,):
            raise ValueError(
                f"cameras, sides and hints must be ({count}, 4), ({count},) and ({count},), "
                f"got {cameras.shape}, {sides.shape} and {hints.shape}"
            )
        return self._infer(np.ascontiguousarray(images), cameras, sides, hints)

    @abstractmethod
    def _infer(self, images, cameras, sides, hints) -> dict[str, np.ndarray]:
        """As :meth:`infer`, with checked arrays."""

    def close(self) -> None:  # noqa: B027
        """Free what it holds. It is of no use afterwards."""


def usable_threads(asked: int) -> int:
    """``asked``, or for 0 as many as this process may run at once."""
    return asked or len(os.sched_getaffinity(0))


def _openvino(folder: Path, threads: int, largest: int) -> Runtime:
    _need("openvino")
    from manip_perception.runtime_openvino import OpenVino

    return OpenVino(folder, threads, largest)


def _onnxruntime(folder: Path, threads: int, largest: int) -> Runtime:
    _need("onnxruntime")
    from manip_perception.runtime_onnx import OnnxRuntime

    return OnnxRuntime(folder, threads, largest)


def _torch_cuda(folder: Path, threads: int, largest: int) -> Runtime:
    _need("torch")
    if not any(Path(one).exists() for one in _NVIDIA):
        raise Unusable("no NVIDIA GPU on this machine")
    from manip_perception.runtime_torch import TorchCuda

    return TorchCuda(folder, largest)


def _torch_cpu(folder: Path, threads: int, largest: int) -> Runtime:
    _need("torch")
    from manip_perception.runtime_torch import TorchCpu

    return TorchCpu(folder, threads, largest)


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise Unusable(f"the package {package} is not installed")


RUNTIMES = {
    "torch_cuda": _torch_cuda,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
    "torch_cpu": _torch_cpu,
}
# Its kernels for eight bits are none, so it is only tried where nothing else works.
_FALLBACK = "torch_cpu"


def make_runtime(folder: str | Path, name: str, *, threads: int = 0, largest: int = 1) -> Runtime:
    """The runtime called ``name``.

    Raises:
        ValueError: There is none of that name.
        Unusable: It cannot be used here.
    """
    if name not in RUNTIMES:
        raise ValueError(f"runtime must be {AUTO} or one of {', '.join(RUNTIMES)}, got {name!r}")
    try:
        return RUNTIMES[name](Path(folder), usable_threads(threads), largest)
    except RuntimeError as error:
        # Libraries say so when a graph, a driver or a processor does not suit them.
        reason = next(filter(None, reversed(str(error).strip().splitlines())), "it fails")
        raise Unusable(f"it cannot load the network: {reason}") from error


def choose_runtime(
    folder: str | Path, asked: str = AUTO, *, threads: int = 0, largest: int = 1
) -> tuple[Runtime, str]:
    """The runtime asked for, or the fastest that can be used here, and what to say of it.

    Args:
        folder: Of the shipped model.
        asked: ``"auto"`` or one of ``RUNTIMES``.
        threads: Of a CPU's; 0: as many as there are.
        largest: Most crops in one call.

    Returns:
        The runtime, and a sentence with the measured latency for one crop of all that were tried.

    Raises:
        FileNotFoundError, ValueError: No such model, or no runtime of that name.
        Unusable: The one asked for, or none at all, can be used here; the message says why.
    """
    read_index(folder)
    if asked != AUTO:
        runtime = make_runtime(folder, asked, threads=threads, largest=largest)
        return runtime, f"runtime {asked}, {latency_ms(runtime):.1f} ms"
    found: dict[str, tuple[Runtime, float]] = {}
    said = {}
    for name in RUNTIMES:
        if name == _FALLBACK and found:
            continue
        try:
            runtime = make_runtime(folder, name, threads=threads, largest=largest)
        except Unusable as error:
            said[name] = str(error)
            continue
        found[name] = runtime, latency_ms(runtime)
        said[name] = f"{found[name][1]:.1f} ms"
    if not found:
        reasons = "; ".join(f"{name}: {why}" for name, why in said.items())
        raise Unusable(f"nothing here can run the pose transformer: {reasons}")
    best = min(found, key=lambda name: found[name][1])
    for name, (runtime, _) in found.items():
        if name != best:
            runtime.close()
    others = "; ".join(f"{name}: {what}" for name, what in said.items() if name != best)
    return found[best][0], f"runtime {best}, {said[best]}" + (f" ({others})" if others else "")


def latency_ms(runtime: Runtime, count: int = 1) -> float:
    """Median time for ``count`` crops of noise."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, 3, runtime.size, runtime.size), dtype=np.uint8)
    middle = (runtime.size - 1) / 2
    cameras = np.tile(np.float32((2 * middle, 2 * middle, middle, middle)), (count, 1))
    nothing = np.full(count, -1)
    for _ in range(_WARM_UP):
        runtime.infer(images, cameras, nothing, nothing)
    times, ends = [], time.perf_counter() + _MEASURED
    while not times or time.perf_counter() < ends:
        began = time.perf_counter()
        runtime.infer(images, cameras, nothing, nothing)
        times.append(time.perf_counter() - began)
    return float(np.median(times)) * 1e3
