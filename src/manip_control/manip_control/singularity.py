"""Slows the arm down where its joints must turn fast to move the palm a little."""

import mujoco
import numpy as np

from manip_control.control_config import ControlConfig
from manip_core.robot_model import ARM_JOINTS

# Lengths are measured in this, so that turning and moving weigh about the same: the size of a
# UR5e's links [m].
_LENGTH = 0.4
# The share is not computed anew for a posture that differs by less than this [rad].
_SAME = 0.005


class Singularity:
    """Watches the smallest singular value of the arm's Jacobian at its flange."""

    def __init__(self, model: mujoco.MjModel, config: ControlConfig):
        self._model = model
        self._data = mujoco.MjData(model)
        self._flange = model.body("wrist_3_link").id
        self._arm = [model.joint(name).dofadr[0] for name in ARM_JOINTS]
        self._move, self._turn = np.empty((3, model.nv)), np.empty((3, model.nv))
        self._config = config
        self._seen_at: np.ndarray | None = None

    def smallest_singular_value(self, q: np.ndarray) -> float:
        """At posture ``q`` ``(22,)`` [rad]; 0 in a singularity."""
        data = self._data
        data.qpos[:] = q
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_comPos(self._model, data)
        mujoco.mj_jacBody(self._model, data, self._move, self._turn, self._flange)
        jacobian = np.vstack((self._move[:, self._arm] / _LENGTH, self._turn[:, self._arm]))
        return float(np.linalg.svd(jacobian, compute_uv=False)[-1])

    def speed_share(self, q: np.ndarray) -> float:
        """Share of the arm's speed limits that may be used at posture ``q``."""
        arm = q[self._arm]
        if self._seen_at is None or np.abs(arm - self._seen_at).max() > _SAME:
            share = self.smallest_singular_value(q) / self._config.singular_value
            self._share = float(np.clip(share, self._config.singular_speed, 1.0))
            self._seen_at = arm
        return self._share
