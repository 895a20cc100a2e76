"""Eight bits for weights and activations: found on pictures, and measured for what they cost.

Weights are symmetric with one step for each output; activations are symmetric with one fixed step
for each layer. That is what the eight-bit kernels of OpenVINO and ONNX Runtime compute without
detours. A few channels of a transformer's activations are many times as large as the rest, and
would leave them few levels: each input channel is divided by a factor before it is rounded, and
the weights take it back (Xiao et al. 2023, "SmoothQuant").
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

LEVELS = 127
# Layers narrower than this on either side stay as they are: they give metres or read coordinates,
# and cost nothing.
_LEAST = 96
# Tokens of each batch that are kept for the search.
_ROWS = 96
# Tried: how much of the activations' unevenness goes to the weights (None: spread nothing), and the
# largest activation that is told apart, as a fraction of the largest seen.
_SHARES = (None, 0.4, 0.55, 0.7, 0.85)
_COARSE_TOPS = (0.55, 1.0)
_TOPS = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class EightBits:
    """A linear layer in eight bits.

    Attributes:
        levels: ``(out, in)`` int8.
        step: ``(out,)`` float32 of one level of each row.
        spread: ``(in,)`` float32: inputs are divided by it; the levels have it within. None: ones.
        input_step: Of one level of the inputs; None: they are not rounded.
        error: Of the outputs on the pictures seen, root mean square over that of the outputs.
    """

    levels: Tensor
    step: Tensor
    spread: Tensor | None = None
    input_step: float | None = None
    error: float = 0.0

    @classmethod
    def of(cls, weight: Tensor, spread: Tensor | None = None) -> "EightBits":
        """The nearest to ``weight`` ``(out, in)``; inputs are not rounded."""
        spreaded = weight.float() if spread is None else weight.float() * spread
        step = (spreaded.abs().amax(1) / LEVELS).clamp(min=1e-30)
        levels = (spreaded / step[:, None]).round().clamp(-LEVELS, LEVELS).to(torch.int8)
        return cls(levels=levels, step=step, spread=spread)

    @property
    def weight(self) -> Tensor:
        """``(out, in)`` float32 that the layer multiplies with."""
        plain = self.levels.float() * self.step[:, None]
        return plain if self.spread is None else plain / self.spread

    def rounded(self, x: Tensor) -> Tensor:
        """Inputs ``(…, in)`` as the layer sees them."""
        if self.input_step is None:
            return x
        scale = self.input_step if self.spread is None else self.input_step * self.spread
        return (x / scale).round().clamp(-LEVELS, LEVELS) * scale


def linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The layers worth eight bits, by name, of a folded model."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and min(layer.in_features, layer.out_features) >= _LEAST
    }


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable, see: Callable) -> dict[str, EightBits]:
    """Eight bits for all :func:`linear_layers` of ``model``.

    Layers that read the same tensor round it the same way. Levels are those of least square error
    at the layers' outputs, so a few outliers do not set them.

    Args:
        model: Folded, in evaluation mode; left as it is.
        batches: Of pictures.
        see: ``see(model, batch)`` sends one through the model.
    """
    layers = linear_layers(model)
    seen: dict[str, list[Tensor]] = {}
    largest: dict[str, Tensor] = {}
    readers: dict[tuple, list[str]] = {}
    alive: list[Tensor] = []

    def keep(name: str):
        def hook(_, given):
            x = given[0]
            if x.ndim < 3:
                # One token of a picture: its products take no time.
                return
            rows = x.flatten(0, -2).float()
            peak = rows.abs().amax(0)
            largest[name] = torch.maximum(largest[name], peak) if name in largest else peak
            seen.setdefault(name, []).append(rows[:: max(len(rows) // _ROWS, 1)].clone())
            # Kept alive, so that no other tensor takes its place while the layers are compared.
            alive.append(x)
            readers.setdefault((x.data_ptr(), x.shape), []).append(name)

        return hook

    handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
    try:
        for batch in batches:
            readers.clear()
            alive.clear()
            see(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    found = {name: EightBits.of(layer.weight) for name, layer in layers.items()}
    for names in readers.values():
        rows = torch.cat(seen[names[0]])
        found |= _search([layers[name] for name in names], names, rows, largest[names[0]])
    return found


def _search(
    layers: list[nn.Linear], names: list[str], rows: Tensor, largest: Tensor
) -> dict[str, EightBits]:
    """The best of what is tried, for layers that read the same inputs ``(N, in)``."""
    weight = torch.cat([layer.weight.float() for layer in layers])
    peak = weight.abs().amax(0).clamp(min=1e-8)
    true = rows @ weight.T
    power = true.square().sum().clamp(min=1e-30)

    def tried(share: float | None, part: float) -> EightBits:
        spread = None if share is None else largest.clamp(min=1e-6) ** share / peak ** (1 - share)
        bits = EightBits.of(weight, spread)
        top = (largest if spread is None else largest / spread).max()
        bits = replace(bits, input_step=max(float(part * top) / LEVELS, 1e-30))
        wrong = (bits.rounded(rows) @ bits.weight.T - true).square().sum() / power
        return replace(bits, error=float(wrong.sqrt()))

    def least(choices: Iterable[tuple[float | None, float]]) -> tuple[float | None, EightBits]:
        return min(
            ((share, tried(share, part)) for share, part in choices), key=lambda one: one[1].error
        )

    share, _ = least((share, part) for share in _SHARES for part in _COARSE_TOPS)
    _, best = least((share, part) for part in _TOPS)
    sizes = [layer.out_features for layer in layers]
    parts = zip(best.levels.split(sizes), best.step.split(sizes), strict=True)
    return {
        name: replace(best, levels=levels, step=step)
        for name, (levels, step) in zip(names, parts, strict=True)
    }


def exact_inputs(layers: dict[str, EightBits], model: nn.Module, count: int) -> dict:
    """The same, where the ``count`` layers of largest error take their inputs as they are.

    Args:
        layers: Of :func:`calibrate`.
        model: With the weights that ``layers`` were made of.
        count: Layers that read the same tensor count as one each.
    """
    worst = sorted(layers, key=lambda name: -layers[name].error)[:count]
    return layers | {
        name: EightBits.of(model.get_submodule(name).weight.detach()) for name in worst
    }


@torch.no_grad()
def put(model: nn.Module, layers: dict[str, EightBits]) -> None:
    """Give ``model`` the weights that eight bits leave of its own."""
    for name, layer in layers.items():
        model.get_submodule(name).weight.copy_(layer.weight)


class Rounding:
    """A context in which layers' inputs are rounded, as an eight-bit graph rounds them."""

    def __init__(self, model: nn.Module, layers: dict[str, EightBits]):
        self._model, self._layers, self._handles = model, layers, []

    def __enter__(self) -> "Rounding":
        for name, layer in self._layers.items():

            def hook(_, given, layer=layer):
                return (layer.rounded(given[0]), *given[1:])

            self._handles.append(self._model.get_submodule(name).register_forward_pre_hook(hook))
        return self

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()
