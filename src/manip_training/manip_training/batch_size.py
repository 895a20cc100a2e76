"""How many samples fit: measured on the model at hand, not guessed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

# Sizes at which activations are measured; a line through both separates what grows from what not.
_SIZES = (2, 4)
_MULTIPLE = 8


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Within, trial steps leave no trace: random states, buffers and gradients are put back."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])


def saved_bytes(model: nn.Module, loss: Callable[[int], Tensor], size: int) -> int:
    """Memory of the activations that ``loss(size)`` keeps for its backward pass, in bytes.

    Each storage counts once, and those of the model's own parameters and buffers not at all.
    """
    own = {value.untyped_storage().data_ptr() for value in model.parameters()}
    own |= {value.untyped_storage().data_ptr() for value in model.buffers()}
    seen: dict[int, int] = {}

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return value

    # The graph, and with it every storage, lives until the sum is taken.
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        kept = loss(size)
    total = sum(seen.values())
    del kept
    return total


def free_memory(device: torch.device) -> int:
    """Bytes that may still be allocated on ``device``."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def largest(per_sample: float, fixed: float, budget: float, most: int) -> int:
    """The largest multiple of 8 up to ``most`` with ``fixed + size * per_sample <= budget``.

    Raises:
        ValueError: Not even 8 fit, or there are fewer than 8 samples to fill a batch with.
    """
    fitting = min(most, int((budget - fixed) / max(per_sample, 1.0)))
    if fitting < _MULTIPLE:
        raise ValueError(
            f"not even {_MULTIPLE} samples fit: one takes {per_sample / 2**20:.1f} MiB, the rest "
            f"{fixed / 2**20:.1f} MiB, and {budget / 2**20:.1f} MiB may be used for at most {most} "
            "samples; choose train.batch, a smaller model or model.checkpointing=true"
        )
    return fitting // _MULTIPLE * _MULTIPLE


def automatic(
    model: nn.Module,
    loss: Callable[[int], Tensor],
    device: torch.device,
    *,
    share: float,
    most: int,
    copies: int = 4,
    say: Callable[[str], None] = print,
) -> int:
    """How many samples one forward and backward pass may have.

    Args:
        model: On ``device``, in training mode, not compiled.
        loss: The loss of so many samples.
        device: Where it runs.
        share: Of the free memory that may be filled.
        most: Never more than so many.
        copies: Of the learning parameters, which training allocates: gradients, two moments and
            the moving average.
        say: Told of what was measured.

    Raises:
        ValueError: Not even 8 fit.
    """
    with undisturbed(model, device):
        small, big = (saved_bytes(model, loss, size) for size in _SIZES)
    per_sample = (big - small) / (_SIZES[1] - _SIZES[0])
    learning = sum(p.nbytes for p in model.parameters() if p.requires_grad)
    fixed = max(0.0, small - _SIZES[0] * per_sample) + copies * learning
    size = largest(per_sample, fixed, share * free_memory(device), most)
    while device.type == "cuda" and not _fits(model, loss, size, copies * learning, device):
        if size < 2 * _MULTIPLE:
            raise ValueError(f"{size} samples do not fit into the GPU: choose train.batch yourself")
        size = size // 2 // _MULTIPLE * _MULTIPLE
        say(f"batch: out of memory, trying {size}")
    say(f"batch: {size} samples, each keeps {per_sample / 2**20:.1f} MiB of activations")
    return size


def _fits(model: nn.Module, loss: Callable[[int], Tensor], size: int, rest: int, device) -> bool:
    """Whether a real pass stays within the memory beside ``rest`` bytes of what comes later."""
    try:
        ballast = torch.empty(rest, dtype=torch.uint8, device=device)
        with undisturbed(model, device):
            loss(size).backward()
        del ballast
        return True
    except torch.cuda.OutOfMemoryError:
        return False
    finally:
        torch.cuda.empty_cache()
