"""How fast pictures are drawn and labelled, and what of it takes how long.

``python tests/bench/run.py render``. The GPU is measured where there is one.
"""

import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch

from manip_training.cuda_graphs import RecordedWorld
from manip_training.synthetic.kernel_scene import KernelScene
from manip_training.synthetic.rasteriser import Rasteriser
from manip_training.synthetic.render_input import RenderInput
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from render_fixtures import table_scene

SIZE = 224
_CPU_IMAGES, _CPU_ROUNDS = 32, 5
_GPU_IMAGES, _GPU_ROUNDS = 1024, 10


def measure_render() -> dict[str, float]:
    """Pictures of 224 px of a hand, a ball and a box: 3,854 triangles, a third of them blurred.

    Returns:
        ``render_images_s_cpu`` on all cores, ``render_cpu_ms`` an image on one core, in all and by
        stages; with a GPU also ``render_raster_images_s``, ``render_gpu_*_us`` an image by kernels,
        and ``render_images_s``: of the whole world, scenes drawn and labelled, blurred and
        compressed.
    """
    figures = _measure_cpu()
    if torch.cuda.is_available():
        figures |= _measure_gpu() | {"render_images_s": _measure_world()}
    return figures


def _measure_cpu() -> dict[str, float]:
    rasteriser = Rasteriser(SIZE)
    scene = table_scene(SIZE, _CPU_IMAGES)
    kernels = rasteriser.kernels(torch.device("cpu"))
    rasteriser.render(scene)
    rounds = []
    for _ in range(_CPU_ROUNDS):
        begun = time.perf_counter()
        rasteriser.render(scene)
        rounds.append((time.perf_counter() - begun, dict(kernels.spent)))
    best = min(rounds, key=lambda each: sum(each[1].values()))[1]
    stages = {f"render_cpu_{name}_ms": 1e3 * s / _CPU_IMAGES for name, s in best.items()}
    return {
        "render_images_s_cpu": _CPU_IMAGES / min(seconds for seconds, _ in rounds),
        "render_cpu_ms": sum(stages.values()),
        **stages,
    }


def _measure_gpu() -> dict[str, float]:
    rasteriser = Rasteriser(SIZE)
    few = table_scene(SIZE, 32).to("cuda")
    scene = few[torch.arange(_GPU_IMAGES, device="cuda") % 32]
    rasteriser.render(scene)
    stages = _kernel_times(rasteriser, scene)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        rasteriser.render(scene)
    seconds = _gpu_seconds(graph.replay)
    return {"render_raster_images_s": _GPU_IMAGES / seconds, **stages}


def _measure_world() -> float:
    device = torch.device("cuda")
    recorded = RecordedWorld(SyntheticWorld(WorldConfig(), device, SIZE), _GPU_IMAGES, device)
    seeds = count()
    return _GPU_IMAGES / _gpu_seconds(lambda: recorded.batch(next(seeds)))


def _gpu_seconds(run: Callable[[], object]) -> float:
    """Of one of many runs, after one that does not count."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    run()
    begin.record()
    for _ in range(_GPU_ROUNDS):
        run()
    end.record()
    torch.cuda.synchronize()
    return 1e-3 * begin.elapsed_time(end) / _GPU_ROUNDS


class _Timed:
    """Starts kernels with an event before and after each."""

    def __init__(self, module):
        self.events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._module = module

    def launch(self, kernel, grid, block, scene: KernelScene) -> None:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        self._module.launch(kernel, grid, block, scene)
        end.record()
        self.events.append((kernel, begin, end))


def _kernel_times(rasteriser: Rasteriser, scene: RenderInput) -> dict[str, float]:
    """Microseconds an image of every kernel."""
    kernels = rasteriser.kernels(scene.vertices.device)
    plain, timed = kernels.module, _Timed(kernels.module)
    kernels.module = timed
    try:
        rasteriser.render(scene)
    finally:
        kernels.module = plain
    torch.cuda.synchronize()
    times: dict[str, float] = {}
    for kernel, begin, end in timed.events:
        name = f"render_gpu_{kernel}_us"
        times[name] = times.get(name, 0.0) + 1e3 * begin.elapsed_time(end) / len(scene)
    return times
