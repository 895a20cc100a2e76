"""Objects of one topology: rings about an axis whose section goes from round to square.

A grid has ``RINGS`` rings of ``SECTIONS`` vertices. Corners and edges have two vertices, each with
the normal of its own side, so boxes and cylinders stay sharp. All are their own mirror image across
x = 0, and so is their colouring: in the mirror an object is the same one, turned.
"""

import numpy as np
import torch
from torch import Tensor

from manip_model.config import YCB_CLASSES
from manip_training.data.primitives import BOX, PRIMITIVES, Pattern
from manip_training.synthetic.draw import Draw

SECTIONS = 24
RINGS = 12
# Profiles: radius and height of each ring, as shares of half the width and half the height.
CYLINDER = ((0, -1), (0.5, -1), (1, -1), (1, -1), (1, -0.5), (1, -0.01), (1, 0.01), (1, 0.5),
            (1, 1), (1, 1), (0.5, 1), (0, 1))  # fmt: skip
BOTTLE = ((0, -1), (0.9, -1), (1, -0.94), (1, -0.5), (1, 0.1), (0.9, 0.35), (0.45, 0.58),
          (0.35, 0.7), (0.35, 0.8), (0.42, 0.8), (0.42, 1), (0, 1))  # fmt: skip
BALL = tuple((float(torch.cos(a)), float(torch.sin(a)))
             for a in torch.linspace(-0.5, 0.5, RINGS) * torch.pi)  # fmt: skip
BOWL = ((0, -1), (0.5, -1), (0.5, -0.9), (0.75, -0.5), (0.93, 0.2), (1, 1), (0.96, 1),
        (0.89, 0.25), (0.7, -0.4), (0.4, -0.78), (0.2, -0.85), (0, -0.86))  # fmt: skip
CUP = ((0, -1), (0.7, -1), (0.75, -1), (0.82, -0.4), (0.9, 0.3), (1, 1), (0.94, 1), (0.85, 0.3),
       (0.77, -0.4), (0.7, -0.85), (0.35, -0.86), (0, -0.87))  # fmt: skip
TUBE = ((0, -1), (0.25, -1), (0.5, -0.95), (0.6, -0.7), (0.8, -0.3), (1, 0.1), (1, 0.35),
        (0.95, 0.6), (0.85, 0.8), (0.6, 0.93), (0.3, 0.99), (0, 1))  # fmt: skip
GLASS = ((0, -1), (0.8, -1), (0.82, -0.95), (0.2, -0.85), (0.12, -0.6), (0.12, -0.2), (0.3, 0.0),
         (0.8, 0.2), (1, 0.5), (0.95, 0.8), (0.85, 1.0), (0, 1.0))  # fmt: skip
# Which a variant's bystanding objects have; square and round sections of each.
PROFILES = {"train": (CYLINDER, BOTTLE, BALL, BOWL, CYLINDER), "val": (CUP, TUBE, GLASS, CYLINDER)}
# Their smallest and largest width and height [m].
WIDTHS = {"train": (0.02, 0.13), "val": (0.03, 0.1)}
HEIGHTS = {"train": (0.03, 0.26), "val": (0.05, 0.2)}


