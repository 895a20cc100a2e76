"""Training of the action decoder: scenes of the synthetic world, seen with errors."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from manip_model.action import ActionNetwork
from manip_model.action_features import ACTION_TOLD, FORMAT, Sights, features, nothing_before
from manip_model.temporal import TemporalConfig, frequencies
from manip_training.action.objective import Foretold, action_losses
from manip_training.action.scenes import AHEAD, SceneDraw
from manip_training.action.sight import Sight, SightConfig
from manip_training.data.cache import mixed_seed
from manip_training.descent import descend
from manip_training.weights_file import read_weights, restored

# Files of networks that were told less.
_EARLIER = tuple(f"manip-action-{number}" for number in (1, 2, 3))


@dataclass(frozen=True, kw_only=True)
class ActionFitConfig:
    """How it is trained.

    Attributes:
        steps, batch, frames: Steps of the optimiser, sequences in each, and their frames.
        rates: Least and most frames a second.
        lr: Greatest rate, see :func:`manip_training.descent.descend`.
        pool: Sequences that are drawn at a time; each is seen ``uses`` times, with other errors.
        seed: Of all.
        sight: How things are seen.
        start: A file of weights to go on from; empty for random ones.
        keep: Share of the weights it started from in those it ends with: their mean may do
            better than either (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
    """

    steps: int = 15000
    batch: int = 32
    frames: int = 44
    rates: tuple[float, float] = (20.0, 60.0)
    lr: float = 2e-3
    pool: int = 256
    uses: int = 8
    seed: int = 0
    sight: SightConfig = field(default_factory=SightConfig)
    start: str = ""
    keep: float = 0.0

    def __post_init__(self):
        if not 0 <= self.keep < 1 or (self.keep and not self.start):
            raise ValueError(
                f"keep must be from 0 to below 1, and 0 without a start, got {self.keep}"
            )


class ActionSequences:
    """Draws batches of what was seen, and what is to be foretold."""

    def __init__(self, config: ActionFitConfig, variant: str = "train"):
        self._config = config
        self.draw, self._sight = SceneDraw(variant), Sight(config.sight)
        self._drawn = -1

    def batch(self, number: int) -> tuple[Sights, Foretold]:
        """Of ``B`` sequences; a function of the number alone."""
        config = self._config
        rng = np.random.default_rng(mixed_seed(config.seed, number))
        draws = max(config.pool // config.batch * config.uses, 1)
        if number // draws != self._drawn:
            self._drawn = number // draws
            own = np.random.default_rng(mixed_seed(config.seed, self._drawn, 1))
            rate = float(np.exp(own.uniform(*np.log(config.rates))))
            frames = config.frames + math.ceil(AHEAD * rate) + 1
            seed = mixed_seed(config.seed, self._drawn, 2)
            self._scenes = self.draw.mixed(config.pool, frames, rate, seed)
            self._truth = Foretold.of(self._scenes, config.frames)
        rows = rng.choice(len(self._scenes.joints), config.batch, replace=False)
        sights = self._sight.see(self._scenes, rows, config.frames, rng)
        return sights, self._truth.tensors(rows)


def told(sights: Sights) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What the network is told, and the times."""
    named, _ = features(sights, nothing_before(len(sights.times)))
    times = torch.from_numpy(sights.times - sights.times[:, :1])
    return {name: torch.from_numpy(value) for name, value in named.items()}, times


def fit(
    config: ActionFitConfig, say: Callable[[str], None] = print, every: int = 100
) -> ActionNetwork:
    """Train; returns the network in evaluation mode. ``say`` is told ``every`` so many steps."""
    torch.manual_seed(config.seed)
    network = load(config.start).train() if config.start else ActionNetwork()
    first = {name: value.clone() for name, value in network.state_dict().items()}
    sequences = ActionSequences(config)

    def losses_of(step: int) -> dict[str, torch.Tensor]:
        sights, truth = sequences.batch(step)
        return action_losses(network(*told(sights)), truth)

    descend(network, losses_of, config.steps, config.lr, say, every)
    last = network.state_dict()
    network.load_state_dict(
        {name: torch.lerp(last[name], first[name], config.keep) for name in last}
    )
    return network


def load(path: str | Path) -> ActionNetwork:
    """The network of a file that :func:`save` wrote, in evaluation mode. Of what earlier files were
    not told of a frame it makes nothing at first, but for the labels' rule's word, which counts as
    in a new network: training may go on from them.

    Raises:
        ValueError: It is no such file.
    """
    sizes = TemporalConfig().to_dict()
    _, sizes, held = read_weights(path, "action", (FORMAT, *_EARLIER), sizes)
    held.pop("frequencies")
    network = ActionNetwork(TemporalConfig(**sizes))
    for name, size in ACTION_TOLD.items():
        first = held[f"embed.{name}.0.weight"]
        new = np.zeros((len(first), size - first.shape[1]), first.dtype)
        held[f"embed.{name}.0.weight"] = np.concatenate((first, new), 1)
    held.setdefault("rule.weight", network.rule.weight.detach().numpy())
    return restored(network, held)


def save(network: ActionNetwork, path: str | Path) -> None:
    """Write what :class:`manip_perception.action.ActionDecoder` reads."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    sizes = {f"config/{name}": value for name, value in network.config.to_dict().items()}
    np.savez_compressed(
        path, format=FORMAT, frequencies=frequencies(network.config), **weights, **sizes
    )
