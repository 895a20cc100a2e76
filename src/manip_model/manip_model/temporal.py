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

from manip_model.light_layer import LightLayer
from manip_model.temporal_features import (
    ANSWERS,
    NUM_ANSWERS,
    NUM_CONTACT_FEATURES,
    NUM_FRAME_FEATURES,
    NUM_HAND_FEATURES,
    NUM_OBJECT_FEATURES,
    ROWS,
    TURNS,
    turns,
)

MODALITIES = {
    "hand": NUM_HAND_FEATURES,
    "objects": NUM_OBJECT_FEATURES,
    "contacts": NUM_CONTACT_FEATURES,
}
# Slowest and fastest turn of a rotary embedding [rad/s]: a window and the step of a camera.
_SLOWEST, _FASTEST = 2.0, 60.0
_DROPPED = 0.1


@dataclass(frozen=True, kw_only=True)
class TemporalConfig:
    """Sizes.

    Attributes:
        window: Frames that are looked at, this one included.
        width, heads, layers: Of the transformer; the lower half of the layers looks at each
            modality by itself.
        direct: Width of a perceptron that corrects each hand by what the frame alone tells of it:
            what an estimator always gets wrong of such a hand. 0 for none.
    """

    window: int = 16
    width: int = 96
    heads: int = 4
    layers: int = 4
    direct: int = 0

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
        self.layers = nn.ModuleList(LightLayer(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.answer = nn.Linear(width, answers)
        self.direct = None
        if config.direct:
            self.direct = _perceptron(NUM_FRAME_FEATURES, config.direct, ANSWERS["correction"])
        # At first the hand as it was seen.
        for last in (self.answer, *([self.direct[-1]] if self.direct else [])):
            nn.init.normal_(last.weight, std=1e-3)
            nn.init.zeros_(last.bias)

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
        answer = self.answer(self.norm(tokens[:, ::kinds]))
        if self.direct is None:
            return answer
        return answer + F.pad(self.corrected(told), (0, answer.shape[-1] - ANSWERS["correction"]))

    def corrected(self, told: dict[str, Tensor], ways: int = TURNS) -> Tensor:
        """``(…, 66)`` the perceptron's part of the correction, which comes first in the answer.

        Args:
            told: ``(…, n)`` by modality.
            ways: Turns about the line of sight over which it is averaged: a hand may be held any
                way, and what is wrong with it turns along.
        """
        frame = next(iter(told.values()))[..., :NUM_FRAME_FEATURES]
        hand, rest = frame.split((3 * ROWS, NUM_FRAME_FEATURES - 3 * ROWS), -1)
        turn = torch.as_tensor(turns(ways), dtype=frame.dtype, device=frame.device)
        hands = hand.unflatten(-1, (1, ROWS, 3)) @ turn.mT  # (…, ways, ROWS, 3)
        rest = rest[..., None, :].expand(*hands.shape[:-2], -1)
        said = self.direct(torch.cat((hands.flatten(-2), rest), -1))
        return (said.unflatten(-1, (ROWS, 3)) @ turn).mean(-3).flatten(-2)


def _perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Two hidden layers. It could learn thousands of hands by heart, so it never hears all of what
    it knows."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.GELU(),
        nn.Dropout(_DROPPED),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Dropout(_DROPPED),
        nn.Linear(width, outputs),
    )


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
