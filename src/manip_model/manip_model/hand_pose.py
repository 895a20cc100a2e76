"""The pose of a hand in the forms that data sets use, to and from the one form used here.

That form is 48 numbers: a rotation vector [rad] of the wrist against the camera and of the 15
finger joints against their parents, zero where the hand is flat. Data sets leave the mean
articulation out, or give principal components, or add the translation.
"""

import numpy as np
import torch
from torch import Tensor

from manip_core.hand import LEFT, RIGHT, SIDES
from manip_model.hand_model import HandModel

NUM_POSE, NUM_TRANSLATION = 48, 3
# A rotation vector seen in a mirror across x = 0, for each of 15 joints.
_MIRROR = np.tile((1.0, -1.0, -1.0), 15)


def pose_from(
    values: np.ndarray | Tensor,
    model: HandModel,
    *,
    pca: bool = False,
    flat: bool = True,
    side: str = RIGHT,
) -> tuple[np.ndarray | Tensor, np.ndarray | Tensor | None]:
    """Pose and translation from one of the forms of a data set.

    DexYCB's ``pose_m``, for one, is 51 values with ``pca=True, flat=False``.

    Args:
        values: ``(…, 48)``: 3 of the wrist, 45 of the articulation; or ``(…, 51)``: also the
            translation [m]. An array or a tensor; the results are of the same kind and dtype.
        model: Whose mean and principal components count; MANO's are not the open hand's.
        pca: The articulation is given in principal components, not as rotation vectors.
        flat: The articulation is zero where the hand is flat; if False, at the mean articulation.
        side: Of the hand; a left hand's mean and components are the right one's mirror images.

    Returns:
        Pose ``(…, 48)``, flat rotation vectors [rad], and translation ``(…, 3)`` or ``None``.

    Raises:
        ValueError: Another number of values, or another side.
    """
    count = values.shape[-1] if len(values.shape) else 0
    if count not in (NUM_POSE, NUM_POSE + NUM_TRANSLATION):
        raise ValueError(
            f"a pose must have {NUM_POSE} values, or {NUM_POSE + NUM_TRANSLATION} with a "
            f"translation, got {count}"
        )
    mean, components = _statistics(values, model, side)
    wrist, articulation = values[..., :3], values[..., 3:NUM_POSE]
    if pca:
        articulation = articulation @ components
    if not flat:
        articulation = articulation + mean
    translation = values[..., NUM_POSE:] if count > NUM_POSE else None
    return _joined(wrist, articulation), translation


def values_from(
    pose: np.ndarray | Tensor,
    model: HandModel,
    *,
    translation: np.ndarray | Tensor | None = None,
    pca: bool = False,
    flat: bool = True,
    side: str = RIGHT,
) -> np.ndarray | Tensor:
    """The inverse of :func:`pose_from`: ``(…, 48)``, or ``(…, 51)`` with a translation.

    Raises:
        ValueError: The pose does not have 48 values, or another side.
    """
    count = pose.shape[-1] if len(pose.shape) else 0
    if count != NUM_POSE:
        raise ValueError(f"a pose must have {NUM_POSE} values, got {count}")
    mean, components = _statistics(pose, model, side)
    articulation = pose[..., 3:]
    if not flat:
        articulation = articulation - mean
    if pca:
        inverse = torch.linalg.inv if isinstance(pose, Tensor) else np.linalg.inv
        articulation = articulation @ inverse(components)
    values = _joined(pose[..., :3], articulation)
    return values if translation is None else _joined(values, translation)


def _statistics(like, model: HandModel, side: str):
    """Mean ``(45,)`` and components ``(45, 45)`` for this side, of the kind of ``like``."""
    if side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    signs = _MIRROR if side == LEFT else np.ones(45)
    mean, components = model.pose_mean * signs, model.pose_components * signs
    if isinstance(like, Tensor):
        return (
            torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (mean, components)
        )
    return (x.astype(like.dtype) for x in (mean, components))


def _joined(*parts):
    join = torch.cat if isinstance(parts[0], Tensor) else np.concatenate
    return join(parts, -1)
