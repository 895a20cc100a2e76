"""The robot in MuJoCo: servos, time, and the jump protection that real drivers have."""

import threading
import time
from dataclasses import dataclass

import mujoco
import numpy as np

from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES, build_model


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """How the simulated robot runs.

    Attributes:
        hand: Side of the Allegro Hand, ``right`` or ``left``.
        rate: Joint states a second; physics takes 2 ms steps between them.
        max_jump: Arm commands farther than this from the last one are refused [rad].
        max_slip: Time that the simulation may fall behind before it gives it up [s].
        meshes: Folder with meshes to draw instead of the primitives; empty for none.
        image_rate: Rendered pictures a second, while somebody subscribes to them.
    """

    hand: str = "right"
    rate: float = 125.0
    max_jump: float = 0.2
    max_slip: float = 0.05
    meshes: str = ""
    image_rate: float = 5.0

    def __post_init__(self):
        if not 1.0 <= self.rate <= 500.0:
            raise ValueError(f"rate must be within 1 and 500 Hz, got {self.rate}")


@dataclass(frozen=True)
class ObjectState:
    """An object of the scene: name, position (3,) [m], quaternion (4,) w first, size (3,) [m]."""

    name: str
    position: np.ndarray
    quaternion: np.ndarray
    size: np.ndarray


class MujocoRobot:
    """Steps the model in real time and keeps its servos at the last good command.

    ``advance`` belongs to one thread; the other methods may be called from any.
    """

    def __init__(self, config: RobotConfig):
        self.config = config
        self.model = build_model(config.hand, meshes=config.meshes)
        self.data = mujoco.MjData(self.model)
        self.lock = threading.Lock()
        self.steps = max(1, round(1.0 / (config.rate * self.model.opt.timestep)))
        joints = [self.model.joint(name) for name in JOINT_NAMES]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._actuator = np.array([self.model.actuator(name).id for name in JOINT_NAMES])
        free = self.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE
        self._objects = self.model.jnt_bodyid[free]
        self.reset()

    def reset(self) -> None:
        """Put robot and objects back where they started."""
        with self.lock:
            mujoco.mj_resetDataKeyframe(self.model, self.data, self.model.key("home").id)
            self._setpoint = self.data.qpos[self._qpos].copy()
            mujoco.mj_forward(self.model, self.data)

    def command(self, names: tuple[str, ...], positions) -> None:
        """Move the servo targets of the joints ``names`` to ``positions`` [rad].

        Raises:
            ValueError: Wrong length, unknown joint, a value that is not finite, or an arm command
                that jumps. Nothing has changed then.
        """
        values = np.asarray(positions, dtype=float)
        if values.shape != (len(names),):
            raise ValueError(f"command must hold {len(names)} positions, got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("command holds values that are not finite")
        try:
            index = [JOINT_NAMES.index(name) for name in names]
        except ValueError:
            unknown = sorted(set(names) - set(JOINT_NAMES))
            raise ValueError(f"command names unknown joints {unknown}") from None
        jump = np.abs(values - self._setpoint[index])
        arm = np.array(index) < len(ARM_JOINTS)
        if (jump[arm] > self.config.max_jump).any():
            raise ValueError(
                f"arm command jumps by {jump[arm].max():.2f} rad, at most {self.config.max_jump}"
            )
        with self.lock:
            self._setpoint[index] = values

    def advance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One period of physics; returns positions, velocities, efforts, each ``(22,)``."""
        with self.lock:
            self.data.ctrl[self._actuator] = self._setpoint
            mujoco.mj_step(self.model, self.data, self.steps)
            return (
                self.data.qpos[self._qpos],
                self.data.qvel[self._dof],
                self.data.actuator_force[self._actuator],
            )

    def objects(self) -> list[ObjectState]:
        """Where the free objects are, in ``world``."""
        with self.lock:
            return [
                ObjectState(
                    self.model.body(body).name,
                    self.data.xpos[body].copy(),
                    self.data.xquat[body].copy(),
                    2.0 * self.model.geom_aabb[self.model.body_geomadr[body], 3:],
                )
                for body in self._objects
            ]

    def copy_state(self, into: mujoco.MjData) -> None:
        """Copy the present state, for a renderer in another thread."""
        with self.lock:
            mujoco.mj_copyData(into, self.model, self.data)


class RealTime:
    """Keeps a loop of fixed periods on the wall clock, and says how well.

    Attributes:
        factor: Simulated time over wall time, over the last second.
        lost: Wall time given up so far, in [s].
    """

    def __init__(self, period: float, max_slip: float):
        self._period = period
        self._max_slip = max_slip
        self._due = time.perf_counter()
        self._window = self._due
        self._count = 0
        self.factor = 1.0
        self.lost = 0.0

    def wait(self) -> None:
        """Sleep until the next period is due; what is too late is given up and counted."""
        self._due += self._period
        self._count += 1
        now = time.perf_counter()
        if now < self._due:
            time.sleep(self._due - now)
        elif now - self._due > self._max_slip:
            self.lost += now - self._due
            self._due = now
        if now - self._window >= 1.0:
            self.factor = self._count * self._period / (now - self._window)
            self._window, self._count = now, 0
