"""The kernels on a GPU: which are started over how many threads, and their work areas."""

from typing import Protocol

import torch

from manip_training.synthetic.cuda_module import CudaModule, Size
from manip_training.synthetic.kernel_scene import BORDER, SHADOW_SIZE, KernelScene

# Images in work at the same time; their work areas take some 3 MB each at 224 px.
AT_ONCE = 256
_LINE = (256, 1, 1)
_TILE = (16, 8, 1)


class Module(Protocol):
    """What kernels are started with."""

    def launch(self, kernel: str, grid: Size, block: Size, scene: KernelScene) -> None:
        """Start ``kernel`` over ``grid`` blocks of ``block`` threads."""


class GpuKernels:
    """Draws in a fixed order of launches, whatever is in the scenes.

    Attributes:
        module: Starts the kernels.
    """

    def __init__(self, device: torch.device, module: Module | None = None):
        self.module = module or CudaModule(device)
        self._device = device
        self._work = (torch.empty(0), torch.empty(0))

    def run(self, scene: KernelScene) -> None:
        """Queue all images of a scene whose work areas are still empty."""
        images = scene.images
        for first in range(0, images, AT_ONCE):
            scene.first, scene.images = first, min(AT_ONCE, images - first)
            self._give_work(scene, min(AT_ONCE, images))
            self._draw(scene)

    def _give_work(self, scene: KernelScene, room: int) -> None:
        """Work areas for ``room`` images or more, those of earlier calls if they are enough."""
        samples = (scene.size * scene.supersample) ** 2 + SHADOW_SIZE**2
        planes = 3 * scene.size * (scene.size + 2 * BORDER)
        vertices = scene.num_vertices
        # Keys, and bounds of four times four bytes, which take two keys' room.
        wanted = (room * (9 * vertices + 2 * planes), room * (samples + 2))
        if any(work.numel() < size for work, size in zip(self._work, wanted, strict=True)):
            self._work = (
                torch.empty(wanted[0], device=self._device),
                torch.empty(wanted[1], dtype=torch.int64, device=self._device),
            )
        self._work[1][: wanted[1]].zero_()
        at = self._work[0].data_ptr()
        for name, count in (
            ("normals", 3 * vertices),
            ("screen", 6 * vertices),
            ("linear", planes),
            ("blurred", planes),
        ):
            setattr(scene, name, at)
            at += 4 * room * count
        scene.visible = self._work[1].data_ptr()
        scene.bounds = self._work[1].data_ptr() + 8 * room * samples

    def _draw(self, scene: KernelScene) -> None:
        size, images = scene.size, scene.images
        vertices = (_blocks(scene.num_vertices, 256), images, 1)
        pixels = (_blocks(size, 16), _blocks(size, 8), images)
        values = (_blocks(size, 16), _blocks(3 * size, 8), images)
        for kernel, grid, block in (
            ("find_bounds", vertices, _LINE),
            ("place_vertices", vertices, _LINE),
            # A triangle is drawn by 32 threads; once for the camera and once for the light.
            ("draw_triangles", (_blocks(32 * scene.num_faces, 256), images, 2), _LINE),
            ("shade_pixels", pixels, _TILE),
            ("defocus_across", values, _TILE),
            ("defocus_down", values, _TILE),
            ("develop", pixels, _TILE),
        ):
            self.module.launch(kernel, grid, block, scene)


def _blocks(threads: int, block: int) -> int:
    return -(-threads // block)
