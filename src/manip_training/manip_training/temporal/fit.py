"""Training of temporal fusion: motions of the synthetic world, seen by an observer that errs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.temporal import TemporalConfig, TemporalFusion, frequencies
from manip_model.temporal_features import (
    ANSWERS,
    FORMAT,
    NUM_ANSWERS,
    Moments,
    features,
    in_units,
    nothing_carried,
)
from manip_training.data.cache import mixed_seed
from manip_training.descent import descend
from manip_training.synthetic.world import SyntheticWorld, WorldConfig
from manip_training.temporal.objective import (
    FORESEEN,
    Seen,
    Truth,
    correction_loss,
    temporal_losses,
)
from manip_training.temporal.observer import Observer, ObserverConfig
from manip_training.temporal.watched import Glimpses, Watched
from manip_training.weights_file import read_weights, restored

# Of files from which training may still go on.
_EARLIER = "manip-temporal-2"
# From hands that are seen next to exactly on, so that those are followed at once.
_FROM_WELL_SEEN = ObserverConfig(
    depth=(0.003, 0.06),
    depth_noise=(0.0005, 0.015),
    line=(0.0003, 0.004),
    line_noise=(0.0002, 0.003),
    turn=(0.01, 0.25),
    joint=(0.0005, 0.009),
    joint_noise=(0.0001, 0.004),
)


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How it is trained.

    Attributes:
        steps, batch, frames: Steps of the optimiser, sequences in each, and their frames.
        direct_steps: Steps before those, in which the correction from the frame alone is learnt.
        rates: Least and most frames a second.
        lr: Greatest rate, see :func:`manip_training.descent.descend`.
        pool: Sequences that are drawn at a time; each is seen ``uses`` times, with other errors.
        seed: Of all.
        films: A folder of films that estimators saw; empty for the observer alone.
        films_share: Of the steps, those that learn from films.
        glimpses: A folder of glimpses that estimators had, from which the correction from the frame
            alone is learnt, so that films are new to it; empty for films and the observer.
        glimpses_batch: Of them in each step.
        still: Share of the drawn sequences that come to rest.
        start: A file of weights to go on from, whose correction from the frame alone is kept; empty
            for random ones.
    """

    steps: int = 3000
    direct_steps: int = 6000
    batch: int = 32
    frames: int = 48
    rates: tuple[float, float] = (15.0, 60.0)
    lr: float = 2e-3
    pool: int = 256
    uses: int = 8
    seed: int = 0
    films: str = ""
    films_share: float = 0.5
    glimpses: str = ""
    glimpses_batch: int = 512
    still: float = 0.35
    start: str = ""
    model: TemporalConfig = field(default_factory=lambda: TemporalConfig(direct=768))
    observer: ObserverConfig = _FROM_WELL_SEEN
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
        true = stilled(true, self._rate, config.still, rng)
        return self._observer.see(true[:, : config.frames], self._rate, rng), true, self._rate


def stilled(true: np.ndarray, rate: float, share: float, rng: np.random.Generator) -> np.ndarray:
    """The motions ``(B, T, …)``, of which some come to rest and stay there.

    Args:
        true: Frames of each.
        rate: Frames a second.
        share: Of those that do.
        rng: Where the numbers come from.
    """
    size, frames = true.shape[:2]
    stops = np.where(rng.random(size) < share, rng.uniform(-0.5, 0.8, size) * frames, np.inf)
    slowing = rate * rng.uniform(0.1, 0.4, size)
    # The pace falls from 1 to 0 while it slows down.
    done = np.clip((np.arange(frames) - stops[:, None]) / slowing[:, None], 0.0, 1.0)
    pace = 1 - done**2 * (3 - 2 * done)
    at = np.concatenate((np.zeros((size, 1)), np.cumsum(pace[:, 1:], 1)), 1)
    low = np.minimum(at.astype(int), frames - 2)
    left = (at - low).reshape(size, frames, *(1,) * (true.ndim - 2))
    rows = np.arange(size)[:, None]
    return (1 - left) * true[rows, low] + left * true[rows, low + 1]


