"""The layer of the small transformers of hands over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LightLayer(nn.Module):
    """Pre-norm attention and perceptron.

    Args:
        width: Of a token; a multiple of ``heads``.
        heads: Of the attention.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """``(B, N, width)``.

        Args:
            x: ``(B, N, width)``.
            turn: Cosines and sines ``(B, 1, N, width / heads / 2)`` of rotary embeddings; None for
                none.
            mask: ``(N, N)`` bool, what each token looks at; None for all.
        """
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.query_key_value(self.norm_attention(x)).chunk(3, -1)
        )
        if turn is not None:
            q, k = _turned(q, turn), _turned(k, turn)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm_mlp(x))


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cosine, sine = turn
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), -1)
