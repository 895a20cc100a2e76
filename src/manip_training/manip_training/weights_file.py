"""The files of small networks: a format's name, the network's sizes, and its weights by name."""

from pathlib import Path

import numpy as np
import torch
from torch import nn


def read_weights(
    path: str | Path, what: str, formats: tuple[str, ...], sizes: dict[str, int]
) -> tuple[str, dict[str, int], dict[str, np.ndarray]]:
    """What such a file holds.

    Args:
        path: Of the file.
        what: Of which network, for errors.
        formats: Those that are read, the present one first.
        sizes: Names of the network's sizes, with what they are where the file does not say.

    Returns:
        The format, the sizes, and all else.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is of another format.
    """
    with np.load(path, allow_pickle=False) as file:
        held = dict(file)
    kind = str(held.pop("format", ""))
    if kind not in formats:
        raise ValueError(f"{path} is no file of {what} weights: it is not a {formats[0]}")
    sizes = {name: int(held.pop(f"config/{name}", size)) for name, size in sizes.items()}
    return kind, sizes, held


def restored(network: nn.Module, held: dict[str, np.ndarray]) -> nn.Module:
    """The network with those weights, in evaluation mode."""
    weights = {name: torch.from_numpy(value).float() for name, value in held.items()}
    network.load_state_dict(weights)
    return network.eval()