def tensors(moments: Moments) -> tuple[dict[str, Tensor], Seen]:
    """What the network is told, and what it is to follow."""
    told, now = features(moments, nothing_carried(len(moments.times)))
    seen = Seen(
        torch.from_numpy(in_units(now)).float(),
        torch.from_numpy(moments.seen).float(),
        torch.from_numpy(moments.times - moments.times[:, :1]),
    )
    return {name: torch.from_numpy(value) for name, value in told.items()}, seen


def fit(config: FitConfig, say: Callable[[str], None] = print, every: int = 100) -> TemporalFusion:
    """Train; returns the network in evaluation mode. ``say`` is told ``every`` so many steps.

    What an estimator always gets wrong is learnt first and then kept: learnt with the rest, it was
    not found within as many steps.
    """
    torch.manual_seed(config.seed)
    network = load(config.start).train() if config.start else TemporalFusion(config.model)
    sequences = Sequences(config)
    glimpses = Glimpses(config.glimpses) if config.glimpses else None

    def wrong_of(step: int) -> dict[str, Tensor]:
        if glimpses:
            rng = np.random.default_rng(mixed_seed(config.seed, step, 3))
            moments, true = glimpses.batch(config.glimpses_batch, rng)
            rows = slice(None)
        else:
            moments, true, _ = sequences.batch(step)
            rows = slice(step % 3, None, 3)
        told, seen = tensors(moments)
        told = {name: value[:, rows] for name, value in told.items()}
        truth = Truth.of(torch.from_numpy(true[:, : moments.seen.shape[1]][:, rows]).float())
        return correction_loss(
            network.corrected(told, 1), seen.hand[:, rows], seen.seen[:, rows], truth
        )

    def losses_of(step: int) -> dict[str, Tensor]:
        moments, true, rate = sequences.batch(config.direct_steps + step)
        told, seen = tensors(moments)
        truth = Truth.of(torch.from_numpy(true).float())
        return temporal_losses(network(told, seen.times), seen, truth, 1 / rate)

    if network.direct is not None and config.direct_steps:
        if not config.start:
            descend(network.direct, wrong_of, config.direct_steps, config.lr, say, every)
        network.direct.requires_grad_(False)
    descend(network, losses_of, config.steps, config.lr, say, every)
    return network


def load(path: str | Path) -> TemporalFusion:
    """The network of a file that :func:`save` wrote, in evaluation mode. In earlier files a joint
    is believed alike across and along the line of sight: training may go on from them.

    Raises:
        ValueError: It is no such file.
    """
    sizes = TemporalConfig().to_dict()
    kind, sizes, held = read_weights(path, "temporal", (FORMAT, _EARLIER), sizes)
    held.pop("frequencies")
    if kind == _EARLIER:
        first = ANSWERS["correction"]
        rows = np.arange(NUM_ANSWERS - ANSWERS["gain"] + NUM_KEYPOINTS + 2)
        joints, across, along = np.split(
            first + np.arange(NUM_KEYPOINTS + 2), (NUM_KEYPOINTS, NUM_KEYPOINTS + 1)
        )
        rest = rows[first + NUM_KEYPOINTS + 2 :]
        rows = np.concatenate((rows[:first], joints, across, joints, along, rest))
        held |= {name: held[name][rows] for name in ("answer.weight", "answer.bias")}
    return restored(TemporalFusion(TemporalConfig(**sizes)), held)


def save(network: TemporalFusion, path: str | Path) -> None:
    """Write what :class:`manip_perception.temporal.TemporalNetwork` reads."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    sizes = {f"config/{name}": value for name, value in network.config.to_dict().items()}
    np.savez(path, format=FORMAT, frequencies=frequencies(network.config), **weights, **sizes)
