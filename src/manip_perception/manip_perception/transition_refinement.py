"""Refinement of a filled gap at run time: diffusion in a few steps, in numpy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from manip_model.transition_features import NUM_WAVES, Gap, features, guesses, mixed_guesses
from manip_model.transition_refinement import FORMAT, difference, sampled, told, waves_of
from manip_perception.transition import TransitionNetwork, read_weights


class Refinement:
    """Makes one motion that may have happened of the mean of all.

    Args:
        mean: The transition model's network.
        network: Takes noise off.
        kept: Shares of the signal's variance at each step, rising.
    """

    def __init__(self, mean: TransitionNetwork, network: TransitionNetwork, kept: np.ndarray):
        self._mean, self._network = mean, network
        self._kept = np.asarray(kept, dtype=float)
        if self._kept.ndim != 1 or not (np.diff(self._kept) > 0).all():
            raise ValueError(f"kept must be numbers that rise, got {self._kept.tolist()}")

    @classmethod
    def read(cls, mean: TransitionNetwork, path: str | Path) -> "Refinement":
        """From a file as training writes it; raises as `read_weights` does."""
        held = read_weights(path, FORMAT)
        return cls(mean, TransitionNetwork(held), held["kept"])

    def __call__(
        self,
        gap: Gap,
        rng: np.random.Generator,
        *,
        noise: float = 1.0,
        guide: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Values ``(B, G, NUM_VALUES)``.

        Args:
            gap: What is known.
            rng: Where the noise comes from.
            noise: How much there is at the beginning; 0 for the likeliest motion.
            guide: Called at each step with the values as they stand; gives back better ones, such
                as are out of an object (:func:`manip_perception.clearance.kept_clear`).
        """
        heard, unit = features(gap)
        said, _ = self._mean(heard)
        mean = mixed_guesses(said, guesses(gap), unit, gap)

        def denoised(noisy: np.ndarray, kept: float) -> np.ndarray:
            clean, _ = self._network(told(heard, said, noisy, np.full(len(noisy), kept)))
            if guide is None:
                return clean
            return waves_of(guide(mean + difference(clean, unit, gap)) - mean, unit, gap)

        begin = noise * rng.normal(size=(*unit.shape, NUM_WAVES))
        refined = mean + difference(sampled(denoised, begin, self._kept), unit, gap)
        return refined if guide is None else guide(refined)