class Objects:
    """Builds the grids; constants on one device.

    Attributes:
        faces: ``(F, 3)`` int64, counter-clockwise seen from outside.
        sizes: ``(21, 3)`` [m] half of the primitives' width, depth and height.
        boxes: ``(21,)`` bool, a box; else a cylinder.
    """

    def __init__(self, variant: str, device: torch.device | str):
        self.faces = _faces().to(device)
        k = torch.arange(SECTIONS)
        quarter = SECTIONS // 4
        # Sides of the square lie about angles 0, 90, 180 and 270 degrees.
        angle = 2 * torch.pi * (k - 0.5 * (quarter - 1)) / SECTIONS
        # The polygon's corners lie as far outside of the circle as its sides' middles lie inside.
        radius = 2 / (1 + float(torch.cos(torch.tensor(torch.pi / SECTIONS))))
        self._circle = (radius * torch.stack((angle.cos(), angle.sin()), -1)).to(device)
        share = (k % quarter) / (quarter - 1) * 2 - 1
        self._square = _square(k // quarter, share).to(device)
        primitives = [PRIMITIVES[name] for name in YCB_CLASSES]
        self.sizes = 0.5 * torch.tensor([p.size for p in primitives], device=device)
        self.boxes = torch.tensor([p.kind == BOX for p in primitives], device=device)
        self._cylinder = torch.tensor(CYLINDER, device=device).float()
        self._profiles = torch.tensor(PROFILES[variant], device=device).float()
        self._range = WIDTHS[variant], HEIGHTS[variant]
        self._colours = self._patterns(primitives).to(device)

    def grid(self, half: Tensor, square: Tensor, profile: Tensor) -> Tensor:
        """Vertices ``(B, RINGS * SECTIONS, 3)`` in the object's frame.

        Args:
            half: ``(B, 3)`` [m] half the width, depth and height.
            square: ``(B,)`` 0 round to 1 square.
            profile: ``(B, RINGS, 2)``.
        """
        section = torch.lerp(self._circle, self._square, square[:, None, None])
        across = profile[:, :, None, :1] * section[:, None] * half[:, None, None, :2]
        up = (profile[..., 1] * half[:, 2:])[:, :, None, None].expand(*across.shape[:-1], 1)
        return torch.cat((across, up), -1).flatten(1, 2)

    def primitive(self, index: Tensor) -> Tensor:
        """The grid of labelled objects, ``(B,)`` rows of the classes."""
        profile = self._cylinder.expand(len(index), -1, -1)
        return self.grid(self.sizes[index], self.boxes[index].float(), profile)

    def primitive_colours(self, index: Tensor) -> Tensor:
        """``(B, n, 3)`` linear colours of labelled objects."""
        return self._colours[index]

    def any(self, draw: Draw) -> Tensor:
        """The grid of some other object."""
        profile = draw.pick_value(self._profiles)
        square = draw.uniform(0, 1) * draw.chance(0.3)
        square = torch.where(draw.chance(0.2), 1.0, square)
        widths, heights = self._range
        width = 0.5 * draw.log_uniform(*widths, 1)
        depth = width * draw.uniform(0.4, 1.0, 1) ** draw.chance(0.4, 1)
        height = 0.5 * draw.log_uniform(*heights, 1)
        return self.grid(torch.cat((width, depth, height), -1), square, profile)

    def _patterns(self, primitives) -> Tensor:
        grids = self.primitive(torch.arange(len(primitives), device=self.sizes.device)).cpu()
        grids = grids.unflatten(1, (RINGS, SECTIONS))
        half = self.sizes.cpu()[:, None]
        # A point of an edge takes the colour of its own side: it moves a little towards the middle
        # of the side before the pattern is asked.
        middles = _square(torch.arange(SECTIONS) // (SECTIONS // 4), torch.zeros(SECTIONS))
        middles = middles[None] * half[..., :2]
        grids[..., :2] = torch.lerp(grids[..., :2], middles[:, None], 0.03)
        grids[:, 3:-3, :, 2] *= 0.98
        # The same on both sides of x = 0.
        grids[..., 0] = grids[..., 0].abs()
        points = grids.flatten(1, 2).double().numpy()
        colours = [Pattern(p, i)(points[i]) for i, p in enumerate(primitives)]
        return torch.tensor(np.stack(colours), dtype=torch.float32).clamp(0, 1) ** 2.2


def _square(side: Tensor, share: Tensor) -> Tensor:
    """Points ``(N, 2)`` of the square of half width 1: along its four sides from -1 to 1."""
    one = torch.ones_like(share)
    rows = [torch.stack(row, -1) for row in ((one, share), (-share, one), (-one, -share),
                                             (share, -one))]  # fmt: skip
    return torch.stack(rows)[side, torch.arange(len(side))]


def _faces() -> Tensor:
    ring, k = torch.meshgrid(torch.arange(RINGS - 1), torch.arange(SECTIONS), indexing="ij")
    here = (ring * SECTIONS + k).flatten()
    there = (ring * SECTIONS + (k + 1) % SECTIONS).flatten()
    one = torch.stack((here, there, there + SECTIONS), -1)
    two = torch.stack((here, there + SECTIONS, here + SECTIONS), -1)
    return torch.cat((one, two))
