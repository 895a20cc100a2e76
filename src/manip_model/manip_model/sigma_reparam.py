"""Sigma-reparameterised linear layers: their spectral norm is one learnable number.

Zhai et al. 2023, "Stabilizing Transformer Training by Preventing Attention Entropy Collapse":
W^ = (gamma / sigma(W)) W, with sigma(W) the spectral norm. The largest singular value, not the
Frobenius norm: dividing by the latter shrinks a layer by up to the root of its rank.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manip_model.float8 import GRADIENT, product

# The published start for new layers.
INITIAL_GAMMA = 1.0
# A pretrained layer must keep its norm; a new one has yet to learn it, and the steps go on.
_PRETRAINED_STEPS, _FRESH_STEPS = 20, 5
# Norms are not taken to be less.
_LEAST = 1e-12


class SigmaLinear(nn.Module):
    """A linear layer with weight ``(gamma / sigma(W)) W``.

    Attributes:
        weight: ``(out, in)`` W.
        bias: ``(out,)`` or None.
        gamma: Scalar, the spectral norm of the weight in use.
        u, v: ``(out,)`` and ``(in,)`` unit vectors, W's leading singular pair by power iteration.
            They move in :func:`power_step` alone, which training calls once a step.
        known_sigma: Scalar, sigma(W) where whoever moved u and v has it at hand; None: it is
            computed when it is needed.
    """

    def __init__(self, linear: nn.Linear, *, keep_norm: bool = False):
        """Take over the parameters of ``linear``.

        Args:
            linear: Its attribute ``initial_gamma``, where set, is gamma's start.
            keep_norm: Start gamma at sigma(W), so that a pretrained layer computes what it did.
        """
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        # Set by manip_model.float8.
        self.float8 = False
        self.known_sigma: Tensor | None = None
        # A start of its own for each layer that neither draws nor depends on random numbers.
        like = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        self.register_buffer("u", F.normalize(torch.ones(linear.out_features, **like), dim=0))
        self.register_buffer("v", F.normalize(torch.ones(linear.in_features, **like), dim=0))
        with torch.no_grad():
            # The longest row is a better start than any fixed vector, which W may send to zero.
            row = self.weight[self.weight.norm(dim=1).argmax()]
            self.v.copy_(F.normalize(row, dim=0))
            for _ in range(_PRETRAINED_STEPS if keep_norm else _FRESH_STEPS):
                self.update()
            start = self.sigma() if keep_norm else torch.tensor(_start_of(linear), **like)
        self.gamma = nn.Parameter(
            start.reshape(()).clone(), requires_grad=self.weight.requires_grad
        )

    def update(self) -> None:
        """One step of power iteration."""
        power_step([self])

    def sigma(self) -> Tensor:
        """Spectral norm of W as u and v have it; differentiable in W. Never below 1e-12."""
        # Eight bits of a bfloat16 are too few for a factor that all outputs share.
        with torch.autocast(self.weight.device.type, enabled=False):
            return torch.dot(self.u, torch.mv(self.weight, self.v)).clamp(min=_LEAST)

    def effective_weight(self) -> Tensor:
        """``(out, in)`` weight in use."""
        return self.weight * (self.gamma / self.sigma())

    def forward(self, x: Tensor) -> Tensor:
        """``(…, in)`` to ``(…, out)``."""
        bias, kind = self.bias, x.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            x, bias = x.to(dtype), bias if bias is None else bias.to(dtype)
        sigma = self.known_sigma
        if sigma is None:
            with torch.no_grad():
                sigma = self.sigma()
        return _ScaledLinear.apply(
            x, self.weight, self.gamma, bias, sigma, self.u, self.v, self.float8
        )

    @torch.no_grad()
    def folded(self) -> nn.Linear:
        """A plain layer that computes the same."""
        linear = nn.Linear(
            self.in_features, self.out_features, bias=self.bias is not None, device="meta"
        )
        linear.weight = nn.Parameter(self.effective_weight(), self.weight.requires_grad)
        linear.bias = self.bias
        return linear.train(self.training)

    def extra_repr(self) -> str:
        """Sizes, as a plain layer shows them."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


