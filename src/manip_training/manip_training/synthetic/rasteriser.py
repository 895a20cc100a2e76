"""Draws batches of scenes, on a CPU or a GPU from one kernel source.

What is drawn is specified by :mod:`manip_training.synthetic.reference`, in slow and plain terms;
the kernels in ``kernels/`` make the same pictures quickly. They deviate in one thing: a pixel whose
samples all show the same smooth surface is shaded once, at its centre.
"""

from collections.abc import Callable, Hashable
from dataclasses import fields
from typing import TypeVar

import torch
from torch import Tensor

from manip_training.synthetic.bank import bank_of
from manip_training.synthetic.cpu_kernels import CpuKernels
from manip_training.synthetic.gpu_kernels import GpuKernels
from manip_training.synthetic.kernel_scene import MOST_SUPERSAMPLE, KernelScene
from manip_training.synthetic.render_input import (
    LENS,
    MATERIAL,
    NUM_LIGHTS,
    PLACEMENT,
    Rendered,
    RenderInput,
)
from manip_training.synthetic.topology import topology_of

_KEPT = 4  # lists of triangles, and banks, that are remembered
_Made = TypeVar("_Made")


class Rasteriser:
    """Draws scenes at one size, on the device that they lie on; not for two threads at once.

    Attributes:
        size: Side of the pictures [px].
        supersample: Samples across a pixel, for smooth edges.
    """

    def __init__(self, size: int = 224, supersample: int = 2):
        if not 8 <= size <= 2048:
            raise ValueError(f"size must be 8 to 2048 px, got {size}")
        if not 1 <= supersample <= MOST_SUPERSAMPLE:
            raise ValueError(f"supersample must be 1 to {MOST_SUPERSAMPLE}, got {supersample}")
        self.size = size
        self.supersample = supersample
        self._kernels: dict[torch.device, CpuKernels | GpuKernels] = {}
        self._remembered: dict[Hashable, tuple[tuple[Tensor, ...], object]] = {}

    def render(self, scene: RenderInput) -> Rendered:
        """The pictures of a batch, on the scene's device; the work areas stay for the next call.

        On a CPU as many threads work as torch has. On a GPU the work is queued on the current
        stream; from the second call on with the same faces and backgrounds it neither waits for the
        device nor reserves anything but the result, so that it can be captured into a graph.

        Raises:
            ValueError: A tensor of the scene is not as :class:`RenderInput` says.
        """
        check(scene)
        count, device = len(scene), scene.vertices.device
        out = Rendered(
            image=torch.empty(count, 3, self.size, self.size, dtype=torch.uint8, device=device),
            depth=torch.empty(count, self.size, self.size, device=device),
            part=torch.empty(count, self.size, self.size, dtype=torch.uint8, device=device),
        )
        if count:
            filled, used = self._fill(scene, out)
            self.kernels(device).run(filled)
            del used  # until here the kernels read them
        return out

    def kernels(self, device: torch.device) -> CpuKernels | GpuKernels:
        """What draws on a device."""
        if device not in self._kernels:
            made = GpuKernels if device.type == "cuda" else CpuKernels
            self._kernels[device] = made(device)
        return self._kernels[device]

    def _fill(self, scene: RenderInput, out: Rendered) -> tuple[KernelScene, list[Tensor]]:
        """The kernels' structure, and the tensors that it points into."""
        sizes = (scene.vertices.shape[1], scene.material.shape[1])
        faces, part = scene.faces, scene.face_part
        topology = self._remember(sizes, (faces, part), lambda: topology_of(faces, part, *sizes))
        bank = self._remember("bank", (scene.backgrounds,), lambda: bank_of(scene.backgrounds))
        tensors = {name: getattr(scene, name).contiguous() for name in _PER_IMAGE}
        tensors |= {
            **{"faces": topology.faces, "face_part": topology.part, "face_group": topology.group},
            **{"ring_start": topology.ring_start, "ring": topology.ring, "bank": bank.texels},
            **{"image": out.image, "depth": out.depth, "part": out.part},
        }
        filled = KernelScene(
            images=len(scene),
            num_vertices=sizes[0],
            num_faces=len(faces),
            num_parts=sizes[1],
            num_backgrounds=len(scene.backgrounds),
            bank_height=bank.height,
            bank_width=bank.width,
            bank_levels=bank.levels,
            bank_texels=bank.texels.shape[1],
            size=self.size,
            supersample=self.supersample,
            **{name: tensor.data_ptr() for name, tensor in tensors.items()},
        )
        return filled, list(tensors.values())

    def _remember(
        self, kind: Hashable, sources: tuple[Tensor, ...], make: Callable[[], _Made]
    ) -> _Made:
        """What was made of tensors before, if they are the same and unchanged."""
        # The sources are held, so no other tensor can take their place in memory.
        key = (kind, *map(_identity, sources))
        if key not in self._remembered:
            while len(self._remembered) >= _KEPT:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = (sources, make())
        return self._remembered[key][1]


_SHARED = ("faces", "face_part", "backgrounds")
_PER_IMAGE = tuple(f.name for f in fields(RenderInput) if f.name not in _SHARED)
_WHOLE = ("faces", "face_part", "background", "seed")


def _identity(tensor: Tensor) -> Hashable:
    """Differs when a tensor is another one or has changed."""
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr(), tensor.shape, tensor.stride(), version, tensor.device


def check(scene: RenderInput) -> None:
    """Compare a scene with what :class:`RenderInput` says of it.

    Raises:
        ValueError: It does not fit; the message says what came and what was expected.
    """
    for name in ("vertices", "faces", "material", "backgrounds"):
        value, axes = getattr(scene, name), {"faces": 2, "backgrounds": 4}.get(name, 3)
        per_image = name in ("vertices", "material")
        if value.ndim != axes or 0 in value.shape[per_image:]:
            raise ValueError(f"{name} must have {axes} axes, none empty, got {tuple(value.shape)}")
    count, vertices = scene.vertices.shape[:2]
    parts = scene.material.shape[1]
    shapes = {
        **{name: (count, vertices, 3) for name in ("vertices", "texture", "colour")},
        **{name: (count, 3) for name in ("sky", "ground", "up", "background_gain")},
        **{name: (count,) for name in ("background", "seed", "mirror")},
        "faces": (len(scene.faces), 3),
        "face_part": (len(scene.faces),),
        "material": (count, parts, len(MATERIAL)),
        "lights": (count, NUM_LIGHTS, 6),
        "camera": (count, 4),
        "backgrounds": (len(scene.backgrounds), 3, *scene.backgrounds.shape[2:]),
        "placement": (count, len(PLACEMENT)),
        "lens": (count, len(LENS)),
    }
    types = {name: torch.int32 for name in _WHOLE}
    types |= {"backgrounds": torch.uint8, "mirror": torch.bool}
    device = scene.vertices.device
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"scenes are drawn on cpu or cuda, not {device}")
    for name, shape in shapes.items():
        value, dtype = getattr(scene, name), types.get(name, torch.float32)
        if (tuple(value.shape), value.dtype, value.device) != (shape, dtype, device):
            raise ValueError(
                f"{name} must be {shape} {dtype} on {device}, got "
                f"{tuple(value.shape)} {value.dtype} on {value.device}"
            )
    if parts > 255:
        raise ValueError(f"at most 255 parts fit the map of parts, got {parts}")
