"""Temporal fusion: a causal transformer over the last frames of hand, objects and contacts.

Each frame is three tokens. In the lower half of the layers each modality looks at its own past, in
the upper half all look at each other's; never farther back than the window, and never ahead. Time
enters by rotary embeddings (Su et al. 2021, "RoFormer") of the exposure itself, so frames may come
at any rate, and keys and values once computed stay valid: a frame costs the same whatever the
window (:class:`manip_perception.temporal.TemporalFilter` computes it so, without torch).
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manip_model.temporal_features import (
    NUM_ANSWERS,
    NUM_CONTACT_FEATURES,
    NUM_HAND_FEATURES,
    NUM_OBJECT_FEATURES,
)

MODALITIES = {
    "hand": NUM_HAND_FEATURES,
    "objects": NUM_OBJECT_FEATURES,
    "contacts": NUM_CONTACT_FEATURES,
}
# Slowest and fastest turn of a rotary embedding [rad/s]: a window and the step of a camera.
_SLOWEST, _FASTEST = 2.0, 60.0


@dataclass(frozen=True, kw_only=True)
class TemporalConfig:
    """Sizes.

    Attributes:
        window: Frames that are looked at, this one included.
        width, heads, layers: Of the transformer; the lower half of the layers looks at each
            modality by itself.
    """

    window: int = 16
    width: int = 96
    heads: int = 4
    layers: int = 4

    def __post_init__(self):
        if self.window < 1 or self.layers < 1:
            raise ValueError(f"window and layers must be 1 or more, got {self}")
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of twice the heads, got {self}")

    def to_dict(self) -> dict:
        """Plain values."""
        return asdict(self)


class TemporalFusion(nn.Module):
    """From features of frames to corrections of the hands seen in them.

    Args:
        config: Sizes.
        told: Modalities by name, and how many numbers tell each of them in a frame; the first one's
            token gives the answer.
        answers: Numbers that it answers for each frame.
    """

    def __init__(
        self,
        config: TemporalConfig | None = None,
        told: dict[str, int] | None = None,
        answers: int = NUM_ANSWERS,
    ):
        super().__init__()
        self.config = config = config or TemporalConfig()
        told, width = told or MODALITIES, config.width
        self.embed = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(size, width), nn.GELU(), nn.Linear(width, width))
                for name, size in told.items()
            }
        )
        self.modality = nn.Parameter(0.5 * torch.randn(len(told), width))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.answer = nn.Linear(width, answers)
        # At first the hand as it was seen.
        nn.init.normal_(self.answer.weight, std=1e-3)
        nn.init.zeros_(self.answer.bias)

    def forward(self, told: dict[str, Tensor], times: Tensor) -> Tensor:
        """``(B, T, answers)``, see :mod:`manip_model.temporal_features`.

        Args:
            told: ``(B, T, …)`` by modality.
            times: ``(B, T)`` exposures [s], from any moment on.
        """
        parts = [embed(told[name]) for name, embed in self.embed.items()]
        # (B, T, M, D) -> (B, M T, D), the frames' tokens side by side.
        tokens = (torch.stack(parts, 2) + self.modality).flatten(1, 2)
        frames, kinds = times.shape[1], len(parts)
        turn = rotary(times.repeat_interleave(kinds, 1), self.config)
        frame = torch.arange(frames, device=times.device).repeat_interleave(kinds)
        kind = torch.arange(kinds, device=times.device).repeat(frames)
        back = frame[:, None] - frame
        near = (back >= 0) & (back < self.config.window)
        own = near & (kind[:, None] == kind)
        for number, layer in enumerate(self.layers):
            lower = number < self.config.layers // 2
            tokens = layer(tokens, turn, own if lower else near)
        return self.answer(self.norm(tokens[:, ::kinds]))


class _Layer(nn.Module):
    """Pre-norm attention and perceptron."""

    def __init__(self, config: TemporalConfig):
        super().__init__()
        width, self.heads = config.width, config.heads
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.query_key_value(self.norm_attention(x)).chunk(3, -1)
        )
        q, k = _turned(q, turn), _turned(k, turn)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))


def frequencies(config: TemporalConfig) -> list[float]:
    """Turns [rad/s] of the pairs of a head's channels."""
    count = config.width // config.heads // 2
    steps = [i / max(count - 1, 1) for i in range(count)]
    return [math.exp(math.log(_SLOWEST) + s * math.log(_FASTEST / _SLOWEST)) for s in steps]


def rotary(times: Tensor, config: TemporalConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``(B, 1, N, D/2)`` of tokens at ``(B, N)`` [s]."""
    rates = torch.tensor(frequencies(config), device=times.device, dtype=torch.float64)
    angle = (times.double()[..., None] * rates)[:, None]
    return angle.cos().float(), angle.sin().float()


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cosine, sine = turn
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), -1)
