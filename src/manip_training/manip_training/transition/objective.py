"""What the transition model is to get right: the joints, how they move, and how sure it is."""

import math

import numpy as np
import torch
from torch import Tensor

from manip_model.transition import joints_dm
from manip_model.transition_features import (
    bounded,
    doubt_waves,
    growth,
    guesses,
    log_growth,
    mixed,
    nearest,
    waves,
)
from manip_training.transition.gaps import Cut

# Beside the joints' errors: the wrist's, bends and turns, second differences, likelihood.
_PLACE, _ANGLES, _JITTER, _LIKELIHOOD = 0.5, 0.1, 1.0, 0.05
# A gap that counts as it is [s], and how much a forecast does, whose errors are larger still.
_USUAL, _FORECAST = 0.33, 0.3
_LEAST_LOG, _MOST_LOG = -6.0, 3.0


def transition_losses(said: Tensor, doubt: Tensor, unit: np.ndarray, cut: Cut) -> dict[str, Tensor]:
    """Losses by name, and ``"total"``; lengths in [dm].

    Args:
        said, doubt: Answers of the network.
        unit: Of the features that it was told.
        cut: The gap, and the truth.
    """
    values = filled(said, unit, cut)
    true = _tensor(cut.true)
    palm, lengths = _tensor(cut.palm), _tensor(cut.lengths)
    joints, wrist = joints_dm(values, palm, lengths)
    with torch.no_grad():
        true_joints, true_wrist = joints_dm(true, palm, lengths)
    off, place = joints - true_joints, wrist - true_wrist
    log = log_growth(doubt, _tensor(doubt_waves(cut.gap)))
    near = _tensor(nearest(cut.gap))[:, None]
    deviation = 10.0 * growth(log.clamp(_LEAST_LOG, _MOST_LOG).exp(), near)
    losses = {
        "joints": _length(off)[..., 1:].mean(),
        "place": _length(place).mean(),
        "angles": (values - true)[..., :-3].abs().mean(),
        "jitter": _length(_bend(off, cut)).mean() + _length(_bend(place, cut)).mean(),
        "likelihood": _likelihood(off[:, :, 1:], deviation[..., 1:, None])
        + _likelihood(place, deviation[..., :1]),
    }
    total = losses["joints"]
    for name, weight in (
        ("place", _PLACE), ("angles", _ANGLES), ("jitter", _JITTER), ("likelihood", _LIKELIHOOD),
    ):  # fmt: skip
        total = total + weight * losses[name]
    # Errors grow with the gap, and long gaps would be all that is learnt from.
    return losses | {"total": _weight(cut.gap.length) * total}


def _weight(length: float) -> float:
    return min(max((_USUAL / length) ** 1.5, 0.4), 5.0) if length else _FORECAST


def filled(said: Tensor, unit: np.ndarray, cut: Cut) -> Tensor:
    """``(B, G, NUM_VALUES)``: what the network makes of a gap."""
    guessed = guesses(cut.gap)
    apart = _tensor(bounded(guessed[1:] - guessed[0]))
    return mixed(said, _tensor(guessed[0]), apart, _tensor(unit), _tensor(waves(cut.gap)))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(-1) + 1e-8).sqrt()


def _bend(off: Tensor, cut: Cut) -> Tensor:
    """Second differences over time ``(B, T, …)`` of errors, which are none where a hand is known:
    a kink at either end costs as much as one in the middle."""
    none = torch.zeros_like(off[:, :1])
    ends = (none, off, none) if len(cut.gap.after_times) else (none, off)
    off = torch.cat(ends, 1)
    if off.shape[1] < 3:
        return off[:, 1:]
    return off[:, 2:] - 2 * off[:, 1:-1] + off[:, :-2]


def _likelihood(error: Tensor, deviation: Tensor) -> Tensor:
    """Negative, of a Laplace distribution; what is learnt from is the deviation alone."""
    return (math.sqrt(2) * error.detach().abs() / deviation + deviation.log()).mean()
