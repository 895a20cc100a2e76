"""Gaps cut from the motions of the synthetic world, to be filled."""

from dataclasses import dataclass, field

import numpy as np
import torch

from manip_model.hand_state import HandState, state_of
from manip_model.transition_features import CONTEXT, NUM_VALUES, Gap, values_of
from manip_training.data.cache import mixed_seed
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

# Errors of what is known: of turns and moves as shares of the bends'.
_NOISE_SHARES = np.repeat((1.0, 0.5, 0.3), (NUM_VALUES - 6, 3, 3))


@dataclass(frozen=True, kw_only=True)
class GapConfig:
    """Which gaps are drawn.

    Attributes:
        seconds: Shortest and longest.
        forecasts: Share without anything after it.
        whole: Share with as much on either side as is looked at; else any number of frames.
        rate, usual: Frames a second, and the share of motions that have them; else any of
            ``rates``.
        noisy: Share whose known hands err from frame to frame.
        noise: Least and most of these errors [rad].
        pool, frames, uses: Motions that are drawn at a time, their frames, and batches from each.
        world: Whose motions.
    """

    seconds: tuple[float, float] = (0.04, 0.62)
    forecasts: float = 0.15
    whole: float = 0.6
    rate: float = 30.0
    usual: float = 0.6
    rates: tuple[float, float] = (15.0, 60.0)
    noisy: float = 0.2
    noise: tuple[float, float] = (0.002, 0.05)
    pool: int = 256
    frames: int = 72
    uses: int = 100
    world: WorldConfig = field(default_factory=lambda: WorldConfig(free=0.15))


@dataclass(frozen=True)
class Cut:
    """Gaps and what was there.

    Attributes:
        gap: What is known.
        true: ``(B, G, NUM_VALUES)``.
        palm, lengths: ``(B, 5, 3)`` and ``(B, 15)`` [m] of the hands.
    """

    gap: Gap
    true: np.ndarray
    palm: np.ndarray
    lengths: np.ndarray


class Gaps:
    """Draws batches; each is a function of its number alone.

    Args:
        config: What is drawn.
        batch: Gaps in each.
        seed: Of all.
        variant: Of the world: ``train``, or ``val`` for other people.
    """

    def __init__(self, config: GapConfig, batch: int, seed: int = 0, variant: str = "train"):
        world = SyntheticWorld(WorldConfig(**{**vars(config.world), "variant": variant}), size=64)
        self._motions, self.config, self._batch, self._seed = world.motions, config, batch, seed
        self._drawn, self._pool, self._rate = -1, None, config.rate

    def batch(self, number: int) -> Cut:
        """Batch of that number."""
        config = self.config
        if number // config.uses != self._drawn:
            self._draw(number // config.uses)
        rng = np.random.default_rng(mixed_seed(self._seed, number))
        before, frames, after = self._sizes(rng)
        first = rng.integers(config.frames - before - frames - after + 1, size=self._batch)
        row = rng.integers(len(self._pool.wrist), size=self._batch)
        rows = first[:, None] + np.arange(before + frames + after)
        cut = taken(self._pool, row[:, None], rows)
        return self._noisy(cut_gap(cut, before, after, self._rate), rng)

    def _draw(self, number: int) -> None:
        config, self._drawn = self.config, number
        rng = np.random.default_rng(mixed_seed(self._seed, number, 1))
        usual = rng.random() < config.usual
        self._rate = config.rate if usual else float(np.exp(rng.uniform(*np.log(config.rates))))
        generator = torch.Generator().manual_seed(mixed_seed(self._seed, number, 2))
        motion = self._motions.draw(config.pool, config.frames, self._rate, generator)
        self._pool = state_of(motion.joints.double().numpy())

    def _sizes(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """Frames before, within and after."""
        config = self.config
        frames = max(round(rng.uniform(*config.seconds) * self._rate), 1)
        whole = rng.random() < config.whole
        before = CONTEXT if whole else rng.integers(2, CONTEXT + 1)
        after = CONTEXT if whole else rng.integers(1, CONTEXT + 1)
        if rng.random() < config.forecasts:
            after = 0
        return int(before), min(frames, config.frames - before - after), int(after)

    def _noisy(self, cut: Cut, rng: np.random.Generator) -> Cut:
        config, gap = self.config, cut.gap
        size = np.exp(rng.uniform(*np.log(config.noise), size=len(cut.true)))
        size = np.where(rng.random(len(size)) < config.noisy, size, 0.0)[:, None, None]
        size = size * _NOISE_SHARES
        before = gap.before + size * rng.normal(size=gap.before.shape)
        after = gap.after + size * rng.normal(size=gap.after.shape)
        # Place and turn are told against the last hand as it was seen, wrong as it may be.
        off = before[:, -1:] - gap.before[:, -1:]
        off[..., :-6] = 0.0
        seen = Gap(before - off, gap.before_times, after - off, gap.after_times, gap.times)
        return Cut(seen, cut.true - off, cut.palm, cut.lengths)


def taken(pool: HandState, row: np.ndarray, frames: np.ndarray) -> HandState:
    """Hands ``(B, T)`` of sequences ``(B, 1)`` at frames ``(B, T)``."""
    return HandState(**{name: value[row, frames] for name, value in vars(pool).items()})


def cut_gap(hands: HandState, before: int, after: int, rate: float) -> Cut:
    """The gap between the first and the last frames of hands ``(B, T)``.

    Args:
        hands: Of B motions.
        before, after: Frames on either side; ``after`` may be 0.
        rate: Frames a second.
    """
    values = values_of(hands, hands.turn[:, before - 1], hands.wrist[:, before - 1])
    times = (np.arange(values.shape[1]) - before + 1) / rate
    end = len(times) - after
    gap = Gap(values[:, :before], times[:before], values[:, end:], times[end:], times[before:end])
    return Cut(gap, values[:, before:end], hands.palm[:, before - 1], hands.lengths[:, before - 1])
