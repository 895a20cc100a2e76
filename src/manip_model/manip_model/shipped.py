"""Shipped weights (:mod:`manip_model.shards`) as torch has them."""

from pathlib import Path

import torch
from torch import Tensor, nn

from manip_model.shards import plain_weights, read_index, read_stored
from manip_model.sigma_reparam import SigmaLinear, is_reparameterised
from manip_model.spatial_prior import unfolded


def read_shipped(folder: str | Path) -> dict:
    """Config, hand and weights of a folder, as :func:`manip_model.checkpoint.read` gives them.

    What ships is folded. Where the config asks for sigma-reparameterised layers, the weights here
    are theirs again: gamma is each matrix' spectral norm, so that the layers compute the same and
    training can start from them.

    Raises:
        FileNotFoundError, ValueError: Something is missing or damaged; the message says what.
    """
    index = read_index(folder)
    weights = {
        name: torch.from_numpy(value) for name, value in plain_weights(read_stored(folder)).items()
    }
    weights = _with_norms(weights)
    if index["config"]["sigma_reparam"]:
        weights = _unfolded(weights)
    return {"config": index["config"], "hand": index["hand"], "weights": weights}


def _with_norms(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network whose prior has batch norms, from folded ones."""
    found = dict(weights)
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        # Of the prior's convolutions those three cells wide have norms.
        if name.startswith("prior.") and weight.ndim == 4 and weight.shape[-1] == 3:
            bias = found.pop(f"{layer}.bias")
            found |= {
                f"{layer}.{key}": value for key, value in unfolded(found.pop(name), bias).items()
            }
    return found


def _unfolded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a network whose linear layers are reparameterised, from folded ones."""
    unfolded = dict(weights)
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        if weight.ndim != 2 or layer == name or not is_reparameterised(layer):
            continue
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(weight)
        made = SigmaLinear(linear, keep_norm=True).state_dict()
        unfolded |= {f"{layer}.{key}": value for key, value in made.items()}
    return unfolded
