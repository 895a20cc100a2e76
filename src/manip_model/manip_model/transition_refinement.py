"""Refinement of a filled gap by diffusion: what it is told, and its steps. Without torch.

The transition model answers with the mean of what may have happened, which is calmer than any of
it. A second network, of the same kind, learns to take noise off the difference between what did
happen and that mean (Ho et al. 2020, "Denoising diffusion probabilistic models"), told both ends as
the first one is. From noise it then makes one motion that may have happened, in few steps without
further noise (Song et al. 2021, "Denoising diffusion implicit models"). Training draws from
``diffusers``' scheduler; the few numbers of it that the steps need are kept beside the weights.
"""

from collections.abc import Callable

import numpy as np

from manip_model.transition_features import NUM_ANSWERS, NUM_TOLD, NUM_WAVES, Gap, waves

# Of the file that training writes.
FORMAT = "manip-transition-refinement-1"
# What a unit of the difference's waves is, in units of the number that waves.
_UNIT = 0.05
# The network hears the share of the noise in so many tones.
_TONES = np.pi * np.array((0.5, 1.0, 2.0))
NUM_REFINED = NUM_TOLD + NUM_ANSWERS + NUM_WAVES + 2 * len(_TONES)


def difference(noisy: np.ndarray, unit: np.ndarray, gap: Gap) -> np.ndarray:
    """``(B, G, NUM_VALUES)`` from the mean, of its waves ``(B, NUM_VALUES, NUM_WAVES)``.

    Args:
        noisy: See above.
        unit: Of the features.
        gap: The gap.
    """
    return (_UNIT * unit[..., None] * (noisy @ waves(gap).T)).swapaxes(-1, -2)


def waves_of(difference: np.ndarray, unit: np.ndarray, gap: Gap) -> np.ndarray:
    """The inverse of :func:`difference`: the least waves that come nearest to it."""
    parts = difference.swapaxes(-1, -2) / (_UNIT * unit[..., None])
    return parts @ np.linalg.pinv(waves(gap), rcond=1e-2).T


def told(features: np.ndarray, said: np.ndarray, noisy: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """``(B, NUM_VALUES, NUM_REFINED)`` float32: what the network is told.

    Args:
        features: What the first network was told.
        said: What it said.
        noisy: ``(B, NUM_VALUES, NUM_WAVES)`` waves of the difference, under noise.
        kept: ``(B,)`` share of the signal's variance that is left in them, 0 to 1.
    """
    tone = (1 - kept)[:, None, None] * _TONES
    tones = np.concatenate((np.sin(tone), np.cos(tone)), -1)
    tones = np.broadcast_to(tones, (*features.shape[:2], 2 * len(_TONES)))
    return np.concatenate((features, said, noisy, tones), -1).astype(np.float32)


def sampled(
    denoised: Callable[[np.ndarray, float], np.ndarray], noise: np.ndarray, kept: np.ndarray
) -> np.ndarray:
    """What is without noise, from noise of any shape, in as many steps as there are ``kept``.

    Args:
        denoised: From what is under noise and the share that is kept, to what is without.
        noise: Where it begins.
        kept: Shares of the signal's variance at each step, rising.
    """
    x = noise
    for now, then in zip(kept, (*kept[1:], 1.0), strict=True):
        clean = denoised(x, float(now))
        direction = (x - np.sqrt(now) * clean) / np.sqrt(1 - now)
        x = np.sqrt(then) * clean + np.sqrt(1 - then) * direction
    return x
