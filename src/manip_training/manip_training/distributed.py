"""One process or several: who we are, what we share, and how the model is spread.

Several are started by ``torchrun``. Each computes its part of every batch; gradients are averaged.
"""

import atexit
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

_GATHER = StateDictOptions(full_state_dict=True, cpu_offload=True)
_SPREAD = StateDictOptions(full_state_dict=True)
# What had no gradient yet has no state.
_SPREAD_STATE = StateDictOptions(full_state_dict=True, strict=False)


# The name that torch 2.13 has for it, and that of earlier ones.
_NEW = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
_KEEP_BUFFERS = {"forward_sync_buffers" if _NEW else "broadcast_buffers": False}


@dataclass(frozen=True)
class Team:
    """The processes of a run and this one among them.

    Attributes:
        rank, size: This process and their number.
        device: Of this process.
        strategy: How the model is spread where there are several: ``"ddp"`` or ``"fsdp"``.
    """

    device: torch.device
    strategy: str = "ddp"
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether each process holds but a part of the model."""
        return self.size > 1 and self.strategy == "fsdp"

    def share(self, value):
        """The first process's ``value``, for all."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0, device=self._device())
        return held[0]

    def gather(self, value) -> list:
        """Every process's ``value``, by rank."""
        if self.size == 1:
            return [value]
        held = [None] * self.size
        dist.all_gather_object(held, value)
        return held

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Within, the first process goes ahead and the others wait, so that it can make files.

        What it raises does not leave the others waiting. Keep it short: they wait no longer than
        the process group's timeout, with NCCL ten minutes.
        """
        if self.size > 1 and not self.first:
            dist.barrier()
        try:
            yield
        finally:
            if self.size > 1 and self.first:
                dist.barrier()

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wrap(self, objective: nn.Module) -> nn.Module:
        """``objective``, which has a ``model`` and returns losses, with averaged gradients."""
        if self.sharded:
            shard_(objective.model, self)
        if self.sharded or self.size == 1:
            return objective
        # A loss of weight zero leaves its head without a gradient. Buffers follow from weights,
        # which are equal.
        return DistributedDataParallel(
            objective,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            find_unused_parameters=True,
            **_KEEP_BUFFERS,
        )

    @contextmanager
    def gradients(self, wrapped: nn.Module, *, last: bool) -> Iterator[None]:
        """Within, a part of a batch is computed; gradients are averaged with the ``last`` one."""
        if self.sharded:
            wrapped.model.set_requires_gradient_sync(last)
            yield
            if last:
                self._average_whole(wrapped.model)
            return
        ddp = isinstance(wrapped, DistributedDataParallel)
        with wrapped.no_sync() if ddp and not last else nullcontext():
            yield

    def reshard(self, model: nn.Module) -> None:
        """Drop weights that a pass without a backward pass has gathered."""
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def _average_whole(self, model: nn.Module) -> None:
        """Average what is not sharded: scalars, which FSDP leaves alone."""
        gradients = [
            p.grad
            for p in model.parameters()
            if p.grad is not None and not isinstance(p.grad, DTensor)
        ]
        if gradients:
            flat = torch.stack([g.reshape(()) for g in gradients])
            dist.all_reduce(flat)
            for gradient, mean in zip(gradients, (flat / self.size).unbind(), strict=True):
                gradient.copy_(mean)

    def _device(self) -> torch.device | None:
        return self.device if self.device.type == "cuda" else None


def choose_device(asked: str, local: int = 0) -> torch.device:
    """The device that ``"auto"``, ``"cpu"`` or ``"cuda"`` is for a process of this machine.

    Raises:
        ValueError: A GPU is asked for and there is none, or none for process ``local``.
    """
    if asked == "cuda" and not torch.cuda.is_available():
        raise ValueError("train.device=cuda, but this machine has no GPU that torch can use")
    if asked == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if local >= torch.cuda.device_count():
        raise ValueError(
            f"process {local} has no GPU of its own: there are {torch.cuda.device_count()}; "
            "start fewer with torchrun --nproc-per-node"
        )
    return torch.device("cuda", local)


def join_team(device: str, strategy: str) -> Team:
    """Join the processes that ``torchrun`` started, for as long as this one lives, or be alone.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        strategy: ``"ddp"`` or ``"fsdp"``.

    Raises:
        ValueError: A GPU is asked for and there is none, or fewer than local processes.
    """
    size, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    where = choose_device(device, local)
    cuda = where.type == "cuda"
    if cuda:
        torch.cuda.set_device(where)
    if size == 1:
        return Team(where, strategy)
    # Joining a second time, for a second run, does not work reliably: the first is kept.
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
        atexit.register(dist.destroy_process_group)
    return Team(where, strategy, dist.get_rank(), size)


def shard_(model: nn.Module, team: Team) -> nn.Module:
    """Shard a model over the processes, transformer layer by transformer layer (FSDP2)."""
    mesh = init_device_mesh(team.device.type, (team.size,))
    # FSDP has no scalars.
    scalars = {p for p in model.parameters() if p.ndim == 0}
    for layer in layers_of(model):
        fully_shard(layer, mesh=mesh, ignored_params=scalars)
    return fully_shard(model, mesh=mesh, ignored_params=scalars)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of a model's stacks, innermost first: items of lists that hold linear layers."""
    found = []
    for stack in model.modules():
        if isinstance(stack, nn.ModuleList):
            found += [one for one in stack if sum(p.ndim == 2 for p in one.parameters()) > 1]
    return found[::-1]


def model_state(model: nn.Module) -> dict[str, Tensor]:
    """Whole weights on the CPU; with several processes all must call, the first one gets them."""
    return get_model_state_dict(model, options=_GATHER)


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """The optimiser's state by parameter name; otherwise as :func:`model_state`."""
    return get_optimizer_state_dict(model, optimizer, options=_GATHER)


def load_states(
    model: nn.Module, optimizer: torch.optim.Optimizer | None, weights: dict, state: dict | None
) -> None:
    """Put whole states, which every process has read, into a model spread in any way."""
    set_model_state_dict(model, weights, options=_SPREAD)
    if optimizer is not None:
        set_optimizer_state_dict(model, optimizer, state, options=_SPREAD_STATE)
