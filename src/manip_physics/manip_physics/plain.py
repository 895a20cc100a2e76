"""The same model rolled out in plain MuJoCo, many at a time: for sampling, and to judge by."""

import mujoco
import numpy as np
from mujoco.rollout import Rollout

from manip_physics.model import build
from manip_physics.motion import Motion
from manip_physics.rollout import Physics, State


class PlainRollouts:
    """Rolls controls out in MuJoCo's C code.

    Args:
        physics: The model.
        threads: To compute with; 0 for the calling one alone.
    """

    def __init__(self, physics: Physics, threads: int = 0):
        self._physics = physics
        self._model = build(physics.config, sensors=True)
        self._data = [mujoco.MjData(self._model) for _ in range(max(threads, 1))]
        self._pool = Rollout(nthread=threads)

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def motions(self, state: State, controls: np.ndarray, hold: int = 1) -> Motion:
        """What comes of a batch of controls.

        Args:
            state: Where all begin.
            controls: ``(N, T, n)``, each held for ``hold`` steps.
            hold: Steps of the simulation a control.

        Returns:
            Arrays ``(N, T, ...)`` as :meth:`Physics.simulate` has them for one.
        """
        controls = np.clip(np.asarray(controls, float), self._physics.lower, self._physics.upper)
        count, rows, servos = controls.shape
        begin = np.tile(self._physics.plain_state(state), (count, 1))
        _, sensed = self._pool.rollout(
            self._model, self._data, begin, np.repeat(controls, hold, axis=1)
        )
        sensed = sensed[:, hold - 1 :: hold]
        things = 7 if self._physics.config.thing is not None else 0
        tips, thing, positions, forces = np.split(sensed, np.cumsum([12, things, servos]), axis=-1)
        return Motion(controls, positions, forces, tips.reshape(count, rows, 4, 3), thing)
