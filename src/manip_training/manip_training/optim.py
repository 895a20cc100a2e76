"""The optimiser: which parameter decays, the learning rate over time, the averaged weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from manip_training.config import OptimConfig

# Modules whose parameters lie in it, wherever that is, learn at the backbone's rate.
BACKBONE = "dino"
# What was learnt from many pictures is not to be forgotten over a few.
_PRETRAINED_FACTOR = 0.1


def decays(model: nn.Module) -> dict[str, bool]:
    """Of every parameter that learns, whether it decays: matrices named ``…weight`` do.

    Not so norms, biases and gammas, which are vectors or scalars, nor embeddings: ``nn.Embedding``
    and free parameters such as tokens, queries and positions.
    """
    found = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                matrix = parameter.ndim >= 2 and name.endswith("weight")
                full = f"{prefix}.{name}" if prefix else name
                found[full] = matrix and not isinstance(module, nn.Embedding)
    return found


def parameter_groups(model: nn.Module, config: OptimConfig, *, pretrained: bool) -> list[dict]:
    """AdamW's groups: decaying or not, of a pretrained backbone or not; empty ones left out."""
    named = dict(model.named_parameters())
    factor = config.backbone_factor or (_PRETRAINED_FACTOR if pretrained else 1.0)
    groups = {}
    for name, decay in decays(model).items():
        slow = factor != 1 and BACKBONE in name.split(".")
        key = ("backbone" if slow else "heads") + ("_decay" if decay else "")
        rate = config.lr * (factor if slow else 1.0)
        fresh = {
            "name": key,
            "params": [],
            "lr": rate,
            "initial_lr": rate,
            "weight_decay": config.weight_decay if decay else 0.0,
        }
        groups.setdefault(key, fresh)["params"].append(named[name])
    if not groups:
        raise ValueError("the model has no parameter that learns: all are frozen")
    return list(groups.values())


def make_optimizer(
    model: nn.Module, config: OptimConfig, *, pretrained: bool
) -> torch.optim.Optimizer:
    """AdamW; fused where asked for and the device has it."""
    groups = parameter_groups(model, config, pretrained=pretrained)
    device = groups[0]["params"][0].device.type
    fused = config.fused and device in ("cuda", "cpu")
    return torch.optim.AdamW(groups, betas=config.betas, fused=fused)


def rate_factor(step: int, steps: int, config: OptimConfig) -> float:
    """Share of the peak rate at ``step`` (from 0) of ``steps``: linear rise, then half a cosine."""
    warmup = round(config.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Put every group at ``factor`` of its peak rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def global_norm(parameters: list[nn.Parameter]) -> Tensor:
    """Norm of the whole gradient, over all processes that hold parts of it; a scalar.

    Sharded and whole parameters may be mixed, which torch's own function does not allow.
    """
    kinds: dict[bool, list[Tensor]] = {True: [], False: []}
    for parameter in parameters:
        if parameter.grad is not None:
            kinds[isinstance(parameter.grad, DTensor)].append(parameter.grad)
    squares = []
    for sharded, gradients in kinds.items():
        if gradients:
            norm = torch.nn.utils.get_total_norm(gradients)
            squares.append((norm.full_tensor() if sharded else norm).square())
    if not squares:
        raise ValueError("no parameter has a gradient: the loss does not depend on the model")
    return torch.stack(squares).sum().sqrt()


def scale_gradients(parameters: list[nn.Parameter], norm: float, limit: float) -> None:
    """Shrink a gradient of ``norm`` to ``limit``, where it is longer and there is a limit."""
    if limit and norm > limit:
        for sharded in (False, True):
            gradients = [
                parameter.grad
                for parameter in parameters
                if parameter.grad is not None and isinstance(parameter.grad, DTensor) == sharded
            ]
            if gradients:
                torch._foreach_mul_(gradients, limit / norm)


# Of batch norms: they go with the weights with which they were measured.
_MEASURED = ("running_mean", "running_var")


class Ema:
    """A moving average of the weights that learn, in their own precision, and of norms' statistics.

    Early on the decay is (1 + n) / (10 + n) after n updates, so that the start is soon forgotten
    (as in TensorFlow's ``ExponentialMovingAverage``).
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self._of = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._of |= {n: b for n, b in model.named_buffers() if n.rpartition(".")[2] in _MEASURED}
        self._mean = {name: p.detach().clone() for name, p in self._of.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for sharded in (False, True):
            names = [name for name, of in self._of.items() if isinstance(of, DTensor) == sharded]
            if names:
                means, of = [self._mean[n] for n in names], [self._of[n] for n in names]
                torch._foreach_lerp_(means, of, 1 - decay)

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[None]:
        """Within, the model has the averaged weights."""
        own = {name: p.detach().clone() for name, p in self._of.items()}
        for name, parameter in self._of.items():
            parameter.copy_(self._mean[name])
        try:
            yield
        finally:
            for name, parameter in self._of.items():
                parameter.copy_(own[name])

    def state_dict(self) -> dict:
        """Whole tensors on the CPU; of sharded ones every process must take part."""
        return {"updates": self.updates, "mean": {n: whole(v) for n, v in self._mean.items()}}

    @torch.no_grad()
    def load_state_dict(self, state: dict) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.updates = state["updates"]
        for name, mean in self._mean.items():
            given = state["mean"][name].to(mean.device)
            if isinstance(mean, DTensor):
                given = distribute_tensor(given, mean.device_mesh, mean.placements)
            mean.copy_(given)


def whole(value: Tensor) -> Tensor:
    """A tensor on the CPU, gathered where it is sharded."""
    value = value.full_tensor() if isinstance(value, DTensor) else value
    return value.detach().cpu()
