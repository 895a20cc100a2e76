"""Products of linear layers in eight-bit floating point, where a GPU has it.

Forward and input gradients are computed in float8 with one scale a tensor (Micikevicius et al.
2022, "FP8 formats for deep learning": e4m3 forward, e5m2 for gradients); weight gradients stay in
the layer's own precision, which costs a third of the gain and none of the accuracy.
"""

import torch
from torch import Tensor, nn

# torch._scaled_mm wants inner dimensions that are multiples of this.
_MULTIPLE = 16
# Narrower layers would spend more on scaling than they gain. An estimate: tests/bench measures the
# gain on the whole network where there is a GPU.
MIN_WIDTH = 768

FORWARD, GRADIENT = torch.float8_e4m3fn, torch.float8_e5m2


def enable_(model: nn.Module, min_width: int = MIN_WIDTH) -> int:
    """Let every reparameterised layer at least ``min_width`` wide and high multiply in float8.

    Returns:
        How many layers do.
    """
    chosen = [
        layer
        for layer in model.modules()
        if hasattr(layer, "float8")
        and min(layer.weight.shape) >= min_width
        and not any(n % _MULTIPLE for n in layer.weight.shape)
    ]
    for layer in chosen:
        layer.float8 = True
    return len(chosen)


def product(a: Tensor, b: Tensor, kind: torch.dtype = FORWARD) -> Tensor:
    """``a @ b`` through float8, in ``a``'s dtype.

    Args:
        a: ``(M, K)``, rounded to ``kind``.
        b: ``(K, N)``, rounded to ``FORWARD``; K and N are multiples of 16.
        kind: ``FORWARD`` or ``GRADIENT``.
    """
    a8, scale_a = _rounded(a, kind)
    b8, scale_b = _rounded(b, FORWARD)
    # The second factor must be laid out column by column.
    b8 = b8.t().contiguous().t()
    out = torch.bfloat16 if a.dtype == torch.float32 else a.dtype
    y = torch._scaled_mm(a8.contiguous(), b8, scale_a=scale_a, scale_b=scale_b, out_dtype=out)
    return y.to(a.dtype)


def _rounded(x: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """``x`` over a scale that makes it fill ``kind``, and that scale."""
    largest = torch.finfo(kind).max
    scale = (x.abs().amax().float() / largest).clamp(min=1e-12)
    return (x / scale).clamp(-largest, largest).to(kind), scale
