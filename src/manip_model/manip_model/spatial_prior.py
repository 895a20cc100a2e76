"""Convolutions beside the transformer: what is where, finely, and a first guess of the hand.

Patches of 14 px say little of where a fingertip is, and attention learns late to look for it. A
small convolutional pyramid (the "spatial prior" of Chen et al. 2023, "Vision Transformer Adapter
for Dense Predictions") knows neighbourhoods from the start: it draws heat maps of the keypoints at
a quarter of the picture's resolution, gives its features to the patches and to the refinement, and
guesses a hand, from which the heads go on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.config import ModelConfig
from manip_model.features import Features, Normalise, cell_shares
from manip_model.hand_numbers import NUMBERS, HandNumbers

# Finest map: so many pixels between its cells.
STRIDE = 4
# The gist hears the coarsest map in so many cells along each side.
_CELLS = 7


@dataclass
class PriorFeatures:
    """What the prior sees.

    Attributes:
        fine: ``(B, C, F, F)`` features, a cell every ``STRIDE`` px.
        tokens: ``(B, G*G, C)`` features of the patches, row by row.
        gist: ``(B, D)`` of the whole picture.
        numbers: The first guess; its heat map is ``(B, 21, F*F)``.
    """

    fine: Tensor
    tokens: Tensor
    gist: Tensor
    numbers: HandNumbers


class SpatialPrior(nn.Module):
    """From pictures ``(B, 3, S, S)``, as :class:`Normalise` takes them."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.prior_width
        two, four, eight, sixteen = width, 2 * width, 4 * width, 8 * width
        self.channels, self.gist_size = channels_of(config), sixteen * 2
        self.to_4 = nn.Sequential(_conv(3, two, 2), _conv(two, four, 2), _Residual(four))
        self.to_8 = nn.Sequential(_conv(four, eight, 2), _Residual(eight), _Residual(eight))
        self.to_16 = nn.Sequential(_conv(eight, sixteen, 2), _Residual(sixteen), _Residual(sixteen))
        self.lateral = nn.ModuleList(nn.Conv2d(c, self.channels, 1) for c in (four, eight, sixteen))
        self.mixed = _conv(self.channels, self.channels)
        self.heat = nn.Conv2d(self.channels, NUM_KEYPOINTS, 1)
        self.narrow = nn.Conv2d(sixteen, four, 1)
        self.gist = nn.Linear(four * _CELLS**2, self.gist_size)
        self.guess = nn.Linear(self.gist_size, sum(NUMBERS.values()))
        nn.init.trunc_normal_(self.guess.weight, std=0.3 * self.gist_size**-0.5)
        nn.init.zeros_(self.guess.bias)
        self.normalise = Normalise(config.image_size)
        cells_16 = -(-config.image_size // 16)
        cells_8 = -(-config.image_size // 8)
        self.register_buffer("to_cells", cell_shares(_CELLS, cells_16), persistent=False)
        self.register_buffer("to_patches", cell_shares(config.grid, cells_8), persistent=False)

    def forward(self, image: Tensor) -> PriorFeatures:
        """See the class."""
        picture = self.normalise(image, self.heat.weight.dtype)
        at_4 = self.to_4(picture.contiguous(memory_format=torch.channels_last))
        at_8 = self.to_8(at_4)
        at_16 = self.to_16(at_8)
        lateral_4, lateral_8, lateral_16 = self.lateral
        middle = lateral_8(at_8) + _enlarged(lateral_16(at_16), at_8)
        fine = self.mixed(lateral_4(at_4) + _enlarged(middle, at_4))
        cells = _pooled(self.narrow(at_16), self.to_cells)
        gist = F.gelu(self.gist(cells.flatten(1)))
        tokens = _pooled(middle, self.to_patches).flatten(2).transpose(1, 2)
        numbers = HandNumbers.of(self.guess(gist))
        numbers.heat = self.heat(fine).flatten(2)
        return PriorFeatures(fine=fine, tokens=tokens, gist=gist, numbers=numbers)


class Joined(nn.Module):
    """Adds what the prior sees to a backbone's features."""

    def __init__(self, prior: SpatialPrior, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(prior.channels)
        self.tokens = nn.Linear(prior.channels, width)
        self.gist = nn.Linear(prior.gist_size, width)

    def forward(self, features: Features, seen: PriorFeatures) -> Features:
        """Features with the prior's among them."""
        return Features(
            features.tokens + self.tokens(self.norm(seen.tokens)),
            features.summary + self.gist(seen.gist),
        )


def channels_of(config: ModelConfig) -> int:
    """Width of the prior's finest map; 0 where there is none."""
    return 3 * config.prior_width


def fine_grid(config: ModelConfig) -> int:
    """Cells along each side of the heat maps: the prior's, or else the patches."""
    return -(-config.image_size // STRIDE) if config.prior_width else config.grid


def _pooled(features: Tensor, shares: Tensor) -> Tensor:
    """``(B, C, H, H)`` in other cells ``(B, C, N, N)``, with :func:`cell_shares` ``(N, H)``."""
    shares = shares.to(features.dtype)
    return shares @ features @ shares.mT


def _enlarged(features: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(features, size=like.shape[-2:], mode="nearest")


class ConvNorm(nn.Module):
    """A 3x3 convolution and its batch norm, which :meth:`folded` makes one."""

    def __init__(self, before: int, after: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)``."""
        return self.norm(self.conv(x))

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """A plain layer that computes what this one does in evaluation mode."""
        conv, norm = self.conv, self.norm
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        plain = nn.Conv2d(*(conv.in_channels, conv.out_channels, 3, conv.stride, 1), device="meta")
        plain.weight = nn.Parameter(conv.weight * factor[:, None, None, None])
        plain.bias = nn.Parameter(norm.bias - factor * norm.running_mean)
        return plain


def fold_norms_(module: nn.Module) -> nn.Module:
    """Replace every :class:`ConvNorm` in ``module`` by a plain layer that computes the same."""
    for name, child in list(module.named_modules()):
        if type(child) is ConvNorm:
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, child.folded())
    return module


def unfolded(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """State of a :class:`ConvNorm` that computes what a plain layer with these does."""
    one = torch.ones_like(bias)
    return {
        "conv.weight": weight,
        "norm.weight": one,
        "norm.bias": bias,
        "norm.running_mean": torch.zeros_like(bias),
        "norm.running_var": one - nn.BatchNorm2d(1).eps,
        "norm.num_batches_tracked": torch.tensor(0),
    }


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(ConvNorm(before, after, stride), nn.ReLU())


class _Residual(nn.Module):
    """A basic block (He et al. 2016)."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = _conv(width, width), ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)``."""
        return F.relu(x + self.second(self.first(x)))
