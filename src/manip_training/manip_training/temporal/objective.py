"""What temporal fusion is to get right: where the hand is, how it moves, where it is going."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand_skeleton import NUM_KEYPOINTS, TIPS, Keypoint
from manip_model.temporal_features import (
    UNIT_PLACE,
    UNIT_SHAPE,
    answers,
    belief,
    follow,
    foreseen,
)

_DECIMETRES = 10.0
# Depth from one eye is vague: it counts less than what is seen across the line of sight.
_ALONG = 0.3
# Shape, what is left of its error and of the place's across the line of sight without their means,
# forecasts, unrest (first and second differences of the error over time), touch and deviations
# against the hand's place. An error of some centimetres that stays hides in the shape's length that
# a hand comes late; without means it does not.
_SHAPE, _LATE, _AHEAD, _TOUCH, _LIKELIHOOD = 2.0, 3.0, 0.5, 0.02, 0.1
_DRIFT, _JITTER = 24.0, 20.0
# Unrest of a hand that moves faster than this counts less [m/s], and least so much.
_RESTS, _MOVING = 0.06, 0.2
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


@dataclass
class Seen:
    """What was seen in the same frames, as tensors ``(B, T, …)``.

    Attributes:
        hand: ``(B, T, ROWS, 3)`` the last one that was seen, in the network's units.
        seen: ``(B, T)`` 1 where one is seen in the frame itself, else 0.
        times: ``(B, T)`` [s], from the first frame on.
    """

    hand: Tensor
    seen: Tensor
    times: Tensor

    def followed(self, said: dict[str, Tensor]) -> Tensor:
        """The hand ``(B, T, ROWS, 3)`` that the network's answers make of it."""
        known = (self.seen.cumsum(1) - self.seen).clamp(max=1)
        nothing = self.hand.new_zeros(self.hand[:, 0].shape)
        times = self.times.to(self.hand.dtype)
        hands = follow(
            self.hand + said["correction"],
            said["speed"],
            belief(said["gain"].sigmoid(), self.seen, known),
            times.diff(dim=1, prepend=times[:, :1]),
            nothing,
            nothing,
        )
        return torch.stack(hands, 1)


def temporal_losses(said: Tensor, seen: Seen, truth: Truth, step: float) -> dict[str, Tensor]:
    """Losses by name, and ``"total"``.

    Args:
        said: ``(B, T, NUM_ANSWERS)`` of the network.
        seen: What it was told.
        truth: See there.
        step: Time between two frames [s].
    """
    named, frames = answers(said), said.shape[1]
    hand = seen.followed(named)

    def errors(ahead: int) -> tuple[Tensor, Tensor]:
        """Of shape ``(B, T, 21, 3)`` and place ``(B, T, 3)`` [dm]."""
        later = foreseen(named, hand, ahead * step)
        at = slice(ahead, ahead + frames)
        # What a line of sight spans at the true depth.
        depth = truth.place[:, at, 2:].exp()
        return (
            _DECIMETRES * (UNIT_SHAPE * later[:, :, :-1] - truth.shape[:, at]),
            _DECIMETRES * depth * (UNIT_PLACE * later[:, :, -1] - truth.place[:, at]),
        )

    weights = said.new_tensor((1.0, 1.0, _ALONG))
    shape, place = errors(0)
    deviations = named["log_variance"]
    calm = _calm(truth, frames, step)
    losses = {
        "shape": _length(shape).mean(),
        "place": _length(place * weights).mean(),
        "likelihood": _likelihood(shape, deviations[:, :, :NUM_KEYPOINTS])
        + _likelihood(place, deviations[:, :, NUM_KEYPOINTS]),
        # Unrest along the line of sight moves the robot as any other does.
        "late": _length(_about_mean(shape)).mean() + _length(_about_mean(place)[..., :2]).mean(),
        "drift": (calm * _length(shape.diff(dim=1)).mean(-1)).mean()
        + (calm * _length(place.diff(dim=1))).mean(),
        "jitter": (calm[:, 1:] * _length(_bend(shape)).mean(-1)).mean()
        + (calm[:, 1:] * _length(_bend(place))).mean(),
        "touch": F.binary_cross_entropy_with_logits(
            named["contact"], truth.touch[:, :frames].to(said.dtype)
        ),
    }
    later = [errors(ahead) for ahead in FORESEEN]
    losses["ahead"] = sum(
        _length(shape).mean() + _length(place * weights).mean() for shape, place in later
    ) / len(FORESEEN)
    total = losses["place"]
    for name, weight in (
        ("shape", _SHAPE),
        ("late", _LATE),
        ("likelihood", _LIKELIHOOD),
        ("drift", _DRIFT),
        ("jitter", _JITTER),
        ("touch", _TOUCH),
        ("ahead", _AHEAD),
    ):
        total = total + weight * losses[name]
    return losses | {"total": total}


def correction_loss(
    correction: Tensor, hand: Tensor, seen: Tensor, truth: Truth
) -> dict[str, Tensor]:
    """Loss of hands that are corrected one by one, as :func:`temporal_losses` has it.

    Args:
        correction: ``(B, T, 66)``.
        hand, seen: ``(B, T, ROWS, 3)`` and ``(B, T)`` of :class:`Seen`.
        truth: Of the same frames.
    """
    found = hand + correction.unflatten(-1, (-1, 3))
    depth = truth.place[..., 2:].exp()
    shape = _length(_DECIMETRES * (UNIT_SHAPE * found[:, :, :-1] - truth.shape)).mean(-1)
    place = _DECIMETRES * depth * (UNIT_PLACE * found[:, :, -1] - truth.place)
    place = _length(place * place.new_tensor((1.0, 1.0, _ALONG)))
    total = (seen * (_SHAPE * shape + place)).sum() / seen.sum().clamp(min=1)
    return {"shape": (seen * shape).sum() / seen.sum().clamp(min=1), "total": total}


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(-1) + 1e-8).sqrt()


def _bend(x: Tensor) -> Tensor:
    """Second differences over time."""
    return x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]


def _about_mean(x: Tensor) -> Tensor:
    """Without its mean over time."""
    return x - x.mean(1, keepdim=True)


def _calm(truth: Truth, frames: int, step: float) -> Tensor:
    """``(B, frames - 1)`` how much unrest counts: 1 at rest, down to ``_MOVING`` of a fast hand."""
    depth = truth.place[:, : frames - 1, 2].exp()
    place = depth * truth.place[:, :frames, :2].diff(dim=1).norm(dim=-1)
    speed = (truth.shape[:, :frames].diff(dim=1).norm(dim=-1).mean(-1) + place) / step
    return _MOVING + (1 - _MOVING) / (1 + (speed / _RESTS).square())


def _likelihood(error: Tensor, log_variance: Tensor) -> Tensor:
    """Negative, of a Laplace distribution; what is learnt from is the deviation alone."""
    deviation = 0.5 * log_variance.clamp(-12, 6) + math.log(_DECIMETRES * UNIT_SHAPE)
    return (math.sqrt(2) * error.detach().abs() * (-deviation).exp() + deviation).mean()
