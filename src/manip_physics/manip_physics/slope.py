"""Loss and gradient of controls through MJX, compiled once for all that has the same parts."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from manip_physics.health import check_gradient, check_motion
from manip_physics.motion import Motion
from manip_physics.objective import Goal, terms
from manip_physics.rollout import Physics, State

_ARRAYS = ("height", "targets", "tips", "recorded")


class Slope:
    """What computes the loss of controls and its gradient.

    A gradient takes about a minute to compile. Weights, targets, where it begins, sizes of contacts
    and the like are arguments of what is compiled, so that it serves many tasks.

    Args:
        names: Terms of the loss that may have a weight.
        hold: Steps of the simulation a control.
    """

    def __init__(self, names: tuple[str, ...], hold: int):
        self.names, self.hold, self._compiled = names, hold, {}

    def __call__(
        self, physics: Physics, goal: Goal, begin: State, controls: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """The loss, and its gradient ``(T, n)`` with respect to controls ``(T, n)``.

        Raises:
            NotFinite: Something is not; it names what, and when.
        """
        value, gradient, _, _ = self.whole(physics, goal, begin, controls)
        return value, gradient

    def whole(
        self, physics: Physics, goal: Goal, begin: State, controls: np.ndarray
    ) -> tuple[float, np.ndarray, State, Motion]:
        """The same, with the states after each control and the motion."""
        given = jnp.asarray(controls, physics.dtype)
        (value, (states, motion)), gradient = self.arrays(physics, goal, begin, given)
        check_motion(motion, physics.names)
        check_gradient(gradient, physics.names)
        return float(value), np.asarray(gradient, float), states, motion

    def arrays(self, physics: Physics, goal: Goal, begin: State, controls: jax.Array):
        """``(value, (states, motion)), gradient`` as they are on the device, whatever they are."""
        key = (physics.names, goal.thing and (goal.thing.kind, goal.thing.size), physics.dtype)
        if key not in self._compiled:
            self._compiled[key] = self._compile(physics, goal)
        weights = {name: float(getattr(goal.weights, name)) for name in self.names}
        arrays = {
            name: jnp.asarray(value, physics.dtype)
            for name in _ARRAYS
            if (value := getattr(goal, name)) is not None
        }
        # Where a state comes from must not matter: JAX compiles anew for what was computed before.
        begin = State(*(jnp.asarray(np.asarray(v), physics.dtype) for v in begin))
        return self._compiled[key](controls, begin, physics.mjx, weights, arrays)

    def _compile(self, physics: Physics, goal: Goal):
        def value(controls, begin, model, weights, arrays):
            made = physics.simulate(begin, controls, self.hold, model)
            found = terms(replace(goal, **arrays), made[1], self.names, jnp)
            return sum(weights[name] * found[name] for name in self.names), made

        return jax.jit(jax.value_and_grad(value, has_aux=True))
