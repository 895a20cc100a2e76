"""The backgrounds as the kernels read them: four bytes a texel, and ever more blurred."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

GAMMA = 2.2
MOST_LEVELS = 8
_AT_ONCE = 1 << 24  # texels in work at the same time


@dataclass(frozen=True, kw_only=True)
class Bank:
    """N pictures and their levels.

    Attributes:
        texels: ``(N, T)`` int32: red, green and blue in the bytes from the lowest up, level after
            level, each half as wide and high as the one before (rounded down).
        height, width: Of the first level.
        levels: How many.
    """

    texels: Tensor
    height: int
    width: int
    levels: int


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of each level, down to 4 texels or ``MOST_LEVELS``."""
    sizes = [(height, width)]
    while len(sizes) < MOST_LEVELS and min(sizes[-1]) >= 8:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def next_level(light: Tensor) -> Tensor:
    """``(N, 3, H, W)`` linear light at half the size: a binomial filter of 4 by 4."""
    height, width = light.shape[-2] // 2, light.shape[-1] // 2
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=light.device, dtype=light.dtype) / 8
    kernel = (taps[:, None] * taps).expand(3, 1, 4, 4)
    padded = functional.pad(light, (1, 2, 1, 2), mode="replicate")
    return functional.conv2d(padded, kernel, stride=2, groups=3)[..., :height, :width]


def bank_of(backgrounds: Tensor) -> Bank:
    """Levels of ``(N, 3, H, W)`` uint8 pictures; the light is averaged, not the encoded values."""
    count, _, height, width = backgrounds.shape
    sizes = level_sizes(height, width)
    total = sum(high * wide for high, wide in sizes)
    texels = torch.empty(count, total, dtype=torch.int32, device=backgrounds.device)
    step = max(1, _AT_ONCE // (height * width))
    for start in range(0, count, step):
        part = backgrounds[start : start + step]
        light = (part.float() / 255) ** GAMMA
        at = 0
        for level, (high, wide) in enumerate(sizes):
            if level:
                light = next_level(light)
                part = (light.clamp(0, 1) ** (1 / GAMMA) * 255).round()
            red, green, blue = part.to(torch.int32).flatten(2).unbind(1)
            texels[start : start + step, at : at + high * wide] = red | green << 8 | blue << 16
            at += high * wide
    return Bank(texels=texels, height=height, width=width, levels=len(sizes))
