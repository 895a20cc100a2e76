"""The pinhole camera of a batch of crops, whatever form it comes in."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from manip_core.camera import CameraIntrinsics

_NAMES = ("fx", "fy", "cx", "cy")
# RealSense's names for the principal point, as in DexYCB's calibration.
_ALIASES = {"cx": ("ppx",), "cy": ("ppy",)}


@dataclass(frozen=True)
class CropCamera:
    """Intrinsics of B crops without lens distortion.

    Attributes:
        parameters: ``(B, 4)`` fx, fy, cx, cy in [px] of the crop; (0, 0) is the centre of the
            top left pixel.
    """

    parameters: Tensor

    def __post_init__(self):
        p = self.parameters
        if p.ndim != 2 or p.shape[1] != 4:
            raise ValueError(
                f"camera parameters must be (B, 4): fx, fy, cx, cy; got {tuple(p.shape)}"
            )
        if not p.is_floating_point():
            raise ValueError(f"camera parameters must be floating point, got {p.dtype}")

    @classmethod
    def of(cls, given, size: int, device=None, dtype: torch.dtype = torch.float32) -> "CropCamera":
        """Cameras for ``size`` crops.

        Args:
            given: Another :class:`CropCamera`; a :class:`CameraIntrinsics` without distortion, or a
                sequence of them; a mapping with fx, fy and cx, cy (or ppx, ppy), each a number or
                ``(B,)``; ``(3, 3)`` or ``(B, 3, 3)`` matrices; ``(4,)`` or ``(B, 4)`` values.
            size: B; a single camera serves all.

        Raises:
            ValueError: Another form or another number of cameras, or focal lengths that are not
                positive; the message says what came.
        """
        if isinstance(given, cls):
            p = given.parameters
        elif isinstance(given, CameraIntrinsics):
            p = _of_intrinsics(given)
        elif isinstance(given, Mapping):
            p = _of_mapping(given)
        elif isinstance(given, (list, tuple)) and given and isinstance(given[0], CameraIntrinsics):
            p = torch.stack([_of_intrinsics(one) for one in given])
        else:
            p = torch.as_tensor(given)
            if p.shape[-2:] == (3, 3):
                p = torch.stack((p[..., 0, 0], p[..., 1, 1], p[..., 0, 2], p[..., 1, 2]), dim=-1)
        p = p.to(device=device, dtype=dtype)
        if p.ndim == 1 and len(p) == 4:
            p = p.expand(size, 4)
        if tuple(p.shape) != (size, 4):
            raise ValueError(
                f"camera must be fx, fy, cx, cy as a mapping, (4,), ({size}, 4), (3, 3) or "
                f"({size}, 3, 3), got {tuple(p.shape)}"
            )
        # On a GPU the check would wait for all work before it.
        checked = p.device.type == "cpu" and not torch.compiler.is_compiling()
        if checked and not (torch.isfinite(p).all() and (p[:, :2] > 0).all()):
            raise ValueError(f"fx and fy must be positive and all finite, got {p.tolist()}")
        return cls(p)

    @property
    def focal(self) -> Tensor:
        """``(B, 2)`` fx, fy [px]."""
        return self.parameters[:, :2]

    @property
    def centre(self) -> Tensor:
        """``(B, 2)`` cx, cy [px]."""
        return self.parameters[:, 2:]

    def project(self, points: Tensor) -> Tensor:
        """Pixels ``(B, N, 2)`` of points ``(B, N, 3)`` in [m]; depths below 1 cm count as 1 cm."""
        depth = points[..., 2:].clamp(min=0.01)
        return points[..., :2] / depth * self.focal[:, None] + self.centre[:, None]

    def unproject(self, pixels: Tensor, depth: Tensor) -> Tensor:
        """Points ``(B, N, 3)`` in [m] at ``depth`` ``(B, N)`` in [m] on the pixels' lines."""
        slopes = (pixels - self.centre[:, None]) / self.focal[:, None]
        return torch.cat((slopes * depth[..., None], depth[..., None]), dim=-1)


def _of_intrinsics(camera: CameraIntrinsics) -> Tensor:
    if camera.distortion:
        raise ValueError("the crop's camera must have no lens distortion: undistort the picture")
    return torch.tensor((camera.fx, camera.fy, camera.cx, camera.cy))


def _of_mapping(given: Mapping) -> Tensor:
    values = []
    for name in _NAMES:
        found = [key for key in (name, *_ALIASES.get(name, ())) if key in given]
        if not found:
            raise ValueError(
                f"camera must have {', '.join(_NAMES)}, got {', '.join(map(str, given))}"
            )
        values.append(torch.as_tensor(given[found[0]], dtype=torch.float32))
    return torch.stack(torch.broadcast_tensors(*values), dim=-1)
