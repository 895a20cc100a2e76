"""Grasps that nobody stored: those of the bank, changed.

A few dozen grasps of a type are learnt by heart. So things turn into themselves, as boxes and
cylinders do, and fingers and things are off by some millimetres.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from manip_model.config import YCB_CLASSES
from manip_model.rotations import matrix_from_rotvec
from manip_training.data.primitives import CYLINDER, PRIMITIVES
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.grasps import Stored

# How far things are off, least and most [m], by how much they are turned for each metre of that
# [rad], and the greatest deviation of finger joints [rad].
_OFF, _TURNED, _BENT = (0.0005, 0.005), 15.0, 0.04
_ROUND = tuple(PRIMITIVES[name].kind == CYLINDER for name in YCB_CLASSES)
# Half turns about x, y and z, and none: as diagonals.
_HALVES = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


def vary(stored: Stored, draw: Draw, same: Callable[[Stored], Tensor]) -> Stored:
    """B grasps near to those that are stored.

    Args:
        stored: Those of the bank.
        draw: Where the numbers come from.
        same: Which of B changed grasps ``(B,)`` are still what the stored ones are; of the others
            nothing but the thing's turn is changed.
    """
    turned = replace(stored, rotation=stored.rotation @ itself(stored.index, draw))
    off = draw.log_uniform(*_OFF, 1)
    shaken = matrix_from_rotvec(_TURNED * off * draw.normal(3))
    bent = stored.closed + _BENT * draw.uniform(0, 1, 1, 1) * draw.normal(15, 3)
    changed = replace(
        turned,
        closed=bent,
        rotation=turned.rotation @ shaken,
        position=stored.position + off * draw.normal(3),
    )
    keep = same(changed)[:, None]
    return replace(
        turned,
        closed=torch.where(keep[..., None], bent, stored.closed),
        rotation=torch.where(keep[..., None], changed.rotation, turned.rotation),
        position=torch.where(keep, changed.position, stored.position),
    )


def itself(index: Tensor, draw: Draw) -> Tensor:
    """Turns ``(B, 3, 3)`` of things of classes ``(B,)`` that leave them as they are: half turns of
    boxes about their axes, and of cylinders any turn about z beside."""
    device = index.device
    halves = torch.tensor(_HALVES, device=device)
    flip = torch.diag_embed(halves[draw.index(len(_HALVES))])
    about = draw.uniform(-torch.pi, torch.pi, 1) * torch.tensor(_ROUND, device=device)[index, None]
    return flip @ matrix_from_rotvec(torch.nn.functional.pad(about, (2, 0)))
