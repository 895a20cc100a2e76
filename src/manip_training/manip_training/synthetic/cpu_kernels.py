"""The kernels on a CPU."""

import ctypes

import torch

from manip_training.synthetic.kernel_build import cpu_kernels
from manip_training.synthetic.kernel_scene import KernelScene

# Stages of the work, in the order of ``CpuKernels.spent``.
STAGES = ("vertices", "triangles", "light", "lens")


class CpuKernels:
    """Draws with as many threads as torch has; other Python threads run meanwhile.

    Attributes:
        spent: Processor time of all threads together in each of ``STAGES`` of the last call [s].
    """

    def __init__(self, device: torch.device):
        self.spent = dict.fromkeys(STAGES, 0.0)
        self._library = cpu_kernels()
        self._work = torch.empty(0, device=device)

    def run(self, scene: KernelScene) -> None:
        """Draw all images of a scene whose work areas are still empty."""
        threads = min(torch.get_num_threads(), scene.images)
        room = self._library.work_floats(scene.num_vertices, scene.size, scene.supersample)
        if self._work.numel() < room * threads:
            self._work = torch.empty(room * threads)
        spent = (ctypes.c_longlong * len(STAGES))()
        work = ctypes.c_void_p(self._work.data_ptr())
        self._library.render(ctypes.byref(scene), work, threads, spent)
        self.spent = {name: 1e-9 * value for name, value in zip(STAGES, spent, strict=True)}
