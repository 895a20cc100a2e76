"""Which query speaks of which object: the cheapest assignment (Carion et al. 2020, DETR)."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from manip_model.outputs import ModelOutput
from manip_model.rotations import geodesic
from manip_training.batch import Batch

# What a wrong class, a metre, a radian and a silent query cost: a class outweighs 10 cm.
_CLASS, _POSITION, _ROTATION, _CONFIDENCE = 1.0, 10.0, 0.3, 0.5
# What each query costs more than the one before. Alike otherwise, ten of them share the few objects
# of a hand's crop: each would say "perhaps", a tenth of the chance, and none "yes". Ten turns weigh
# less than being sure.
_TURN = 0.05
# For predictions that are no numbers, so that they do not stop the matching of the others.
_WORST = 1e6
# Up to so many slots, every assignment is tried where the costs are; a GPU is not waited for.
_FEW_SLOTS = 2


@torch.compiler.disable
@torch.no_grad()
def match_objects(output: ModelOutput, batch: Batch) -> Tensor:
    """The query that answers for each label slot.

    Slots whose pose is not labelled are matched by class and confidence alone; in pictures whose
    objects are not labelled, nothing is.

    Args:
        output: Predictions; positions [m], camera_optical_frame.
        batch: The truth.

    Returns:
        ``(B, S)`` int64, a row of the queries, -1 where the slot is empty.
    """
    cost = matching_cost(output, batch)
    there = (batch["object_class"] >= 0) & batch["objects_valid"][:, None]
    if cost.shape[2] <= _FEW_SLOTS:
        return assign_few(cost, there)
    marked = torch.where(there[:, None], cost, torch.inf)
    # The one wait for the device in the losses.
    matched = assign(marked.float().cpu().numpy())
    return torch.from_numpy(matched).to(cost.device, non_blocking=True)


def matching_cost(output: ModelOutput, batch: Batch) -> Tensor:
    """Finite cost ``(B, Q, S)`` of letting each query answer for each slot, empty or not."""
    dtype = output.object_position.dtype
    classes = batch["object_class"].clamp(min=0)
    chance = output.object_class_logits.softmax(-1)
    cost = -_CLASS * chance.gather(2, classes[:, None].expand(-1, chance.shape[1], -1))
    cost = cost - _CONFIDENCE * output.object_confidence_logits.sigmoid()[:, :, None]
    apart = torch.cdist(output.object_position, batch["object_position"].to(dtype))
    turned = geodesic(
        output.object_rotation[:, :, None], batch["object_rotation"][:, None].to(dtype)
    )
    pose = _POSITION * apart + _ROTATION * turned
    cost = cost + torch.where(batch["object_pose_valid"][:, None], pose, 0.0)
    turn = _TURN * torch.arange(cost.shape[1], device=cost.device, dtype=dtype)
    return cost.nan_to_num(_WORST, _WORST, -_WORST) + turn[:, None]


def assign(cost: np.ndarray) -> np.ndarray:
    """The assignment of least cost, by the Hungarian method (Kuhn 1955).

    Args:
        cost: ``(B, Q, S)``; infinite in the columns of empty slots, which take no query.

    Returns:
        ``(B, S)`` int64, the row of each column, -1 for empty slots.

    Raises:
        ValueError: More slots filled than there are queries.
    """
    matched = np.full((cost.shape[0], cost.shape[2]), -1, dtype=np.int64)
    for sample, costs in enumerate(cost):
        columns = np.flatnonzero(np.isfinite(costs).all(axis=0))
        if len(columns) > len(costs):
            raise ValueError(f"{len(columns)} objects are labelled, but only {len(costs)} queries")
        rows, chosen = linear_sum_assignment(costs[:, columns])
        matched[sample, columns[chosen]] = rows
    return matched


def assign_few(cost: Tensor, there: Tensor) -> Tensor:
    """The assignment of least cost for one or two slots, of all that there are.

    Args:
        cost: ``(B, Q, S)``, finite, with S of 1 or 2 and no more slots than queries.
        there: ``(B, S)`` bool, which slots are filled.

    Returns:
        ``(B, S)`` int64, the row of each column, -1 for empty slots.
    """
    queries, slots = cost.shape[1:]
    cost = torch.where(there[:, None], cost, 0.0)
    if slots == 1:
        matched = cost.argmin(1)
    else:
        pairs = cost[:, :, None, 0] + cost[:, None, :, 1]
        same = torch.eye(queries, dtype=torch.bool, device=cost.device)
        best = pairs.masked_fill(same, torch.inf).flatten(1).argmin(1)
        matched = torch.stack((best // queries, best % queries), -1)
    return torch.where(there, matched, -1)


def of_matched(values: Tensor, matched: Tensor) -> Tensor:
    """``values`` ``(B, Q, …)`` in the order of the slots ``(B, S, …)``; any for empty ones."""
    index = matched.clamp(min=0).reshape(*matched.shape, *(1,) * (values.ndim - 2))
    return values.gather(1, index.expand(*matched.shape, *values.shape[2:]))


def is_matched(matched: Tensor, queries: int) -> Tensor:
    """``(B, queries)`` bool: the query answers for some slot."""
    return (matched[..., None] == torch.arange(queries, device=matched.device)).any(1)
