"""Work of a fixed shape as CUDA graphs: one launch instead of thousands.

A training step of ``small`` is some 13,000 kernels, most of them tiny. Started one by one from
Python they take 0.1 s whatever the GPU; recorded once and replayed, the GPU sets the pace.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from manip_training.batch import Batch
from manip_training.batch_size import undisturbed

# Runs before recording: libraries choose their kernels and allocate their workspaces.
_WARM_UP = 3
# Recorded work is tried before it is trusted: a seed; what counts as the same value, and how few
# may differ (pixels at edges); and by how much a loss may, relative to itself.
_TRIED, _SAME, _FEW, _TOLERANCE = 7, 1e-4, 1e-3, 0.01

Say = Callable[[str], None]


def _recorded(run: Callable[[], object], device: torch.device, generators=()):
    """The graph of a function, and what it returned: tensors that each replay fills anew."""
    current, beside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    beside.wait_stream(current)
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP):
            run()
    current.wait_stream(beside)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        held = run()
    return graph, held


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class RecordedWorld:
    """A synthetic world's batches of one size; the same pictures as it draws itself."""

    def __init__(self, world, size: int, device: torch.device):
        """Record.

        Args:
            world: A :class:`manip_training.synthetic.world.SyntheticWorld` on ``device``; while
                this lives, it draws no larger batches.
            size: Pictures in a batch.
            device: A GPU.
        """
        # The graph reads the world's tables where they lie: they must stay there.
        self._world, self._generator = world, world.generator
        self._graph, self._held = _recorded(
            lambda: world.next_rendered(size)[1], device, (world.generator,)
        )

    def batch(self, seed: int) -> Batch:
        """As ``world.batch(size, seed)``, on the current stream."""
        self._generator.manual_seed(seed)
        self._graph.replay()
        return {name: value.clone() for name, value in self._held.items()}


def record_world(world, size: int, device: torch.device, say: Say = print) -> RecordedWorld | None:
    """A recorded world that draws what the plain one does, or else None; ``say`` is told."""
    try:
        plain = world.batch(size, _TRIED)
        recorded = RecordedWorld(world, size, device)
        for name, value in recorded.batch(_TRIED).items():
            off = (value.double() - plain[name].double()).abs().gt(_SAME).double().mean()
            if not off < _FEW:
                raise ValueError(f"{name} would come out otherwise in {off:.1%} of its values")
        return recorded
    except Exception as error:
        say(f"pictures are drawn without a CUDA graph: {_reason(error)}")
        return None


class RecordedStep:
    """Losses and gradients of batches of one size; the gradients stay where they are."""

    def __init__(
        self, losses: Callable[[Batch, Tensor], dict[str, Tensor]], model: nn.Module, batch: Batch,
        told: Tensor,
    ):  # fmt: skip
        """Record.

        Args:
            losses: Of a batch and of which samples' sides are told; ``"total"`` has gradients.
            model: Whose parameters learn; trial steps leave no trace in it.
            batch, told: An example, on a GPU.
        """
        self._batch = {name: value.clone() for name, value in batch.items()}
        self._told = told.clone()
        device = told.device

        def run() -> dict[str, Tensor]:
            # Each pass makes its gradients anew: those of the recorded one lie in its memory.
            for parameter in model.parameters():
                parameter.grad = None
            found = losses(self._batch, self._told)
            found["total"].backward()
            return {name: value.detach() for name, value in found.items()}

        # What the graph reads where it lies.
        self._run = run
        with undisturbed(model, device):
            self._graph, self._found = _recorded(run, device)
            self._gradients = [(p, p.grad) for p in model.parameters() if p.grad is not None]
        self._fields = list(self._batch)

    def __call__(self, batch: Batch, told: Tensor) -> dict[str, Tensor]:
        """Losses, until the next call; the parameters have the gradients of ``"total"``.

        Raises:
            ValueError: The batch is not of the recorded shape.
        """
        wanted = {name: value.shape for name, value in self._batch.items()}
        if {name: value.shape for name, value in batch.items()} != wanted:
            raise ValueError(f"recorded for {len(self._told)} samples, got {len(told)}")
        torch._foreach_copy_(
            [*(self._batch[name] for name in self._fields), self._told],
            [*(batch[name] for name in self._fields), told],
        )
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        self._graph.replay()
        return self._found


def record_step(losses, model: nn.Module, batch: Batch, told: Tensor, say: Say = print):
    """A :class:`RecordedStep` with the losses of a plain step, or else None; ``say`` is told."""
    try:
        with undisturbed(model, told.device):
            plain = losses(batch, told)["total"].item()
        recorded = RecordedStep(losses, model, batch, told)
        with undisturbed(model, told.device):
            total = recorded(batch, told)["total"].item()
        if not abs(total - plain) <= _TOLERANCE * abs(plain):
            raise ValueError(f"the loss would be {total:.6g} instead of {plain:.6g}")
        return recorded
    except Exception as error:
        model.zero_grad(set_to_none=True)
        say(f"steps are taken without a CUDA graph: {_reason(error)}")
        return None
