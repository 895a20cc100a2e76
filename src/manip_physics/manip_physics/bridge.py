"""A JAX function as a step in a PyTorch computation, without copies through the host.

Tensors are handed over by DLPack: both sides look at the same memory, on the CPU as on a GPU. So
neither side may write into what it handed over; PyTorch's own operations out of place do not.
"""

from collections.abc import Callable

import jax
import torch


def to_jax(tensor: torch.Tensor) -> jax.Array:
    """A tensor's memory as a JAX array.

    Raises:
        ValueError: It is float64, and JAX would make float32 of it, unasked.
    """
    if tensor.dtype == torch.float64 and not jax.config.jax_enable_x64:
        raise ValueError("tensor is float64, but JAX computes in float32: set jax_enable_x64")
    return jax.dlpack.from_dlpack(tensor.detach().contiguous())


def to_torch(array: jax.Array) -> torch.Tensor:
    """A JAX array's memory as a tensor."""
    return torch.from_dlpack(array)


class JaxFunction:
    """``simulate = JaxFunction(f)``: calls ``f`` on tensors and takes part in ``backward``.

    Args:
        function: Pure, of one or more arrays, returns one array. It is compiled once for each
            shape, forward and backward apart.
    """

    def __init__(self, function: Callable[..., jax.Array]):
        self._forward = jax.jit(lambda *inputs: jax.vjp(function, *inputs))
        self._backward = jax.jit(lambda pull, gradient: pull(gradient))

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        """The function's value as a tensor that knows where it came from."""
        return _Bridge.apply(self, *tensors)


class JaxLoss:
    """A number computed by JAX together with its gradient, as one compiled function gives both.

    Cheaper than `JaxFunction` where there is but one number: nothing is kept for the way back but
    the gradient itself.

    Args:
        both: Of one array, returns a number's array and the gradient.
    """

    def __init__(self, both: Callable[[jax.Array], tuple[jax.Array, jax.Array]]):
        self._both = both

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The number as a tensor that knows where it came from."""
        return _Loss.apply(self._both, tensor)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, both, tensor: torch.Tensor) -> torch.Tensor:
        value, gradient = both(to_jax(tensor))
        ctx.save_for_backward(to_torch(gradient))
        return to_torch(value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: torch.Tensor):
        return None, gradient * ctx.saved_tensors[0]


class _Bridge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, bridge: JaxFunction, *tensors: torch.Tensor) -> torch.Tensor:
        value, ctx.pull = bridge._forward(*map(to_jax, tensors))
        ctx.bridge = bridge
        return to_torch(value)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: torch.Tensor):
        found = ctx.bridge._backward(ctx.pull, to_jax(gradient))
        return None, *map(to_torch, found)
