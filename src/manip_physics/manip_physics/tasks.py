"""Small tasks to try gradients on, all of one length, so that they share what is compiled."""

from dataclasses import replace

import numpy as np

from manip_physics.model import PhysicsConfig
from manip_physics.objective import Goal, Weights
from manip_physics.plain import PlainRollouts
from manip_physics.rollout import Physics
from manip_physics.scenes import BAR_SIZE, Scene, bar_grasp, free_hand
from manip_physics.search import between
from manip_physics.slope import Slope

# Controls, steps of the simulation each, knots: 0.4 s of 4 ms steps.
ROWS, HOLD, KNOTS = 20, 5, 6
TIMESTEP = 0.004
TERMS = ("reach", "limits", "torque")
TERMS_WITH_THING = ("lift", "touch", "penetration", *TERMS)


def slope_for(scene: Scene) -> Slope:
    """What computes gradients of a scene."""
    return Slope(TERMS_WITH_THING if scene.config.thing else TERMS, HOLD)


def paced(scene: Scene, **options) -> Scene:
    """A scene with these tasks' time step, and other options of the model."""
    config: PhysicsConfig = replace(scene.config, timestep=TIMESTEP, **options)
    return Scene(config, scene.posture)


def bar(clearance: float, kind: str = "capsule", **options) -> Scene:
    """A hand on a carriage with its fingertips so far from a bar on the table [m]."""
    return paced(bar_grasp(clearance, carriage=True, kind=kind), **options)


def hand() -> Scene:
    """A hand in the air."""
    return paced(free_hand())


def goal(physics: Physics, weights: Weights, tips: np.ndarray, height: float = 0.0) -> Goal:
    """What is asked for: fingertips ``(ROWS, 4, 3)`` and a height of the object [m]."""
    return Goal(
        weights=weights,
        lower=physics.lower,
        upper=physics.upper,
        effort=physics.effort,
        thing=physics.config.thing,
        height=height,
        tips=tips,
    )


def reach(physics: Physics, posture: np.ndarray) -> Goal:
    """Fingertips are to follow a motion that controls can make, and does: nothing is touched."""
    knots = np.tile(posture, (KNOTS, 1))
    knots += np.random.default_rng(3).normal(0.0, 0.25, knots.shape)
    plain = PlainRollouts(physics)
    made = plain.motions(physics.start(posture), (between(ROWS, KNOTS) @ knots)[None], HOLD)
    plain.close()
    return goal(physics, Weights(reach=1.0), made.tips[0])


def lift(physics: Physics) -> Goal:
    """Fingertips are to touch the bar, which is to be 5 cm up in the end, with little force."""
    weights = Weights(lift=1.0, touch=1.0, penetration=10.0, torque=0.01, limits=100.0)
    return goal(physics, weights, np.zeros((ROWS, 4, 3)), BAR_SIZE[0] + 0.05)
