"""What encoders take and give."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Of ImageNet, with which DINOv2 was trained.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Features:
    """What an encoder sees: ``tokens`` ``(B, G*G, D)`` row by row, ``summary`` ``(B, D)``."""

    tokens: Tensor
    summary: Tensor

    def map(self) -> Tensor:
        """``(B, D, G, G)``."""
        grid = int(self.tokens.shape[1] ** 0.5)
        return self.tokens.transpose(1, 2).unflatten(-1, (grid, grid))


class Normalise(nn.Module):
    """Pictures of any usual dtype to what the network was trained on."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        """``(B, 3, S, S)`` RGB, uint8 of 0 to 255 or floating point of 0 to 1, as ``dtype``.

        Raises:
            ValueError: Another shape or dtype.
        """
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, self.size, self.size):
            raise ValueError(
                f"image must be (B, 3, {self.size}, {self.size}), got {tuple(image.shape)}: "
                "crop with manip_core.preprocessing"
            )
        if image.dtype == torch.uint8:
            image = image.to(torch.promote_types(dtype, torch.float32)) / 255
        elif not image.is_floating_point():
            raise ValueError(
                f"image must be uint8 of 0 to 255 or floating point of 0 to 1, got {image.dtype}"
            )
        return ((image - self.mean) / self.std).to(dtype)


def cell_shares(cells: int, grid: int) -> Tensor:
    """``(cells, grid)`` how much of each of ``cells`` is filled by each of ``grid`` in a line.

    Rows sum to one: a product with it averages over areas.
    """
    edges = torch.linspace(0, 1, cells + 1)
    parts = torch.linspace(0, 1, grid + 1)
    low = torch.maximum(edges[:-1, None], parts[None, :-1])
    high = torch.minimum(edges[1:, None], parts[None, 1:])
    return (high - low).clamp(min=0) * cells


def sample_features(features: Tensor, pixels: Tensor, size: int) -> Tensor:
    """Bilinear features ``(B, N, D)`` at ``pixels`` ``(B, N, 2)`` of a ``size`` px crop.

    Args:
        features: ``(B, D, G, G)`` over the whole crop.
        pixels: (0, 0) is the centre of the top left pixel; beyond the border the border's counts.
        size: Side of the crop [px].
    """
    # align_corners=False: -1 and 1 are the outer edges of the picture, half a pixel out.
    grid = (pixels + 0.5) * (2 / size) - 1
    # A place that is no number, or far out, makes grid_sample's backward pass read anywhere.
    grid = grid.nan_to_num(0.0).clamp(-3, 3)
    sampled = F.grid_sample(
        features, grid[:, :, None].to(features.dtype), padding_mode="border", align_corners=False
    )
    return sampled[..., 0].transpose(1, 2)
