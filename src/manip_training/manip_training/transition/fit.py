"""Training of the transition model on motions of the synthetic world."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from manip_model.transition import TransitionConfig, TransitionNetwork
from manip_model.transition_features import FORMAT, features
from manip_training.descent import descend
from manip_training.transition.gaps import GapConfig, Gaps
from manip_training.transition.objective import transition_losses
from manip_training.weights_file import read_weights, restored


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How it is trained.

    Attributes:
        steps, batch: Steps of the optimiser, and gaps in each.
        lr: Greatest rate, see :func:`manip_training.descent.descend`.
        seed: Of all.
    """

    steps: int = 1700
    batch: int = 64
    lr: float = 2e-3
    seed: int = 0
    model: TransitionConfig = field(default_factory=TransitionConfig)
    gaps: GapConfig = field(default_factory=GapConfig)


def fit(
    config: FitConfig, say: Callable[[str], None] = print, every: int = 200
) -> TransitionNetwork:
    """Train; returns the network in evaluation mode. ``say`` is told ``every`` so many steps."""
    torch.manual_seed(config.seed)
    network = TransitionNetwork(config.model)
    gaps = Gaps(config.gaps, config.batch, config.seed)

    def losses_of(step: int) -> dict[str, torch.Tensor]:
        cut = gaps.batch(step)
        told, unit = features(cut.gap)
        return transition_losses(*network(torch.from_numpy(told)), unit, cut)

    descend(network, losses_of, config.steps, config.lr, say, every)
    return network


def save(network: TransitionNetwork, path: str | Path) -> None:
    """Write what :class:`manip_perception.transition.TransitionNetwork` reads, in half
    precision."""
    held = network.state_dict().items()
    weights = {name: value.numpy().astype(np.float16) for name, value in held}
    sizes = {f"config/{name}": value for name, value in network.config.to_dict().items()}
    np.savez_compressed(path, format=FORMAT, **weights, **sizes)


def load(path: str | Path) -> TransitionNetwork:
    """What :func:`save` has written, in evaluation mode.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is no such file.
    """
    empty = TransitionConfig().to_dict()
    _, sizes, held = read_weights(path, "transition", (FORMAT,), empty)
    return restored(TransitionNetwork(TransitionConfig(**sizes)), held)
