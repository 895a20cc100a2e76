"""Training of temporal fusion: motions of the synthetic world, seen by an observer that errs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from manip_model.temporal import TemporalConfig, TemporalFusion, frequencies
from manip_model.temporal_features import FORMAT, Carried, Moments, features, nothing_carried
from manip_training.data.cache import mixed_seed
from manip_training.descent import descend
from manip_training.synthetic.world import SyntheticWorld, WorldConfig
from manip_training.temporal.objective import FORESEEN, Truth, temporal_losses
from manip_training.temporal.observer import Observer, ObserverConfig
from manip_training.temporal.watched import Watched


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How it is trained.

    Attributes:
        steps, batch, frames: Steps of the optimiser, sequences in each, and their frames.
        rates: Least and most frames a second.
        lr: Greatest rate, see :func:`manip_training.descent.descend`.
        pool: Sequences that are drawn at a time; each is seen ``uses`` times, with other errors.
        seed: Of all.
        films: A folder of films that estimators saw; empty for the observer alone.
        films_share: Of the steps, those that learn from films.
    """

    steps: int = 1600
    batch: int = 32
    frames: int = 48
    rates: tuple[float, float] = (15.0, 60.0)
    lr: float = 2e-3
    pool: int = 256
    uses: int = 8
    seed: int = 0
    films: str = ""
    films_share: float = 0.5
    model: TemporalConfig = field(default_factory=TemporalConfig)
    observer: ObserverConfig = field(default_factory=ObserverConfig)
    world: WorldConfig = field(default_factory=lambda: WorldConfig(free=0.15))


class Sequences:
    """Draws batches of what was seen, and the truth."""

    def __init__(self, config: FitConfig, variant: str = "train"):
        world = SyntheticWorld(WorldConfig(**{**vars(config.world), "variant": variant}), size=64)
        self._motions, self._config = world.motions, config
        self._observer = Observer(config.observer)
        self._watched = Watched(config.films, config.frames) if config.films else None
        self._pool: np.ndarray | None = None
        self._drawn = -1

    def batch(self, number: int) -> tuple[Moments, np.ndarray, float]:
        """What was seen ``(B, T, …)``, the true joints ``(B, T + max(FORESEEN), 21, 3)`` [m], and
        the frames a second; a function of the number alone."""
        config = self._config
        draws = max(config.pool // config.batch * config.uses, 1)
        rng = np.random.default_rng(mixed_seed(config.seed, number))
        if self._watched and rng.random() < config.films_share:
            return self._watched.batch(config.batch, rng)
        if number // draws != self._drawn:
            self._drawn = number // draws
            own = np.random.default_rng(mixed_seed(config.seed, self._drawn, 1))
            self._rate = float(np.exp(own.uniform(*np.log(config.rates))))
            generator = torch.Generator().manual_seed(mixed_seed(config.seed, self._drawn, 2))
            frames = config.frames + max(FORESEEN)
            self._pool = self._motions.draw(config.pool, frames, self._rate, generator)
            self._pool = self._pool.joints.double().numpy()
        true = self._pool[rng.choice(len(self._pool), config.batch, replace=False)]
        return self._observer.see(true[:, : config.frames], self._rate, rng), true, self._rate


def tensors(moments: Moments) -> tuple[dict[str, Tensor], Carried, Tensor]:
    """What the network is told, the hands that it corrects, and the times."""
    told, now = features(moments, nothing_carried(len(moments.times)))
    now = Carried(
        torch.from_numpy(now.shape).float(), torch.from_numpy(now.place).float(), now.times
    )
    times = torch.from_numpy(moments.times - moments.times[:, :1])
    return {name: torch.from_numpy(value) for name, value in told.items()}, now, times


def fit(config: FitConfig, say: Callable[[str], None] = print, every: int = 100) -> TemporalFusion:
    """Train; returns the network in evaluation mode. ``say`` is told ``every`` so many steps."""
    torch.manual_seed(config.seed)
    network, sequences = TemporalFusion(config.model), Sequences(config)

    def losses_of(step: int) -> dict[str, Tensor]:
        moments, true, rate = sequences.batch(step)
        told, now, times = tensors(moments)
        truth = Truth.of(torch.from_numpy(true).float())
        return temporal_losses(network(told, times), now, truth, 1 / rate)

    descend(network, losses_of, config.steps, config.lr, say, every)
    return network


def save(network: TemporalFusion, path: str | Path) -> None:
    """Write what :class:`manip_perception.temporal.TemporalNetwork` reads."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    sizes = {f"config/{name}": value for name, value in network.config.to_dict().items()}
    np.savez(path, format=FORMAT, frequencies=frequencies(network.config), **weights, **sizes)
