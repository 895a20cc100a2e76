"""Where a network's own precision ends and geometry begins."""

import torch
from torch import Tensor


def exact(x: Tensor) -> Tensor:
    """``x`` in single precision at least: metres and pixels need more than eight bits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def exactly(like: Tensor):
    """A context in which autocast does not touch products of ``like``'s device."""
    return torch.autocast(like.device.type, enabled=False)
