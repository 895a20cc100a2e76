"""``manip debug``: one training step under the magnifying glass.

Where time and activation memory go, which module first makes a number that is none, and which
units are dead. Gradients are measured and freed one by one as they come, so that even the largest
network fits beside little else.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import psutil
import torch
from torch import Tensor, nn

from manip_model.pose_network import PoseNetwork
from manip_training.batch import Batch

# A unit whose output moves less than this over a whole batch says nothing.
_DEAD = 1e-4


@dataclass
class ModuleProfile:
    """Of one part of the network: times in [s], activations kept for the backward pass in bytes."""

    name: str
    parameters: int = 0
    forward: float = 0.0
    backward: float = 0.0
    activations: int = 0
    gradient: float = 0.0
    units: int = 0
    dead: int = 0


@dataclass
class StepProfile:
    """What one step did.

    Attributes:
        modules: Each part that ran, in the order in which they did.
        losses: Every loss term.
        origin: The first module whose output was not finite though its inputs were; empty if none.
        gradient_origin: The first weight, in the order of the backward pass, whose gradient was
            not finite; empty if none.
        forward, backward: [s].
        peak_bytes: Host memory in use at most, beyond that before the step.
        device_peak_bytes: The same of a GPU; 0 on a CPU.
    """

    modules: list[ModuleProfile] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)
    origin: str = ""
    gradient_origin: str = ""
    forward: float = 0.0
    backward: float = 0.0
    peak_bytes: int = 0
    device_peak_bytes: int = 0

    def table(self) -> str:
        """The profile in plain aligned text."""
        rows = [
            f"{'part':44s} {'weights':>9s} {'fwd ms':>8s} "
            f"{'bwd ms':>8s} {'act MB':>8s} {'gradient':>9s} dead"
        ]
        for m in self.modules:
            dead = f"{m.dead}/{m.units}" if m.units else ""
            rows.append(
                f"{m.name:44s} {m.parameters / 1e6:8.2f}M {1e3 * m.forward:8.1f} "
                f"{1e3 * m.backward:8.1f} {m.activations / 1e6:8.1f} {m.gradient:9.2e} {dead}"
            )
        total = sum(m.activations for m in self.modules)
        rows += [
            "",
            f"forward {self.forward:.2f} s, backward {self.backward:.2f} s, "
            f"activations {total / 1e6:.0f} MB",
            f"host memory beyond the model: {self.peak_bytes / 1e6:.0f} MB at most"
            + (
                f"; on the GPU {self.device_peak_bytes / 1e6:.0f} MB"
                if self.device_peak_bytes
                else ""
            ),
            "losses: " + ", ".join(f"{name} {value:.4g}" for name, value in self.losses.items()),
            f"not finite first in: {self.origin or 'nothing'}",
            f"gradient not finite first in: {self.gradient_origin or 'nothing'}",
        ]
        return "\n".join(rows)


def parts_of(model: PoseNetwork) -> dict[str, nn.Module]:
    """The parts that a profile tells apart: each layer of every stack, and what stands alone."""
    parts = {}

    def walk(name: str, module: nn.Module) -> None:
        children = [
            (key, child)
            for key, child in module.named_children()
            if any(True for _ in child.parameters())
        ]
        # A part is what has weights of its own, or is one layer of a stack.
        stacked = isinstance(module, nn.ModuleList)
        for key, child in children:
            path = f"{name}.{key}" if name else key
            if stacked or not _has_stack(child):
                parts[path] = child
            else:
                walk(path, child)

    walk("", model)
    return parts


def _has_stack(module: nn.Module) -> bool:
    return any(isinstance(inner, nn.ModuleList) for inner in module.modules())


class _Probe:
    """Hooks on a model for one step."""

    def __init__(self, model: PoseNetwork, device: torch.device):
        self.device = device
        self.parts = {name: ModuleProfile(name) for name in parts_of(model)}
        self.rest = ModuleProfile("(the rest: losses, geometry)")
        self.stack = [self.rest]
        self.ran: list[ModuleProfile] = []
        self.origin = self.gradient_origin = ""
        self._storages: set[int] = set()
        self._weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self._owner = {}
        for name, module in parts_of(model).items():
            for p in module.parameters():
                self._owner[p] = self.parts[name]
                self.parts[name].parameters += p.numel()
        self._names = {p: name for name, p in model.named_parameters()}
        self._last = 0.0
        # Checkpointed layers run again in the backward pass; that is part of its time.
        self._in_backward = False

    def now(self) -> float:
        """A clock that waits for a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def begin_backward(self) -> None:
        """The clock of the backward pass starts."""
        self._in_backward = True
        self._last = self.now()

    @contextmanager
    def attached(self, model: PoseNetwork) -> Iterator[None]:
        """Hooks in place."""
        with ExitStack() as stack:
            for name, module in parts_of(model).items():
                self._time(stack, module, self.parts[name])
                for inner in module.modules():
                    if isinstance(inner, nn.GELU) or type(inner).__name__ == "GELUActivation":
                        hook = inner.register_forward_hook(self._count_dead(self.parts[name]))
                        stack.callback(hook.remove)
            for name, module in model.named_modules():
                # A container's numbers are those of the layers in it.
                if not any(module.children()):
                    hook = module.register_forward_hook(self._watch(name))
                    stack.callback(hook.remove)
            for p in model.parameters():
                if p.requires_grad:
                    stack.callback(p.register_post_accumulate_grad_hook(self._gradient).remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._saved, lambda t: t))
            yield

    def _time(self, stack: ExitStack, module: nn.Module, part: ModuleProfile) -> None:
        began = []

        def before(_module, _args):
            if self._in_backward:
                return
            self.stack.append(part)
            if part not in self.ran:
                self.ran.append(part)
            began.append(self.now())

        def after(_module, _args, _out):
            if self._in_backward:
                return
            part.forward += self.now() - began.pop()
            self.stack.pop()

        stack.callback(module.register_forward_pre_hook(before).remove)
        stack.callback(module.register_forward_hook(after).remove)

    def _count_dead(self, part: ModuleProfile) -> Callable:
        def hook(_module, _args, out: Tensor) -> None:
            if self._in_backward:
                return
            moves = out.detach().flatten(0, -2).float()
            part.units += moves.shape[1]
            part.dead += int((moves.amax(0) - moves.amin(0) < _DEAD).sum())

        return hook

    def _watch(self, name: str) -> Callable:
        def hook(_module, args, out) -> None:
            if not self.origin and not _finite(out) and _finite(args):
                self.origin = name

        return hook

    def _saved(self, tensor: Tensor) -> Tensor:
        where = tensor.untyped_storage().data_ptr()
        if where not in self._weights and where not in self._storages:
            self._storages.add(where)
            self.stack[-1].activations += tensor.untyped_storage().nbytes()
        return tensor

    def _gradient(self, p: Tensor) -> None:
        part = self._owner.get(p, self.rest)
        norm = float(p.grad.norm())
        if not self.gradient_origin and norm - norm != 0:
            self.gradient_origin = self._names[p]
        part.gradient = (part.gradient**2 + norm**2) ** 0.5
        now = self.now()
        part.backward += now - self._last
        self._last = now
        p.grad = None


