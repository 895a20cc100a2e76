"""Two ways to better controls within a given time: down the gradient, and by sampling.

Both move the knots of piecewise linear controls within the servos' ranges, and keep the best they
have seen.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manip_physics.health import NotFinite


@dataclass
class Found:
    """What a search ended with.

    Attributes:
        knots: The best, ``(k, n)``.
        loss: Their loss, as the search saw it.
        tried: How many roll-outs it took, or gradients.
        rejected: How many of them were not finite.
        history: Seconds since the beginning, and the best loss by then, whenever it got better.
    """

    knots: np.ndarray
    loss: float
    tried: int
    rejected: int
    history: list[tuple[float, float]]


def between(rows: int, knots: int) -> np.ndarray:
    """``(rows, knots)`` that makes controls of knots: linear between them, the first and last knot
    at the first and last row."""
    if knots < 2 or rows < 2:
        raise ValueError(f"rows and knots must be at least 2, got {rows} and {knots}")
    place = np.linspace(0.0, knots - 1.0, rows)
    left = np.minimum(place.astype(int), knots - 2)
    weights = np.zeros((rows, knots))
    weights[np.arange(rows), left] = 1.0 - (place - left)
    weights[np.arange(rows), left + 1] = place - left
    return weights


@dataclass(frozen=True, kw_only=True)
class DescentConfig:
    """Adam (Kingma and Ba 2015, their own constants), projected on the servos' ranges.

    Attributes:
        rate: Greatest step of a coordinate [rad].
        steps: Most gradients.
    """

    rate: float = 0.02
    steps: int = 1_000_000

    def __post_init__(self):
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, got {self.rate}")


def descend(
    slope: Callable[[np.ndarray], tuple[float, np.ndarray]],
    first: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    seconds: float,
    config: DescentConfig = DescentConfig(),
    scale: np.ndarray | float = 1.0,
) -> Found:
    """Follow the gradient for so many seconds.

    A point whose loss or gradient is not finite is given up: the search goes on from the best one,
    with half the step.

    Args:
        slope: Loss and gradient of knots; may raise `NotFinite`.
        first: ``(k, n)`` where it begins.
        bounds: ``(n,)`` least and greatest values.
        seconds: Time it has.
        config: How it moves.
        scale: ``(n,)`` what `DescentConfig.rate` is multiplied by, where servos differ in unit.
    """
    begin = time.perf_counter()
    at, rate = np.clip(first, *bounds), config.rate
    best, least, rejected, history = at, np.inf, 0, []
    mean, power, count = np.zeros_like(at), np.zeros_like(at), 0
    tried = 0
    while tried < config.steps and (not tried or time.perf_counter() - begin < seconds):
        tried += 1
        try:
            value, gradient = slope(at)
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                raise NotFinite(0, "loss or its gradient", value)
        except NotFinite:
            rejected += 1
            at, rate, count = best, rate / 2.0, 0
            mean, power = np.zeros_like(at), np.zeros_like(at)
            continue
        if value < least:
            best, least = at, float(value)
            history.append((time.perf_counter() - begin, least))
        count += 1
        mean = 0.9 * mean + 0.1 * gradient
        power = 0.999 * power + 0.001 * gradient**2
        move = (mean / (1 - 0.9**count)) / (np.sqrt(power / (1 - 0.999**count)) + 1e-8)
        at = np.clip(at - rate * scale * move, *bounds)
    return Found(best, least, tried, rejected, history)


@dataclass(frozen=True, kw_only=True)
class CemConfig:
    """The cross-entropy method (Rubinstein 1999) with a diagonal Gaussian.

    Attributes:
        samples: Roll-outs a generation.
        elite: Of them, those that the next generation is drawn around.
        spread: Standard deviation of the first generation [rad].
        floor: Least standard deviation [rad].
        keep: How much of the old Gaussian stays, 0 to 1.
        seed: Of the random numbers.
    """

    samples: int = 64
    elite: int = 8
    spread: float = 0.15
    floor: float = 0.005
    keep: float = 0.2
    seed: int = 0

    def __post_init__(self):
        if not 1 < self.elite < self.samples:
            raise ValueError(
                f"elite must be within 2 and samples, got {self.elite} of {self.samples}"
            )
        if not (self.spread > 0 and self.floor > 0 and 0 <= self.keep < 1):
            raise ValueError(
                "spread and floor must be positive and keep within 0 and 1, got "
                f"{self.spread}, {self.floor} and {self.keep}"
            )


def cross_entropy(
    losses: Callable[[np.ndarray], np.ndarray],
    first: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    seconds: float,
    config: CemConfig = CemConfig(),
    scale: np.ndarray | float = 1.0,
) -> Found:
    """Sample for so many seconds, each generation around the best of the last.

    Args:
        losses: Of knots ``(samples, k, n)``, one each; NaN where a roll-out failed.
        first: ``(k, n)`` middle of the first generation, and one of it.
        bounds: ``(n,)`` least and greatest values.
        seconds: Time it has.
        config: How it samples.
        scale: ``(n,)`` what spread and floor are multiplied by, where servos differ in unit.
    """
    begin = time.perf_counter()
    rng = np.random.default_rng(config.seed)
    middle = np.clip(first, *bounds)
    spread = np.full(middle.shape, config.spread) * scale
    best, least, tried, rejected, history = middle, np.inf, 0, 0, []
    while not tried or time.perf_counter() - begin < seconds:
        drawn = middle + spread * rng.standard_normal((config.samples, *middle.shape))
        drawn[0] = best
        drawn = np.clip(drawn, *bounds)
        values = np.asarray(losses(drawn), float)
        tried += len(values)
        rejected += int((~np.isfinite(values)).sum())
        values = np.where(np.isfinite(values), values, np.inf)
        order = np.argsort(values)
        if values[order[0]] < least:
            best, least = drawn[order[0]], float(values[order[0]])
            history.append((time.perf_counter() - begin, least))
        chosen = drawn[order[: config.elite]]
        middle = config.keep * middle + (1 - config.keep) * chosen.mean(0)
        spread = config.keep * spread + (1 - config.keep) * chosen.std(0)
        spread = np.maximum(spread, config.floor * scale)
    return Found(best, least, tried, rejected, history)
