"""OpenVINO on the CPU: a graph for each number of crops, for shapes that are fixed run faster."""

from pathlib import Path

import numpy as np
import openvino as ov

from manip_model.graph_names import GRAPH, INPUTS, OUTPUTS
from manip_model.shards import read_index
from manip_perception.runtimes import Runtime


class OpenVino(Runtime):
    """See :class:`manip_perception.runtimes.Runtime`."""

    name = "openvino"

    def __init__(self, folder: Path, threads: int, largest: int):
        self.size = read_index(folder)["config"]["image_size"]
        self.largest = largest
        core = ov.Core()
        # Links are followed first: weights must lie beside the graph that names them.
        graph = core.read_model((folder / GRAPH).resolve())
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # A thread that is bound to a busy core waits for it, and all others for the thread:
            # beside two other processes on two cores, 1007 ms a picture instead of 119.
            "ENABLE_CPU_PINNING": False,
            # Where the CPU has bfloat16 it is the default, and metres need more than eight bits.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self._requests = {}
        for count in range(1, largest + 1):
            shapes = ((count, 3, self.size, self.size), (count, 4), (count,), (count,))
            graph.reshape(dict(zip(INPUTS, map(list, shapes), strict=True)))
            compiled = core.compile_model(graph, "CPU", settings)
            self._requests[count] = compiled.create_infer_request()

    def _infer(self, images, cameras, sides, hints) -> dict[str, np.ndarray]:
        found = self._requests[len(images)].infer(
            dict(zip(INPUTS, (images, cameras, sides, hints), strict=True))
        )
        return {name: found[name] for name in OUTPUTS}

    def close(self) -> None:
        self._requests = {}