def _finite(value) -> bool:
    """Every floating tensor in ``value``, however nested, is finite."""
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, (list, tuple)):
        return all(_finite(one) for one in value)
    if hasattr(value, "__dict__") and not isinstance(value, nn.Module):
        return all(_finite(one) for one in vars(value).values())
    return True


class _PeakMemory:
    """The most host memory that this process has in use while the context lasts."""

    def __enter__(self):
        self._process = psutil.Process(os.getpid())
        self.before = self.peak = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self._process.memory_info().rss)

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, self._process.memory_info().rss)


def profile_step(
    model: PoseNetwork, batch: Batch, loss: Callable[..., dict[str, Tensor]]
) -> StepProfile:
    """Run one forward and backward pass and say where it went. No weight changes.

    Args:
        model: On the batch's device; is put into training mode.
        batch: Of training data.
        loss: ``loss(output, batch)``, a dictionary of terms with ``"total"``.
    """
    device = batch["image"].device
    model.train()
    probe = _Probe(model, device)
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
        before_gpu = torch.cuda.memory_allocated(device)
    with _PeakMemory() as memory, probe.attached(model):
        began = probe.now()
        terms = loss(model(batch["image"], batch["camera"], batch["side"]), batch)
        probe.begin_backward()
        middle = probe.now()
        terms["total"].backward()
        ended = probe.now()
    model.zero_grad(set_to_none=True)
    return StepProfile(
        modules=[*probe.ran, probe.rest],
        losses={name: float(value.detach()) for name, value in terms.items()},
        origin=probe.origin,
        gradient_origin=probe.gradient_origin,
        forward=middle - began,
        backward=ended - middle,
        peak_bytes=memory.peak - memory.before,
        device_peak_bytes=torch.cuda.max_memory_allocated(device) - before_gpu if on_gpu else 0,
    )
