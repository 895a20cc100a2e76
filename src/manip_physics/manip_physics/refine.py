"""Recorded actions, made better by gradient through the simulator.

A recording says where the operator wanted the joints; the robot's servos trail that by some 30 ms,
sag under load and are stopped by what they touch. Window by window, controls are sought whose
outcome in the simulation is what was asked for, with little force and within limits, not far from
what was recorded; where there is an object, with fingertips on it and, at the end, the object up.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np

from manip_core.robot_model import TIP_RADIUS
from manip_physics.health import check_motion
from manip_physics.model import PhysicsConfig, Thing
from manip_physics.motion import Motion
from manip_physics.objective import Goal, Weights, counted, distance
from manip_physics.plain import PlainRollouts
from manip_physics.rollout import Physics
from manip_physics.search import DescentConfig, descend
from manip_physics.slope import Slope


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """How recorded actions are refined.

    Attributes:
        side: The Allegro Hand's.
        thing: The object, or None.
        lift: How far the object is to be up at the end [m]; 0: it need not.
        window: Rows that are optimised together.
        keep: Rows of a window that are kept before the next begins.
        steps: Gradients a window.
        rate: Greatest change of a target a step [rad].
        timestep: Longest step of the simulation [s].
    """

    side: str = "right"
    thing: Thing | None = None
    lift: float = 0.0
    window: int = 8
    keep: int = 4
    steps: int = 12
    rate: float = 0.01
    timestep: float = 0.004

    def __post_init__(self):
        if not 1 <= self.keep <= self.window:
            raise ValueError(
                f"keep must be within 1 and the window's {self.window} rows, got {self.keep}"
            )
        if self.lift and self.thing is None:
            raise ValueError("there is no object to lift: name one")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


@dataclass(frozen=True)
class Refined:
    """Refined actions, and what they are good for.

    Attributes:
        actions: ``(T, 22)`` [rad].
        figures: Of the recorded (``before_…``) and refined (``after_…``) actions, both played in
            plain MuJoCo: how far the joints are from what was asked for [rad], forces over the
            greatest, and with an object how near the fingertips are [m] and how high it is [m].
        rejected: Gradients that were not finite.
    """

    actions: np.ndarray
    figures: dict[str, float]
    rejected: int


def wanted(actions: np.ndarray) -> np.ndarray:
    """Where the joints are to be at the end of each row, of actions ``(T, n)`` that are means over
    rows: half way to the next one's mean."""
    after = np.concatenate((actions[1:], actions[-1:]))
    return 0.5 * (actions + after)


def refine(
    actions: np.ndarray, state: np.ndarray, fps: float, config: RefineConfig, say=None
) -> Refined:
    """Improve actions by gradient.

    Args:
        actions: ``(T, 22)`` recorded, means over rows [rad].
        state: ``(22,)`` measured posture at the first row [rad].
        fps: Rows a second.
        config: How.
        say: Called with the rows done and the loss before and after, once a window.

    Raises:
        ValueError: Wrong shapes, or values that are not finite.
    """
    actions, state = np.asarray(actions, float), np.asarray(state, float)
    if actions.ndim != 2 or actions.shape[1] != 22 or state.shape != (22,):
        raise ValueError(
            f"actions must be (T, 22) and state (22,), got {actions.shape} and {state.shape}"
        )
    if not (np.isfinite(actions).all() and np.isfinite(state).all()):
        raise ValueError("actions and state must be finite")
    hold = int(np.ceil(1.0 / (fps * config.timestep)))
    physics = Physics(
        PhysicsConfig(side=config.side, thing=config.thing, timestep=1.0 / (fps * hold))
    )
    goal = _goal(physics, config)
    refined, rejected = _windows(physics, goal, actions, state, hold, config, say)
    plain = PlainRollouts(physics)
    begin = physics.start(state)
    both = plain.motions(begin, np.stack((actions, refined)), hold)
    plain.close()
    figures = {}
    for i, name in enumerate(("before", "after")):
        motion = Motion(*(values[i] for values in both))
        check_motion(motion, physics.names)
        figures |= {f"{name}_{k}": v for k, v in _measure(goal, motion, wanted(actions)).items()}
    return Refined(refined, figures, rejected)


def _goal(physics: Physics, config: RefineConfig) -> Goal:
    handles = config.thing is not None
    empty = np.zeros((1, len(physics.names)))
    return Goal(
        weights=Weights(
            follow=100.0,
            limits=100.0,
            torque=0.02,
            change=2.0,
            touch=1.0 if handles else 0.0,
            penetration=10.0 if handles else 0.0,
            lift=1.0 if config.lift else 0.0,
        ),
        lower=physics.lower,
        upper=physics.upper,
        effort=physics.effort,
        thing=config.thing,
        height=(config.thing.place[2] + config.lift) if handles else 0.0,
        targets=empty,
        recorded=empty,
    )


def _windows(
    physics: Physics,
    goal: Goal,
    actions: np.ndarray,
    state: np.ndarray,
    hold: int,
    config: RefineConfig,
    say,
) -> tuple[np.ndarray, int]:
    """Refined actions, and how many gradients were not finite."""

    slope = Slope(counted(goal.weights), hold)
    aims = wanted(actions)
    refined, rejected = actions.copy(), 0
    begin = physics.start(state)
    for first in range(0, len(actions), config.keep):
        rows = np.minimum(np.arange(first, first + config.window), len(actions) - 1)
        last = first + config.window >= len(actions)
        recorded, targets = actions[rows], aims[rows]

        weights = goal.weights
        if not last:
            # An object need be up at the end of the recording alone.
            weights = replace(weights, lift=0.0)
        here = replace(goal, weights=weights, targets=targets, recorded=recorded)

        def at(controls, here=here, begin=begin) -> tuple[float, np.ndarray]:
            return slope(physics, here, begin, controls)

        before, _ = at(recorded)
        found = descend(
            at,
            recorded,
            (physics.lower, physics.upper),
            np.inf,
            DescentConfig(rate=config.rate, steps=config.steps),
        )
        rejected += found.rejected
        kept = min(config.keep, len(actions) - first)
        refined[first : first + kept] = found.knots[:kept]
        states = slope.whole(physics, here, begin, found.knots)[2]
        begin = jax.tree.map(lambda values, row=kept - 1: values[row], states)
        if say is not None:
            say(first + kept, before, found.loss)
    return refined, rejected


def _measure(goal: Goal, motion: Motion, aims: np.ndarray) -> dict[str, float]:
    found = {
        "follow_rad_rms": float(np.sqrt(((motion.positions - aims) ** 2).mean())),
        "force_share_rms": float(np.sqrt(((motion.forces / goal.effort) ** 2).mean())),
    }
    if goal.thing is not None:
        gap = distance(goal.thing, motion.thing, motion.tips) - TIP_RADIUS
        found["tip_gap_m"] = float(np.maximum(gap, 0.0).mean())
        found["tip_depth_m"] = float(np.maximum(-gap, 0.0).max())
        found["thing_height_m"] = float(motion.thing[-1, 2])
    return found
