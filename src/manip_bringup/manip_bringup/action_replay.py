"""Actions played on the robot in MuJoCo, open loop: what the joints make of them.

The same servos, gravity and contacts as the simulated robot has, but no clock: each command is held
for exactly its time, so that two replays differ only where the commands do.
"""

import mujoco
import numpy as np

from manip_bringup.bag_arrays import Series
from manip_bringup.demonstration import held, held_means
from manip_core.hand import RIGHT
from manip_core.robot_model import JOINT_NAMES, build_model


def finer(actions: np.ndarray, parts: int) -> np.ndarray:
    """Each action divided into ``parts`` that follow the motion through it, their mean kept.

    A parabola through each action's span that has the span's mean and, at its edges, the values
    that follow from the areas of the four neighbouring spans: the interpolation of Colella and
    Woodward's piecewise parabolic method (1984) for equal spans, without its limiter.

    Args:
        actions: ``(n, d)`` means over equal spans.
        parts: At least 1.

    Returns:
        ``(n * parts, d)``.
    """
    if parts < 1:
        raise ValueError(f"parts must be at least 1, got {parts}")
    around = np.pad(np.asarray(actions, dtype=float), ((2, 2), (0, 0)), mode="edge")
    near, far = around[1:-2] + around[2:-1], around[:-3] + around[3:]
    edges = (7.0 * near - far) / 12.0
    left, right, mean = edges[:-1], edges[1:], around[2:-2]
    bow = 6.0 * mean - 3.0 * (left + right)
    # Area under the parabola up to a share x of the span, over the span's length.
    x = np.linspace(0.0, 1.0, parts + 1)[:, None, None]
    area = x * left + x**2 / 2.0 * (right - left + bow) - x**3 / 3.0 * bow
    means = np.diff(area, axis=0) * parts
    return means.swapaxes(0, 1).reshape(-1, mean.shape[1])


def rows(commands: np.ndarray, times: np.ndarray, fps: float) -> Series:
    """The commands of a demonstration's rows, one after the other.

    Args:
        commands: ``(n, m, 22)`` [rad], see :class:`~manip_bringup.demonstration.Demonstration`.
        times: ``(n, m)`` after the row's time [s].
        fps: Rows a second.
    """
    since = np.arange(len(times))[:, None] / fps + times
    return Series(since.ravel(), commands.reshape(-1, commands.shape[-1]))


def evenly(actions: np.ndarray, rate: float) -> Series:
    """Actions ``(n, 22)`` [rad], ``rate`` of them a second, each held until the next."""
    return Series(np.arange(len(actions)) / rate, np.asarray(actions, dtype=float))


class ActionReplay:
    """Plays commands from a given posture, at rest.

    Args:
        side: ``right`` or ``left``, the Allegro Hand's.
    """

    def __init__(self, side: str = RIGHT):
        self._model = build_model(side)
        self._data = mujoco.MjData(self._model)
        joints = [self._model.joint(name) for name in JOINT_NAMES]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._actuator = np.array([self._model.actuator(name).id for name in JOINT_NAMES])
        self.timestep = self._model.opt.timestep

    def play(self, commands: Series, ends: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Give the servos commands and look at the joints.

        The servos' targets change between the steps of the simulation; where a command changes
        within a step, the target is the mean over it.

        Args:
            commands: ``(m, 22)`` [rad], each held from its time until the next one's [s]; the
                posture at the beginning is held before the first.
            ends: ``(n,)`` when to look [s], in order; the replay begins at 0.
            start: ``(22,)`` posture that it begins in [rad].

        Returns:
            ``(n, 22)`` joint positions [rad].
        """
        shape = commands.values.shape
        if len(shape) != 2 or shape[1] != len(JOINT_NAMES):
            raise ValueError(f"commands must be (m, {len(JOINT_NAMES)}), got {shape}")
        edges = np.arange(int(np.ceil(ends[-1] / self.timestep)) + 1) * self.timestep
        targets = held_means(held(commands, np.asarray(start, float), since=0.0), edges)
        states = np.empty((len(edges), len(JOINT_NAMES)))
        self._begin(start)
        states[0] = start
        for i, target in enumerate(targets, 1):
            self._data.ctrl[self._actuator] = target
            mujoco.mj_step(self._model, self._data)
            states[i] = self._data.qpos[self._qpos]
        return np.column_stack([np.interp(ends, edges, column) for column in states.T])

    def _begin(self, start: np.ndarray) -> None:
        mujoco.mj_resetDataKeyframe(self._model, self._data, self._model.key("home").id)
        self._data.qpos[self._qpos] = start
        mujoco.mj_forward(self._model, self._data)
