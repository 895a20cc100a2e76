"""What a motion is worth: one loss, in numpy for plain MuJoCo and in JAX for its gradient.

Lengths count in centimetres and angles in radians, so that the terms are of one order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from types import ModuleType

import numpy as np

from manip_core.robot_model import TIP_RADIUS
from manip_physics.model import Thing
from manip_physics.motion import Motion

_CM = 100.0
# Lengths are rounded off over a micrometre where a root would have no derivative [m].
_ROUND = 1e-6


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each term of `terms` counts; 0 leaves it out."""

    lift: float = 0.0
    touch: float = 0.0
    penetration: float = 0.0
    limits: float = 0.0
    torque: float = 0.0
    follow: float = 0.0
    reach: float = 0.0
    change: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{field.name} must be at least 0 and finite, got {value}")


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a motion is to do.

    Attributes:
        weights: Of the terms.
        height: The object's centre is to come to [m].
        targets: ``(T, n)`` where the joints are to be [rad]; for ``follow``.
        tips: ``(T, 4, 3)`` where the fingertips are to be [m]; for ``reach``.
        recorded: ``(T, n)`` controls from which ``change`` counts [rad].
        touching: Which fingertips are to touch: of index, middle, ring, thumb.
        lower, upper: ``(n,)`` the joints' limits [rad].
        effort: ``(n,)`` the servos' greatest forces [N m].
        thing: The object, or None.
    """

    weights: Weights
    lower: np.ndarray
    upper: np.ndarray
    effort: np.ndarray
    thing: Thing | None = None
    height: float = 0.0
    targets: np.ndarray | None = None
    tips: np.ndarray | None = None
    recorded: np.ndarray | None = None
    touching: tuple[bool, ...] = (True, True, True, True)

    def __post_init__(self):
        need = {
            "lift": self.thing,
            "touch": self.thing,
            "penetration": self.thing,
            "follow": self.targets,
            "reach": self.tips,
            "change": self.recorded,
        }
        missing = [
            name for name, what in need.items() if getattr(self.weights, name) and what is None
        ]
        if missing:
            raise ValueError(f"the goal lacks what {', '.join(missing)} is measured against")


def loss(goal: Goal, motion: Motion, xp: ModuleType = np):
    """The weighted sum of the terms with a weight; one number, or one a motion of a batch."""
    found = terms(goal, motion, counted(goal.weights), xp)
    return sum(getattr(goal.weights, name) * value for name, value in found.items())


def counted(weights: Weights) -> tuple[str, ...]:
    """The terms that have a weight."""
    return tuple(field.name for field in fields(Weights) if getattr(weights, field.name))


def terms(goal: Goal, motion: Motion, wanted: Iterable[str], xp: ModuleType = np) -> dict:
    """Terms by name, one number a motion.

    - ``lift``: how far the object's centre is below or above `Goal.height` in the last row [cm^2].
    - ``touch``: gap between the fingertips that are to touch and the object's surface [cm^2].
    - ``penetration``: how deep fingertips are in the object, over a millimetre's give [cm^2].
    - ``limits``: how far joints are beyond their limits [rad^2].
    - ``torque``: servos' forces over the greatest they have, squared.
    - ``follow``, ``reach``: how far joints [rad^2] and fingertips [cm^2] are from where they are to
      be.
    - ``change``: how far controls are from the recorded ones [rad^2].

    All but ``lift`` are means over rows (and fingertips), sums over joints.
    """
    wanted, found = set(wanted), {}
    if "lift" in wanted:
        found["lift"] = (_CM * (motion.thing[..., -1, 2] - goal.height)) ** 2
    if wanted & {"touch", "penetration"}:
        gap = distance(goal.thing, motion.thing, motion.tips, xp) - TIP_RADIUS
        chosen = np.flatnonzero(goal.touching)
        outside = xp.maximum(gap[..., chosen], 0.0)
        inside = xp.maximum(-gap - 1e-3, 0.0)
        found["touch"] = ((_CM * outside) ** 2).mean((-2, -1))
        found["penetration"] = ((_CM * inside) ** 2).mean((-2, -1))
    beyond = xp.maximum(motion.positions - goal.upper, 0.0) + xp.maximum(
        goal.lower - motion.positions, 0.0
    )
    found["limits"] = (beyond**2).sum(-1).mean(-1)
    found["torque"] = ((motion.forces / goal.effort) ** 2).sum(-1).mean(-1)
    if "follow" in wanted:
        found["follow"] = ((motion.positions - goal.targets) ** 2).sum(-1).mean(-1)
    if "reach" in wanted:
        found["reach"] = ((_CM * (motion.tips - goal.tips)) ** 2).sum(-1).mean((-2, -1))
    if "change" in wanted:
        found["change"] = ((motion.controls - goal.recorded) ** 2).sum(-1).mean(-1)
    return {name: value for name, value in found.items() if name in wanted}


def distance(thing: Thing, poses, points, xp: ModuleType = np):
    """Signed distance [m] of points ``(..., k, 3)`` from the object at ``(..., 7)``; inside < 0."""
    offset = points - poses[..., None, :3]
    if thing.kind == "sphere":
        return _length(offset, xp) - thing.size[0]
    local = _unturned(poses[..., None, 3:], offset, xp)
    if thing.kind == "capsule":
        radius, half = thing.size
        along = xp.clip(local[..., 2:], -half, half)
        return _length(xp.concatenate((local[..., :2], local[..., 2:] - along), -1), xp) - radius
    over = xp.abs(local) - np.asarray(thing.size)
    return _length(xp.maximum(over, 0.0), xp) + xp.minimum(over.max(-1), 0.0)


def _length(vector, xp: ModuleType):
    return xp.sqrt((vector**2).sum(-1) + _ROUND**2)


def _unturned(quaternion, vector, xp: ModuleType):
    """Vectors in the frame whose orientation the quaternion is."""
    w, axis = quaternion[..., :1], -quaternion[..., 1:]
    across = 2.0 * xp.cross(xp.broadcast_to(axis, vector.shape), vector)
    return vector + w * across + xp.cross(xp.broadcast_to(axis, vector.shape), across)
