"""The loop in which small networks of hands over time are trained, on one processor."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Of AdamW; the rate rises over the warm-up's share of the steps, then falls by a half cosine.
_DECAY, _BETAS, _CLIP = 0.01, (0.9, 0.98), 1.0
_WARMUP, _LEAST = 0.03, 0.01


def descend(
    network: nn.Module,
    losses_of: Callable[[int], dict[str, Tensor]],
    steps: int,
    lr: float,
    say: Callable[[str], None] = print,
    every: int = 100,
) -> None:
    """Train a network in place, and leave it in evaluation mode.

    Args:
        network: What learns.
        losses_of: Losses by name of the step of that number; ``"total"`` is descended.
        steps: Of the optimiser.
        lr: Greatest rate.
        say: Told the losses' means ``every`` so many steps: one step says little.
        every: See there.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=_DECAY, betas=_BETAS)
    warmup = max(round(_WARMUP * steps), 1)
    began, sums = time.perf_counter(), {}
    for step in range(steps):
        done = (step - warmup) / max(steps - warmup, 1)
        share = (step + 1) / warmup if step < warmup else 0.5 * (1 + math.cos(math.pi * done))
        for group in optimizer.param_groups:
            group["lr"] = lr * max(share, _LEAST)
        losses = losses_of(step)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sums = {name: sums.get(name, 0.0) + value.item() for name, value in losses.items()}
        if (step + 1) % every == 0:
            parts = "  ".join(f"{name} {value / every:.4f}" for name, value in sums.items())
            say(f"step {step + 1} of {steps}, {time.perf_counter() - began:.0f} s: {parts}")
            sums = {}
    network.eval()
