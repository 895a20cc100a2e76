"""PyTorch: on an NVIDIA GPU as captured CUDA graphs in bfloat16, and on any CPU."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from manip_model.camera import CropCamera
from manip_model.checkpoint import load_model
from manip_model.graph_names import OUTPUTS
from manip_model.pose_network import PoseNetwork
from manip_perception.runtimes import Runtime, Unusable

# Runs before a graph is captured: libraries choose their kernels and allocate their workspaces.
_WARM_UP = 3


class TorchCpu(Runtime):
    """See :class:`manip_perception.runtimes.Runtime`."""

    name = "torch_cpu"

    def __init__(self, folder: Path, threads: int, largest: int):
        torch.set_num_threads(threads)
        self._model = load_model(folder).fold_().float()
        self._model.settle(torch.device("cpu"), torch.float32)
        self.size, self.largest = self._model.config.image_size, largest

    @torch.inference_mode()
    def _infer(self, images, cameras, sides, hints) -> dict[str, np.ndarray]:
        image, camera, side, hint = map(torch.from_numpy, (images, cameras, sides, hints))
        found = self._model(image, camera, side, hint)
        return {name: getattr(found, name).numpy() for name in OUTPUTS}

    def close(self) -> None:
        self._model = None


class TorchCuda(Runtime):
    """See :class:`manip_perception.runtimes.Runtime`."""

    name = "torch_cuda"

    def __init__(self, folder: Path, largest: int):
        if not torch.cuda.is_available():
            raise Unusable("PyTorch finds no GPU: its build is for the CPU, or the driver is older")
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            raise Unusable("the GPU has no bfloat16")
        device = torch.device("cuda")
        model = load_model(folder, device).fold_()
        model.settle(device, torch.bfloat16)
        half_(model)
        self.size, self.largest = model.config.image_size, largest
        self._graphs = {count: _Captured(model, count, device) for count in range(1, largest + 1)}

    def _infer(self, images, cameras, sides, hints) -> dict[str, np.ndarray]:
        return self._graphs[len(images)](images, cameras, sides, hints)

    def close(self) -> None:
        self._graphs = {}


def half_(model: PoseNetwork) -> PoseNetwork:
    """Keep matrices as bfloat16, to which autocast would else bring them for every picture."""
    for module in model.modules():
        if type(module) is nn.Linear:
            module.to(torch.bfloat16)
    return model


class _Captured:
    """The network for a fixed number of crops as one CUDA graph: it starts as one, not as a
    thousand kernels, whose launches would take longer than their work."""

    def __init__(self, model: PoseNetwork, count: int, device: torch.device):
        size = model.config.image_size
        # Pinned, so that copies are the GPU's own work and lie in the same queue.
        shapes = ((count, 3, size, size), (count, 4), (count,), (count,))
        dtypes = (torch.uint8, torch.float32, torch.int64, torch.int64)
        self._host = [
            torch.zeros(shape, dtype=dtype, pin_memory=True)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        # Until a real camera comes, one that divides nothing by zero.
        self._host[1].fill_(float(size))
        self._device = [host.to(device) for host in self._host]
        self._graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._compute(model)
        torch.cuda.current_stream(device).wait_stream(stream)
        torch.cuda.synchronize(device)
        with torch.inference_mode(), torch.cuda.graph(self._graph):
            # Held: their memory is where the graph writes.
            self._found = self._compute(model)
        self._results = [
            torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in self._found
        ]

    def _compute(self, model: PoseNetwork) -> list[Tensor]:
        image, camera, side, hint = self._device
        # A graph's casts must not be taken out of a cache that is emptied behind its back.
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            found = model(image, CropCamera(camera), side, hint)
        return [getattr(found, name) for name in OUTPUTS]

    def __call__(self, *given: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name for arrays as :meth:`Runtime.infer` takes them."""
        for host, device, array in zip(self._host, self._device, given, strict=True):
            host.numpy()[...] = array
            device.copy_(host, non_blocking=True)
        self._graph.replay()
        for result, found in zip(self._results, self._found, strict=True):
            result.copy_(found, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return {
            name: result.numpy().copy() for name, result in zip(OUTPUTS, self._results, strict=True)
        }
