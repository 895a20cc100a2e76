"""Where the palm is for joint positions, and the arm's joints for where it should be."""

import mujoco
import numpy as np

from manip_core import robot_model
from manip_core.hand import RIGHT
from manip_core.robot_model import ARM_JOINTS
from manip_core.rotation import logarithm

_ARM = slice(0, len(ARM_JOINTS))
# There: so near in place [m] and turn [rad].
_NEAR, _TURNED = 1e-3, 3e-3
# Most of one step [m, rad], and damping of the least squares.
_STEP, _TURN, _DAMPING = 0.1, 0.4, 1e-4


class PalmReach:
    """Kinematics of ``allegro_palm`` in ``world``, by damped least squares (Wampler 1986).

    Attributes:
        model, data: The robot on its table; ``data`` holds what was asked for last.
        palm: Number of the palm's body.
    """

    def __init__(self, side: str = RIGHT):
        self.model = robot_model.build_model(side, with_scene=False)
        self.data = mujoco.MjData(self.model)
        self.palm = self.model.body(robot_model.PALM_FRAME).id
        own = robot_model.limits(side)
        self._lower, self._upper = own.lower[_ARM], own.upper[_ARM]
        self._jacobian = np.zeros((6, self.model.nv))
        self._tips = [self.model.site(name).id for name in robot_model.TIP_FRAMES.values()]

    def pose(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position ``(3,)`` [m] and rotation ``(3, 3)`` of the palm for joints ``(22,)`` [rad]."""
        self.data.qpos[:] = q
        mujoco.mj_kinematics(self.model, self.data)
        return (
            self.data.xpos[self.palm].copy(),
            self.data.xmat[self.palm].reshape(3, 3).copy(),
        )

    @property
    def tips(self) -> np.ndarray:
        """Centres of the fingertips ``(4, 3)`` [m] where the joints are as was asked for last."""
        return self.data.site_xpos[self._tips]

    def solve(
        self, position: np.ndarray, rotation: np.ndarray, seed: np.ndarray, steps: int = 40
    ) -> tuple[np.ndarray, bool]:
        """Joints with the palm there, from ``seed`` on; its fingers stay.

        Args:
            position: ``(3,)`` [m].
            rotation: ``(3, 3)``.
            seed: ``(22,)`` [rad].
            steps: Most steps.

        Returns:
            Joints ``(22,)`` [rad] within their limits, as near as the steps went, and whether the
            palm is there.
        """
        model, data, q = self.model, self.data, seed.copy()
        for _ in range(steps):
            here, turned = self.pose(q)
            off, turn = position - here, logarithm(rotation @ turned.T)
            if np.linalg.norm(off) < _NEAR and np.linalg.norm(turn) < _TURNED:
                return q, True
            mujoco.mj_comPos(model, data)
            error = np.concatenate((_capped(off, _STEP), _capped(turn, _TURN)))
            mujoco.mj_jacBody(model, data, self._jacobian[:3], self._jacobian[3:], self.palm)
            j = self._jacobian[:, _ARM]
            q[_ARM] += j.T @ np.linalg.solve(j @ j.T + _DAMPING * np.eye(6), error)
            q[_ARM] = np.clip(q[_ARM], self._lower, self._upper)
        return q, False


def _capped(vector: np.ndarray, most: float) -> np.ndarray:
    return vector * min(1.0, most / max(np.linalg.norm(vector), 1e-12))
