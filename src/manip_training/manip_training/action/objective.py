"""What the action decoder is to get right: where the hand goes, and whether and how it grasps."""

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand_skeleton import Keypoint
from manip_core.manipulation import NUM_STEPS, STEP
from manip_model.action_features import action_answers, aperture, palm_frames
from manip_training.action.scenes import Scenes

_DECIMETRES = 10.0
_WEIGHTS = {
    "position": 1.0,
    "turn": 0.5,
    "aperture": 1.0,
    "grasping": 4.0,
    "type": 3.0,
    "approach": 0.3,
    "force": 0.2,
    "confidence": 0.2,
}
# Steps of the forecast that may be wrong about grasping in one that is right.
_FORGIVEN = 1


@dataclass
class Foretold:
    """The truth about what is foretold in each frame, ``(B, T, …)``; arrays or tensors.

    Attributes:
        position, turn: ``(…, 10, 3)`` of the palm against what it is now, in its own frame [dm] and
            [rad].
        aperture: ``(…, 10)`` its change [dm].
        grasping: ``(…, 10)`` 0 or 1.
        kind: ``(…)`` int64 type of the grasp that is under way or begins within the steps; -1 for
            none.
        force: ``(…)`` logarithm of 1 + [N].
        approach: ``(…, 3)`` unit, in the palm's frame; zeros where there is none.
    """

    position: np.ndarray
    turn: np.ndarray
    aperture: np.ndarray
    grasping: np.ndarray
    kind: np.ndarray
    force: np.ndarray
    approach: np.ndarray

    @classmethod
    def of(cls, scenes: Scenes, frames: int) -> "Foretold":
        """Of the first frames of scenes that go on for long enough."""
        rate = 1 / float(scenes.times[1] - scenes.times[0])
        steps = STEP * rate * np.arange(1, NUM_STEPS + 1)
        later = np.arange(frames)[:, None] + steps  # (T, 10)
        low = np.floor(later).astype(int)
        if low.max() + 1 >= scenes.joints.shape[1]:
            raise ValueError(
                f"scenes must have more than {low.max() + 1} frames, got {scenes.joints.shape[1]}"
            )
        share = (later - low)[..., None, None]
        joints = (1 - share) * scenes.joints[:, low] + share * scenes.joints[:, low + 1]
        now = scenes.joints[:, :frames]
        palm, wrist = palm_frames(now), now[:, :, Keypoint.WRIST]
        way = (joints[..., Keypoint.WRIST, :] - wrist[:, :, None]) @ palm
        relative = palm.swapaxes(-1, -2)[:, :, None] @ palm_frames(joints)
        turn = Rotation.from_matrix(relative.reshape(-1, 3, 3)).as_rotvec().reshape(way.shape)
        change = aperture(joints) - aperture(now)[..., None]
        made = cls(
            position=_DECIMETRES * way,
            turn=turn,
            aperture=_DECIMETRES * change,
            grasping=np.zeros(change.shape),
            kind=np.full(change.shape[:2], -1),
            force=np.zeros(change.shape[:2]),
            approach=np.zeros((*change.shape[:2], 3)),
        )
        made._mark(scenes, np.round(later), palm)
        return made

    def _mark(self, scenes: Scenes, later: np.ndarray, palm: np.ndarray) -> None:
        frames = len(later)
        for row, grasps in enumerate(scenes.grasps):
            for grasp in grasps:
                within = (later >= grasp.onset) & (later < grasp.end)
                self.grasping[row][within] = 1.0
                told = within.any(1) | (
                    (np.arange(frames) >= grasp.onset) & (np.arange(frames) < grasp.end)
                )
                self.kind[row][told] = grasp.kind
                self.force[row][told] = np.log1p(grasp.force)
                self.approach[row][told] = (grasp.approach @ palm[row])[told]

    def tensors(self, rows: np.ndarray) -> "Foretold":
        """Of some sequences, for training."""
        made = {f.name: torch.from_numpy(getattr(self, f.name)[rows]) for f in fields(self)}
        return Foretold(
            **{name: value if name == "kind" else value.float() for name, value in made.items()}
        )


def action_losses(said: Tensor, truth: Foretold) -> dict[str, Tensor]:
    """Losses by name, and ``"total"``.

    Args:
        said: ``(B, T, NUM_ACTION_ANSWERS)`` of the network.
        truth: As tensors.
    """
    named = action_answers(said)
    known = truth.kind >= 0
    comes = known & (truth.approach.square().sum(-1) > 0.5)
    holds = truth.grasping
    types = F.cross_entropy(named["type"].flatten(0, 1), truth.kind.flatten(), ignore_index=-1,
                            reduction="sum")  # fmt: skip
    towards = F.normalize(named["approach"], dim=-1)
    away = 1 - (towards * truth.approach).sum(-1)
    weaker = (named["force"] - truth.force[..., None]).abs()
    wrong = ((named["grasping"] > 0) != (holds > 0.5)).sum(-1)
    right = (wrong <= _FORGIVEN) & (~known | (named["type"].argmax(-1) == truth.kind))
    losses = {
        "position": _length(named["position"].unflatten(-1, (-1, 3)) - truth.position).mean(),
        "turn": _length(named["turn"].unflatten(-1, (-1, 3)) - truth.turn).mean(),
        "aperture": (named["aperture"] - truth.aperture).abs().mean(),
        "grasping": F.binary_cross_entropy_with_logits(named["grasping"], holds),
        "type": types / known.sum().clamp(min=1),
        "approach": (away * comes).sum() / comes.sum().clamp(min=1),
        "force": (weaker * holds).sum() / holds.sum().clamp(min=1),
        "confidence": F.binary_cross_entropy_with_logits(
            named["confidence"][..., 0], right.to(said.dtype)
        ),
    }
    total = sum(_WEIGHTS[name] * value for name, value in losses.items())
    return losses | {"total": total}


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(-1) + 1e-6).sqrt()
