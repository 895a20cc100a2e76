"""Random numbers of one batch, on its device, without a look back from the host."""

import math

import torch
from torch import Tensor

# Numbers of each image that are drawn at once: a few large draws take less time than many small.
BLOCK = 384


class Draw:
    """Hands out random tensors whose first dimension is the batch.

    Args:
        size: Number of images B.
        generator: Where the numbers come from; its device is that of the tensors.
    """

    def __init__(self, size: int, generator: torch.Generator):
        self.size = size
        self._generator = generator
        self._blocks: dict = {}

    def _take(self, kind, shape: tuple[int, ...]) -> Tensor:
        count = math.prod(shape)
        block, used = self._blocks.get(kind, (None, BLOCK))
        if used + count > BLOCK:
            block, used = kind((self.size, max(BLOCK, count)), generator=self._generator,
                               device=self.device), 0  # fmt: skip
        self._blocks[kind] = block, used + count
        return block[:, used : used + count].unflatten(1, shape) if shape else block[:, used]

    @property
    def generator(self) -> torch.Generator:
        """Where the numbers come from."""
        return self._generator

    @property
    def device(self) -> torch.device:
        """Of all tensors."""
        return self._generator.device

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """``(B, *shape)``, evenly between two numbers."""
        unit = self._take(torch.rand, shape)
        return unit * (high - low) + low

    def normal(self, *shape: int) -> Tensor:
        """``(B, *shape)`` with mean 0 and standard deviation 1."""
        return self._take(torch.randn, shape)

    def normal_like(self, like: Tensor) -> Tensor:
        """The same of the shape of another tensor, however large."""
        return torch.randn(like.shape, generator=self._generator, device=self.device)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """``(B, *shape)`` whose logarithms are even between those of two positive numbers."""
        return low * (high / low) ** self.uniform(0, 1, *shape)

    def chance(self, probability: float, *shape: int) -> Tensor:
        """``(B, *shape)`` bool, True with a probability."""
        return self._take(torch.rand, shape) < probability

    def index(self, count: int, *shape: int) -> Tensor:
        """``(B, *shape)`` int64, 0 to ``count - 1``, all alike."""
        return self.uniform(0, count, *shape).long().clamp(max=count - 1)

    def pick(self, cumulative: Tensor, *shape: int) -> Tensor:
        """``(B, *shape)`` int64 rows, by rising sums ``(N,)`` of probabilities that end at 1."""
        rows = torch.searchsorted(cumulative, self._take(torch.rand, shape).contiguous())
        return rows.clamp(max=len(cumulative) - 1)

    def pick_value(self, table: Tensor) -> Tensor:
        """``(B, …)`` entries of a table ``(N, …)``, all alike."""
        return table[self.index(len(table))]

    def rotation(self) -> Tensor:
        """``(B, 3, 3)`` turns, evenly over all of them (a normal quaternion, made unit)."""
        q = self.normal(4)
        w, x, y, z = (q / q.norm(dim=-1, keepdim=True).clamp(min=1e-6)).unbind(-1)
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        return torch.stack([torch.stack(row, -1) for row in rows], -2)


class SteadyDraw(Draw):
    """The same numbers for every image of a film, of which a batch may hold several, one after the
    other; but for :meth:`normal_like`'s.

    Args:
        size: Number of images B, of all films together.
        generator: See :class:`Draw`.
        films: Of equally many images.
    """

    def __init__(self, size: int, generator: torch.Generator, films: int = 1):
        super().__init__(size, generator)
        self._each, self._own = size // films, Draw(films, generator)

    def _take(self, kind, shape: tuple[int, ...]) -> Tensor:
        return self._own._take(kind, shape).repeat_interleave(self._each, 0)


def about_axis(axis: int, angle: Tensor) -> Tensor:
    """Turns ``(…, 3, 3)`` by angles ``(…)`` [rad] about x, y or z (0, 1 or 2)."""
    c, s, one, zero = angle.cos(), angle.sin(), torch.ones_like(angle), torch.zeros_like(angle)
    rows = (
        (one, zero, zero, zero, c, -s, zero, s, c),
        (c, zero, s, zero, one, zero, -s, zero, c),
        (c, -s, zero, s, c, zero, zero, zero, one),
    )[axis]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
