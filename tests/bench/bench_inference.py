"""How fast the shipped pose transformer runs here, and how far each runtime is from the other.

``python tests/bench/run.py inference``. Other processes on the machine show in the figures: the
least times are what it can do, the medians what it did.
"""

import time
from pathlib import Path

import numpy as np

from manip_core.resources import find
from manip_model.export import Pictures
from manip_model.shards import read_index
from manip_perception.amt_estimator import MODEL
from manip_perception.runtimes import RUNTIMES, Runtime, Unusable, make_runtime

_SECONDS, _COUNTS = 4.0, (1, 2)


def times_ms(runtime: Runtime, pictures: Pictures, count: int) -> np.ndarray:
    """Times of calls with ``count`` crops each."""
    given = [x[:count].numpy() for x in (pictures.image, pictures.camera, pictures.side)]
    for _ in range(5):
        runtime.infer(*given, given[2])
    times, ends = [], time.perf_counter() + _SECONDS
    while time.perf_counter() < ends:
        began = time.perf_counter()
        runtime.infer(*given, given[2])
        times.append(time.perf_counter() - began)
    return 1e3 * np.array(times)


def joints(runtime: Runtime, pictures: Pictures) -> np.ndarray:
    """``(N, 21, 3)`` [m], relative to the wrist."""
    found = []
    for first in range(len(pictures.image)):
        one = slice(first, first + 1)
        given = [x[one].numpy() for x in (pictures.image, pictures.camera, pictures.side)]
        found.append(runtime.infer(*given, given[2])["joints"])
    found = np.concatenate(found)
    return found - found[:, :1]


def measure_inference(folder: Path | None = None) -> dict[str, float]:
    """Every runtime that can be used here, all heads: latency for one and two hands, frames/s, and
    the mean distance [mm] of its joints from those of torch in single precision, same weights.

    Args:
        folder: Of an exported model; None: the one that ships.

    Raises:
        FileNotFoundError: It is not there.
    """
    from manip_training.export_command import rendered_pictures

    folder = Path(folder or find(MODEL))
    size = read_index(folder)["config"]["image_size"]
    pictures = rendered_pictures(size, count=16, seed=7)
    figures: dict[str, float] = {}
    truth = None
    # The one in single precision first.
    for name in reversed(RUNTIMES):
        try:
            runtime = make_runtime(folder, name, largest=max(_COUNTS))
        except Unusable as error:
            print(f"[bench] {name} left out: {error}")
            continue
        seen = joints(runtime, pictures)
        truth = seen if truth is None else truth
        figures[f"infer_{name}_joints_mm"] = 1e3 * np.linalg.norm(seen - truth, axis=-1).mean()
        for count in _COUNTS:
            times = times_ms(runtime, pictures, count)
            figures[f"infer_{name}_{count}_ms_least"] = times.min()
            figures[f"infer_{name}_{count}_ms_p50"] = np.median(times)
        runtime.close()
    on_cpu = [
        value
        for name, value in figures.items()
        if name.endswith("_1_ms_p50") and "cuda" not in name
    ]
    figures["infer_cpu_fps"] = 1e3 / min(on_cpu)
    if "infer_torch_cuda_1_ms_p50" in figures:
        figures["infer_gpu_ms"] = figures["infer_torch_cuda_1_ms_p50"]
    return figures