class _ScaledLinear(torch.autograd.Function):
    """``x ((gamma / sigma) W)^T + b``, keeping x and W alone for the backward pass.

    Written with plain operations, each layer would keep a scaled copy of its weight: for the
    largest preset as much memory as the whole network. The scaled weight is made anew for the
    backward pass; to scale what comes out instead would move more memory, for it is larger.
    """

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, gamma: Tensor, bias: Tensor | None, sigma: Tensor,
        u: Tensor, v: Tensor, float8: bool,
    ) -> Tensor:  # fmt: skip
        scale = gamma / sigma
        ctx.save_for_backward(x, weight, scale, sigma, u, v)
        ctx.float8 = float8
        used = (weight * scale).to(x.dtype)
        if not float8:
            return nn.functional.linear(x, used, bias)
        y = product(x.flatten(0, -2), used.t()).unflatten(0, x.shape[:-1])
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, weight, scale, sigma, u, v = ctx.saved_tensors
        needs_x, needs_weight, needs_gamma, needs_bias, *_ = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])
        grad_x = None
        if needs_x:
            used = (weight * scale).to(grad.dtype)
            back = product(rows, used, GRADIENT) if ctx.float8 else torch.mm(rows, used)
            grad_x = back.view_as(x)
        grad_weight = grad_gamma = None
        if needs_weight or needs_gamma:
            unscaled = torch.mm(rows.t(), x.reshape(-1, x.shape[-1])).to(weight.dtype)
            # d/dscale of sum(g * scale x W^T) is the inner product of W with what W itself gets.
            grad_gamma = torch.dot(unscaled.flatten(), weight.flatten()) / sigma
            if needs_weight:
                # W is in sigma as well: d sigma / dW = u v^T.
                grad_weight = torch.addr(unscaled * scale, u * (grad_gamma * scale), v, alpha=-1)
        grad_bias = rows.sum(0) if needs_bias else None
        return grad_x, grad_weight, grad_gamma, grad_bias, None, None, None, None


@torch.no_grad()
def power_step(layers: Sequence[SigmaLinear]) -> Tensor:
    """One step of power iteration in each of some layers.

    All but the products is done for all layers at once: a large network has hundreds, and as many
    small kernels for each as there are lines here would take longer than its attention.

    Returns:
        ``(L, 4)``: spectral norms of the layers' weights, in every column; not below 1e-12. Rows
        begin where compiled code likes its inputs.
    """
    weights = [_whole(layer.weight) for layer in layers]
    outs, ins = ([weight.shape[axis] for weight in weights] for axis in (0, 1))
    lefts = weights[0].new_zeros(len(layers), max(outs))
    rights = weights[0].new_zeros(len(layers), max(ins))
    us = [row[:size] for row, size in zip(lefts, outs, strict=True)]
    vs = [row[:size] for row, size in zip(rights, ins, strict=True)]
    with torch.autocast(lefts.device.type, enabled=False):
        for layer, weight, u in zip(layers, weights, us, strict=True):
            torch.mv(weight, layer.v, out=u)
        lefts /= lefts.norm(dim=1, keepdim=True).clamp(min=_LEAST)
        for weight, u, v in zip(weights, us, vs, strict=True):
            torch.mv(weight.t(), u, out=v)
        # u W v, with v along u W.
        norms = rights.norm(dim=1, keepdim=True).clamp(min=_LEAST)
        rights /= norms
    torch._foreach_copy_([layer.u for layer in layers], us)
    torch._foreach_copy_([layer.v for layer in layers], vs)
    return norms.repeat(1, 4)


def reparameterise_(module: nn.Module, *, keep_norm: bool = False) -> nn.Module:
    """Replace every linear layer in ``module``, but embeddings and those of the spatial prior.

    Args:
        module: Changed in place.
        keep_norm: As for :class:`SigmaLinear`: for pretrained layers.

    Returns:
        ``module``.
    """
    for name, linear in _children_of(module, nn.Linear):
        if is_reparameterised(name):
            _replace(module, name, SigmaLinear(linear, keep_norm=keep_norm))
    return module


def is_reparameterised(name: str) -> bool:
    """Whether :func:`reparameterise_` replaces a linear layer of that name."""
    return "embed" not in name and name.split(".")[0] != "prior"


def fold_(module: nn.Module) -> nn.Module:
    """Replace every sigma-reparameterised layer by a plain one that computes the same."""
    for name, layer in _children_of(module, SigmaLinear):
        _replace(module, name, layer.folded())
    return module


def sigma_layers(module: nn.Module) -> list[SigmaLinear]:
    """All sigma-reparameterised layers."""
    return [layer for _, layer in _children_of(module, SigmaLinear)]


def _children_of(module: nn.Module, kind: type) -> list[tuple[str, nn.Module]]:
    return [(name, child) for name, child in module.named_modules() if type(child) is kind]


def _replace(module: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, new)


def _start_of(linear: nn.Linear) -> float:
    return getattr(linear, "initial_gamma", INITIAL_GAMMA)


def _whole(weight: Tensor) -> Tensor:
    """The whole weight where it is sharded over several processes."""
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight
