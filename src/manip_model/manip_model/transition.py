"""The transition model: a transformer from the hands around a gap to those within it.

Each number of a hand (an angle, a way) is a token that tells its own frames, and all look at each
other: joints begin and end together. All share their weights, so that what is learnt of how one
moves holds for all. :mod:`manip_perception.transition` computes the same without torch.
"""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manip_model.hand_state import NUM_BENDS
from manip_model.light_layer import LightLayer
from manip_model.rotations import matrix_from_rotvec
from manip_model.transition_features import NUM_ANSWERS, NUM_HAND_ANSWERS, NUM_TOLD, NUM_VALUES


@dataclass(frozen=True, kw_only=True)
class TransitionConfig:
    """Sizes of the transformer."""

    width: int = 96
    heads: int = 4
    layers: int = 4

    def __post_init__(self):
        if self.layers < 1 or self.heads < 1:
            raise ValueError(f"heads and layers must be 1 or more, got {self}")
        if self.width < 1 or self.width % self.heads:
            raise ValueError(f"width must be a multiple of the heads, got {self}")

    def to_dict(self) -> dict:
        """Plain values."""
        return asdict(self)


class TransitionNetwork(nn.Module):
    """From features of gaps to what is mixed and added.

    Args:
        config: Sizes.
        told, answers: Numbers that are told and answered of each number of a hand; others for
            refinement.
    """

    def __init__(
        self,
        config: TransitionConfig | None = None,
        told: int = NUM_TOLD,
        answers: int = NUM_ANSWERS,
    ):
        super().__init__()
        self.config = config = config or TransitionConfig()
        width = config.width
        self.embed = nn.Sequential(nn.Linear(told, width), nn.GELU(), nn.Linear(width, width))
        self.number = nn.Parameter(0.5 * torch.randn(NUM_VALUES, width))
        self.layers = nn.ModuleList(
            LightLayer(config.width, config.heads) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.answer = nn.Linear(width, answers)
        self.hand = nn.Linear(width, NUM_HAND_ANSWERS)
        # At first a spline.
        for head in (self.answer, self.hand):
            nn.init.normal_(head.weight, std=1e-3)
            nn.init.zeros_(head.bias)

    def forward(self, told: Tensor) -> tuple[Tensor, Tensor]:
        """Answers ``(B, NUM_VALUES, …)`` and ``(B, NUM_HAND_ANSWERS)``, see
        :mod:`manip_model.transition_features`.

        Args:
            told: ``(B, NUM_VALUES, …)``.
        """
        tokens = self.embed(told) + self.number
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        return self.answer(tokens), self.hand(tokens.mean(1))


def joints_dm(values: Tensor, palm: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Joints from the wrist ``(B, T, 21, 3)`` and wrists ``(B, T, 3)``, all in [dm].

    :func:`manip_model.transition_features.hands_of`, differentiable, in the frame of the hand that
    the values are told against.

    Args:
        values: ``(B, T, NUM_VALUES)``.
        palm, lengths: ``(B, 5, 3)`` and ``(B, 15)`` [m].
    """
    bends, turned, moved = values.split((2 * NUM_BENDS, 3, 3), -1)
    bends = F.pad(bends.unflatten(-1, (5, 3, 2)), (1, 0))
    turns = matrix_from_rotvec(bends)  # (B, T, 5, 3, 3, 3)
    at = 10.0 * palm[:, None].expand(-1, values.shape[1], -1, -1)
    frame = matrix_from_rotvec(_from_x(palm))[:, None]
    reach = 10.0 * lengths.unflatten(-1, (5, 3))[:, None, ..., None]
    points = [at]
    for level in range(3):
        frame = frame @ turns[..., level, :, :]
        at = at + reach[..., level, :] * frame[..., 0]
        points.append(at)
    local = torch.stack(points, -2).flatten(2, 3)  # (B, T, 20, 3)
    local = F.pad(local, (0, 0, 1, 0))
    return local @ matrix_from_rotvec(turned).mT, moved


def _from_x(direction: Tensor) -> Tensor:
    """Rotation vectors ``(…, 3)`` [rad] of the shortest turns that take x to directions."""
    x, y, z = F.normalize(direction, dim=-1).unbind(-1)
    across = torch.hypot(y, z).clamp(min=1e-9)
    rate = torch.atan2(across, x) / across
    return torch.stack((torch.zeros_like(x), -z * rate, y * rate), -1)
