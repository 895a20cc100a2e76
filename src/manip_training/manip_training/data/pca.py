"""The hand pose as DexYCB stores it: wrist rotation, then coefficients about a mean pose."""

import numpy as np

from manip_core.hand import LEFT, SIDES
from manip_model.hand_model import HandModel

# A rotation vector seen in a mirror across x = 0.
_MIRROR = np.tile((1.0, -1.0, -1.0), 15)


def pose_from_pca(pose: np.ndarray, side: int, model: HandModel) -> np.ndarray:
    """Axis-angle ``(48,)`` [rad], flat, of a stored pose.

    As manopth poses MANO with 45 components and ``flat_hand_mean=False``: articulation =
    mean + coefficients times components; a left hand's mean and components are the right ones seen
    in the mirror.

    Args:
        pose: ``(48,)``: axis-angle of the wrist, then 45 coefficients.
        side: Row of ``manip_core.hand.SIDES``.
        model: Whose mean and components.
    """
    articulation = model.pose_mean + pose[3:48] @ model.pose_components
    if SIDES[side] == LEFT:
        articulation = articulation * _MIRROR
    return np.concatenate((pose[:3], articulation))


def pose_to_pca(pose: np.ndarray, side: int, model: HandModel) -> np.ndarray:
    """The inverse of :func:`pose_from_pca`: ``(48,)`` of axis-angle ``(48,)``."""
    articulation = pose[3:] * _MIRROR if SIDES[side] == LEFT else pose[3:]
    coefficients = np.linalg.solve(model.pose_components.T, articulation - model.pose_mean)
    return np.concatenate((pose[:3], coefficients))
