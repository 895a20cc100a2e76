"""Scenes with a hand, for tests, benchmarks and comparisons: where things stand, and what to do."""

from dataclasses import dataclass, replace
from functools import cache

import mujoco
import numpy as np

from manip_core.robot_model import TIP_FRAMES, TIP_RADIUS
from manip_physics.model import PhysicsConfig, Thing, build

# Palm downwards, fingers along world +x: a quarter turn about y.
_DOWN = (np.sqrt(0.5), 0.0, np.sqrt(0.5), 0.0)
# The grasp from above: the thumb's tip opposite the middle finger's, 35 mm behind the palm's edge,
# and how the fingers close towards it, from open to closed.
_THUMB = (1.30, 0.88, 0.32, 1.18)
_OPEN, _CLOSED = (0.0, 0.10, 0.40, 0.30), (0.0, 1.20, 0.80, 0.60)
# A bar that lies across the fingers: radius and half length [m], mass [kg].
BAR_SIZE, BAR_MASS = (0.022, 0.055), 0.12
_BAR_PLACE = (0.5, 0.0)


@dataclass(frozen=True)
class Scene:
    """A model, and the posture ``(n,)`` that it begins in [rad]."""

    config: PhysicsConfig
    posture: np.ndarray


def free_hand() -> Scene:
    """A hand in the air, far from everything, half closed."""
    posture = np.concatenate((np.tile(_posture(0.4), 3), _THUMB))
    config = PhysicsConfig(mount=(0.5, 0.0, 0.5, *_DOWN), table=False)
    return Scene(config, posture)


def bar_grasp(
    clearance: float, *, carriage: bool = False, kind: str = "capsule", **options
) -> Scene:
    """A hand from above round a bar that lies on the table.

    Args:
        clearance: How far the fingertips are from the bar on average [m]; below 0 they press.
        carriage: Whether the hand can be driven up.
        kind: ``capsule``, or ``box`` for a bar with edges.
        options: More of `PhysicsConfig`.

    Raises:
        ValueError: The hand cannot be opened or closed so far.
    """
    radius, half = BAR_SIZE
    _, middle = _close_to(2.0 * (radius + TIP_RADIUS + clearance))
    # Bar's middle in the palm's frame: x out of the palm, z along the fingers.
    x, z = middle
    config = PhysicsConfig(
        mount=(_BAR_PLACE[0] - z, _BAR_PLACE[1], radius + x, *_DOWN),
        carriage=carriage,
        thing=Thing(
            kind=kind,
            size=BAR_SIZE if kind == "capsule" else (radius, radius, half + radius),
            mass=BAR_MASS,
            place=(*_BAR_PLACE, radius),
            # Its own z along world y.
            turn=(np.sqrt(0.5), -np.sqrt(0.5), 0.0, 0.0),
        ),
    )
    posture = np.concatenate((closing(clearance), [0.0] if carriage else []))
    return Scene(replace(config, **options), posture)


def closing(clearance: float) -> np.ndarray:
    """Joints ``(16,)`` of a hand whose fingertips are so far from the bar of `bar_grasp` [m]."""
    share, _ = _close_to(2.0 * (BAR_SIZE[0] + TIP_RADIUS + clearance))
    return np.concatenate((np.tile(_posture(share), 3), _THUMB))


def _posture(share: float) -> np.ndarray:
    """A finger's four joints between open (0) and closed (1)."""
    return (1.0 - share) * np.array(_OPEN) + share * np.array(_CLOSED)


def _close_to(gap: float) -> tuple[float, tuple[float, float]]:
    """How far to close for the middles of the fingertips to be ``gap`` from the thumb's [m].

    Returns:
        The share, and the middle between them in the palm's frame, x and z [m].
    """
    gaps, middles = _closing_sweep()
    below = np.flatnonzero(gaps <= gap)
    if not len(below) or below[0] == 0:
        raise ValueError(
            f"the hand opens from {gaps.min():.3f} to {gaps[0]:.3f} m, {gap:.3f} m were asked for"
        )
    i = below[0]
    part = (gaps[i - 1] - gap) / (gaps[i - 1] - gaps[i])
    x, z = (1.0 - part) * middles[i - 1] + part * middles[i]
    return float((i - 1 + part) / (len(gaps) - 1)), (float(x), float(z))


@cache
def _closing_sweep() -> tuple[np.ndarray, np.ndarray]:
    """Of a hand that closes in a hundred steps: gaps ``(101,)`` and middles ``(101, 2)`` [m]."""
    model = build(PhysicsConfig(mount=(0, 0, 0, 1, 0, 0, 0), table=False))
    data = mujoco.MjData(model)
    gaps, middles = [], []
    for share in np.linspace(0.0, 1.0, 101):
        data.qpos[:] = np.concatenate((np.tile(_posture(share), 3), _THUMB))
        mujoco.mj_kinematics(model, data)
        tips = np.array([data.site(name).xpos[[0, 2]] for name in TIP_FRAMES.values()])
        fingers, thumb = tips[:3].mean(0), tips[3]
        gaps.append(np.linalg.norm(fingers - thumb))
        middles.append((fingers + thumb) / 2.0)
    return np.array(gaps), np.array(middles)
