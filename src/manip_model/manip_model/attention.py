"""Attention: which implementation runs, and the transformer decoder that all heads share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from manip_model.config import ATTENTION_KINDS


def _unavailable(kind: str, device: torch.device, dtype: torch.dtype) -> str:
    """Why ``kind`` cannot run, or an empty string."""
    if kind in ("sdpa", "eager"):
        return ""
    if device.type != "cuda":
        return f"it needs a CUDA device, this is {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"it needs bfloat16 or float16, this is {str(dtype).removeprefix('torch.')}"
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    there = {
        "flash_attention_3": is_flash_attn_3_available,
        "flash_attention_2": is_flash_attn_2_available,
    }[kind]
    if not there():
        return "its package is not installed"
    if kind == "flash_attention_3" and torch.cuda.get_device_capability(device)[0] < 9:
        return "it needs a Hopper GPU or newer"
    return ""


def choose_attention(asked: str, device: torch.device, dtype: torch.dtype) -> tuple[str, str]:
    """The implementation to run, and a sentence that says what was chosen and why.

    Args:
        asked: One of ``ATTENTION_KINDS``; "auto" takes the best that can run here. What cannot
            run falls back to the next best, and the sentence says so.
        device: Where the model runs.
        dtype: In which queries and keys are computed.
    """
    if asked not in ATTENTION_KINDS:
        raise ValueError(f"attention must be one of {', '.join(ATTENTION_KINDS)}, got {asked!r}")
    kinds = ATTENTION_KINDS[1:]
    tried = []
    for kind in kinds if asked == "auto" else kinds[kinds.index(asked) :]:
        why = _unavailable(kind, device, dtype)
        if not why:
            return kind, f"attention: {kind}" + "".join(f"; not {name}: {r}" for name, r in tried)
        tried.append((kind, why))
    raise AssertionError("eager attention runs everywhere")


class Attention(nn.Module):
    """Multi-head attention of queries ``(B, Q, D)`` on a context ``(B, K, D)``.

    ``kind`` is "sdpa" (fused) or "eager" (which can keep its weights: with ``keep_weights`` set,
    ``weights`` is the last ``(B, H, Q, K)``).
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.kind = "sdpa"
        self.keep_weights = False
        self.weights: Tensor | None = None

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """``(B, Q, D)``."""
        q = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for t in self.key_value(context).chunk(2, dim=-1)
        )
        if self.kind == "eager" or self.keep_weights:
            weights = torch.softmax((q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5, dim=-1)
            self.weights = weights.detach() if self.keep_weights else None
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return self.out(out.transpose(1, 2).flatten(2))


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the context, then think; pre-norm."""

    def __init__(self, width: int, heads: int, *, cross: bool = True):
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        if cross:
            self.norm_cross = nn.LayerNorm(width)
            self.cross_attention = Attention(width, heads)
        else:
            self.cross_attention = None
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, Q, D)``, with a context ``(B, K, D)`` where the layer is a cross-attending one."""
        y = self.norm_self(x)
        x = x + self.self_attention(y, y)
        if self.cross_attention is not None:
            x = x + self.cross_attention(self.norm_cross(x), context)
        return x + self.mlp(self.norm_mlp(x))


class Decoder(nn.Module):
    """Decoder layers with a final norm; activations are computed again where ``checkpointing``."""

    def __init__(self, width: int, heads: int, layers: int, *, cross: bool = True):
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, cross=cross) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.checkpointing = False

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, Q, D)``."""
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, context, use_reentrant=False)
            else:
                x = layer(x, context)
        return self.norm(x)
