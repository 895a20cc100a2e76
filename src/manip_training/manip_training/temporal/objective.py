"""What temporal fusion is to get right: where the hand is, how it moves, where it is going."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand_skeleton import TIPS, Keypoint
from manip_model.temporal_features import UNIT_PLACE, UNIT_SHAPE, Carried, answers

_DECIMETRES = 10.0
# Depth from one eye is vague: it counts less than what is seen across the line of sight.
_ALONG = 0.3
# Forecasts, jitter and touch against the hand itself.
_AHEAD, _JITTER, _TOUCH, _LIKELIHOOD = 0.5, 12.0, 0.02, 0.1
# Tips nearer than this touch [m]: their keypoints lie inside the fingertips.
TOUCH_GAP = 0.0235
# Frames ahead that are foreseen.
FORESEEN = (1, 2, 3)


@dataclass
class Truth:
    """Of the same frames and some more, ``(B, T + max(FORESEEN), …)``.

    Attributes:
        shape: ``(…, 21, 3)`` joints against the wrist [m].
        place: ``(…, 3)`` x/z, y/z and log z of the wrist.
        touch: ``(…, 4)`` bool: the finger touches the thumb.
    """

    shape: Tensor
    place: Tensor
    touch: Tensor

    @classmethod
    def of(cls, joints: Tensor) -> "Truth":
        """Of joints ``(…, 21, 3)`` [m], ``camera_optical_frame``."""
        wrist = joints[..., Keypoint.WRIST, :]
        depth = wrist[..., 2:]
        gaps = joints[..., TIPS[1:].tolist(), :] - joints[..., TIPS[:1].tolist(), :]
        return cls(
            joints - wrist[..., None, :],
            torch.cat((wrist[..., :2] / depth, depth.log()), -1),
            gaps.norm(dim=-1) < TOUCH_GAP,
        )


def temporal_losses(said: Tensor, now: Carried, truth: Truth, step: float) -> dict[str, Tensor]:
    """Losses by name, and ``"total"``.

    Args:
        said: ``(B, T, NUM_ANSWERS)`` of the network.
        now: The hands that it corrects, as tensors.
        truth: See there.
        step: Time between two frames [s].
    """
    named, frames = answers(said), said.shape[1]

    def foreseen(ahead: int) -> tuple[Tensor, Tensor]:
        time = ahead * step
        values = [
            named[part]
            + time * named[f"{part}_speed"]
            + time**2 / 2 * named[f"{part}_acceleration"]
            for part in ("shape", "place")
        ]
        shape = now.shape + UNIT_SHAPE * values[0].unflatten(-1, (-1, 3))
        return shape, now.place + UNIT_PLACE * values[1]

    def errors(ahead: int) -> tuple[Tensor, Tensor]:
        """Of shape ``(B, T, 21, 3)`` and place ``(B, T, 3)`` [dm]."""
        shape, place = foreseen(ahead)
        at = slice(ahead, ahead + frames)
        # What a line of sight spans at the true depth.
        depth = truth.place[:, at, 2:].exp()
        return (
            _DECIMETRES * (shape - truth.shape[:, at]),
            _DECIMETRES * depth * (place - truth.place[:, at]),
        )

    weights = said.new_tensor((1.0, 1.0, _ALONG))
    shape, place = errors(0)
    losses = {
        "shape": _length(shape).mean(),
        "place": _length(place * weights).mean(),
        "likelihood": _likelihood(shape, named["shape_log_variance"].unflatten(-1, (-1, 3)))
        + _likelihood(place, named["place_log_variance"]),
        "jitter": _length(_bend(shape)).mean() + _length(_bend(place * weights)).mean(),
        "touch": F.binary_cross_entropy_with_logits(
            named["contact"], truth.touch[:, :frames].to(said.dtype)
        ),
    }
    later = [errors(ahead) for ahead in FORESEEN]
    losses["ahead"] = sum(
        _length(shape).mean() + _length(place * weights).mean() for shape, place in later
    ) / len(FORESEEN)
    total = losses["shape"] + losses["place"]
    for name, weight in (
        ("likelihood", _LIKELIHOOD), ("jitter", _JITTER), ("touch", _TOUCH), ("ahead", _AHEAD),
    ):  # fmt: skip
        total = total + weight * losses[name]
    return losses | {"total": total}


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(-1) + 1e-6).sqrt()


def _bend(x: Tensor) -> Tensor:
    """Second differences over time."""
    return x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]


def _likelihood(error: Tensor, log_variance: Tensor) -> Tensor:
    """Negative, of a Laplace distribution; what is learnt from is the deviation alone."""
    deviation = 0.5 * log_variance.clamp(-12, 6) + math.log(_DECIMETRES * UNIT_SHAPE)
    return (math.sqrt(2) * error.detach().abs() * (-deviation).exp() + deviation).mean()
