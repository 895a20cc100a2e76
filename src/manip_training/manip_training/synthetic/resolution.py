"""What happens to a picture between sensor and network: few pixels, sharpening, noise, JPEG.

A hand across the room covers some fifty pixels of a photo, which the crop enlarges; cameras sharpen
and compress before. Pictures are shrunk, changed at that size, and enlarged again, in fixed groups
of a batch, whose images are drawn independently: so shapes never depend on chance.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_training.synthetic.draw import Draw

# How many times fewer pixels along each side than a crop of 224 px images have, by their row in the
# batch, over and over: photographed hands are some 40 to 224 px wide, whatever the network's size.
SHRINK = (1, 2, 1, 3, 1, 2, 4, 5)
FULL = 224
BLOCK = 8
# Grey that is stored as 0.
MIDDLE = 128 / 255
# Quantisation of brightness and of colour at quality 50: ITU-T T.81, tables K.1 and K.2.
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99), (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99), (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)  # fmt: skip
# Brightness, and differences of blue and red from it (ITU-R BT.601, full range).
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


class Resolution:
    """Changes pictures; constants on one device.

    Args:
        size: Pixels along each side of the pictures, a multiple of 8.
        quality: Least and most JPEG quality.
        device: Of all tensors.
    """

    def __init__(self, size: int, quality: tuple[float, float], device: torch.device | str):
        if size % BLOCK:
            raise ValueError(f"size must be a multiple of {BLOCK} px, got {size}")
        self._size, self._quality = size, quality
        k = torch.arange(BLOCK)
        waves = torch.cos(math.pi / BLOCK * (k + 0.5) * k[:, None]) * math.sqrt(2 / BLOCK)
        waves[0] *= math.sqrt(0.5)
        # (64, 64): all coefficients of a block in one product, and back by its transpose.
        self._transform = torch.kron(waves, waves).T.contiguous().to(device)
        tables = torch.tensor((LUMA, CHROMA, CHROMA)).float()
        # Colour has half the resolution, as is usual: without the finer half of its waves.
        tables[1:, BLOCK // 2 :], tables[1:, :, BLOCK // 2 :] = math.inf, math.inf
        self._tables = tables.flatten(1)[:, None, None].to(device)  # (3, 1, 1, 64)
        # What sharpening adds to each wave: fine ones are raised the most.
        raised = (1 - torch.cos(math.pi / BLOCK * k)) / 2
        self._raised = (raised + raised[:, None]).flatten().to(device)
        to_ycc = torch.tensor(TO_YCC)
        self._to_ycc, self._to_rgb = to_ycc.to(device), torch.linalg.inv(to_ycc).to(device)

    def apply(self, image: Tensor, draw: Draw) -> Tensor:
        """``(B, 3, S, S)`` uint8 as cameras would have passed it on; pixels stay in their place."""
        quality = draw.uniform(*self._quality)
        sharpen = draw.uniform(0, 1.5) * draw.chance(0.5)
        noise = draw.uniform(0, 0.03, 1, 1, 1) * draw.chance(0.5, 1, 1, 1)
        changed = torch.empty_like(image)
        for first, shrink in enumerate(SHRINK[: len(image)]):
            rows = slice(first, None, len(SHRINK))
            part = image[rows].float() / 255
            side = max(round(FULL / shrink / BLOCK), 1) * BLOCK
            shrunk = side < self._size
            if shrunk:
                part = F.adaptive_avg_pool2d(part, side)
                # Grey; the larger pictures have that of the renderer.
                part = (part + noise[rows] * draw.normal_like(part[:, :1])).clamp(0, 1)
            part = self.compress(part, quality[rows], sharpen[rows])
            if shrunk:
                part = F.interpolate(part, self._size, mode="bilinear", align_corners=False)
            changed[rows] = (part.clamp(0, 1) * 255).round().to(torch.uint8)
        return changed

    def compress(self, image: Tensor, quality: Tensor, sharpen: Tensor) -> Tensor:
        """Pictures ``(B, 3, S, S)``, 0 to 1, after JPEG; S is a multiple of 8.

        Args:
            image: The pictures.
            quality: ``(B,)`` 1 to 99.
            sharpen: ``(B,)`` by how much the finest details are raised before, as a share.
        """
        high, wide = (side // BLOCK for side in image.shape[-2:])
        ycc = (self._to_ycc @ (image - MIDDLE).flatten(2)).view_as(image)
        blocks = ycc.unflatten(-1, (wide, BLOCK)).unflatten(-3, (high, BLOCK))
        # (B, 3, high, 8, wide, 8) -> (B, 3, high, wide, 64)
        waves = blocks.transpose(-3, -2).flatten(-2) @ self._transform
        scale = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
        step = (scale[:, None, None, None, None] * self._tables).round().clamp(min=1) / 255
        gain = (1 + sharpen[:, None] * self._raised)[:, None, None, None]
        whole = (waves * (gain / step)).round()
        blocks = torch.where(step.isinf(), 0.0, whole * step) @ self._transform.mT
        ycc = blocks.unflatten(-1, (BLOCK, BLOCK)).transpose(-3, -2).flatten(-4, -3).flatten(-2)
        return (self._to_rgb @ ycc.flatten(2)).view_as(image) + MIDDLE
