"""The robot in MuJoCo: servos, time, and what drivers and faults do between a command and them."""

import threading
import time
from dataclasses import dataclass

import mujoco
import numpy as np

from manip_control.emulated_arm import ArmConfig, EmulatedArm
from manip_control.faults import FAULTS, Fault, Faults, Link
from manip_core.primitive import BOX, CAPSULE, CYLINDER
from manip_core.robot_model import (
    ARM_JOINTS,
    HAND_JOINTS,
    JOINT_NAMES,
    PALM_FRAME,
    build_model,
    limits,
)

_ARM = slice(0, len(ARM_JOINTS))
_GRAVITY = 9.81


@dataclass(frozen=True, kw_only=True)
class RobotConfig:
    """How the simulated robot runs.

    Attributes:
        hand: Side of the Allegro Hand, ``right`` or ``left``.
        rate: Joint states a second; physics takes 2 ms steps between them.
        max_jump: Arm commands farther than this from the last one are refused [rad].
        unlock_after: Time before a protective stop can be unlocked [s].
        apart: Send the joints as the drivers do: the arm's on ``/joint_states``, with
            ``arm_prefix`` before their names, the hand's where and how ``hand_driver`` sends them.
        hand_driver: The Allegro driver that is played.
        arm_prefix: The UR driver's ``tf_prefix``.
        fault_seed: Seed of a schedule of faults; below 0 for none.
        fault_gap: Mean time between two of them [s].
        max_slip: Time that the simulation may fall behind before it gives it up [s].
        meshes: Folder with meshes to draw instead of the primitives; empty for none.
        image_rate: Rendered pictures a second, while somebody subscribes to them.
    """

    hand: str = "right"
    rate: float = 125.0
    max_jump: float = 0.2
    unlock_after: float = 5.0
    apart: bool = False
    hand_driver: str = "v5"
    arm_prefix: str = ""
    fault_seed: int = -1
    fault_gap: float = 20.0
    max_slip: float = 0.05
    meshes: str = ""
    image_rate: float = 5.0

    def __post_init__(self):
        if not 1.0 <= self.rate <= 500.0:
            raise ValueError(f"rate must be within 1 and 500 Hz, got {self.rate}")
        if not self.fault_gap > 0:
            raise ValueError(f"fault_gap must be positive, got {self.fault_gap}")


# Kinds of MuJoCo's geoms; a ball is a capsule without a length.
_SHAPES = {
    int(mujoco.mjtGeom.mjGEOM_BOX): BOX,
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): CYLINDER,
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): CAPSULE,
    int(mujoco.mjtGeom.mjGEOM_SPHERE): CAPSULE,
}


@dataclass(frozen=True)
class ObjectState:
    """An object of the scene: name, position (3,) [m], quaternion (4,) w first, size (3,) [m], and
    kind of `primitive`, empty where it is none."""

    name: str
    position: np.ndarray
    quaternion: np.ndarray
    size: np.ndarray
    shape: str


@dataclass(frozen=True)
class State:
    """What a driver measures: positions [rad], velocities [rad/s], efforts [N m], each ``(22,)``.

    ``stamp`` is the time of the measurement [s].
    """

    position: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray
    stamp: float


class MujocoRobot:
    """Steps the model in real time and keeps its servos at the last good command.

    ``advance`` belongs to one thread; the other methods may be called from any. Commands and
    states pass links that faults make worse.
    """

    def __init__(self, config: RobotConfig, arm: ArmConfig | None = None):
        self.config = config
        self.model = build_model(config.hand, meshes=config.meshes)
        # As MuJoCo's documentation advises for grasping: what is held by friction does not creep.
        self.model.opt.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        self.model.opt.impratio, self.model.opt.noslip_iterations = 10.0, 5
        self.data = mujoco.MjData(self.model)
        self.lock = threading.RLock()
        self.steps = max(1, round(1.0 / (config.rate * self.model.opt.timestep)))
        self.period = self.steps * self.model.opt.timestep
        joints = [self.model.joint(name) for name in JOINT_NAMES]
        self._qpos = np.array([joint.qposadr[0] for joint in joints])
        self._dof = np.array([joint.dofadr[0] for joint in joints])
        self._actuator = np.array([self.model.actuator(name).id for name in JOINT_NAMES])
        self._gains = self.model.actuator_gainprm.copy(), self.model.actuator_biasprm.copy()
        self._palm = self.model.body(PALM_FRAME).id
        free = self.model.jnt_type == mujoco.mjtJoint.mjJNT_FREE
        self._objects = self.model.jnt_bodyid[free]
        self.faults = Faults()
        seed = max(config.fault_seed, 0)
        self.commands, self.states = (Link(self.faults, seed + i) for i in range(2))
        self.arm = EmulatedArm(
            arm or ArmConfig(max_jump=config.max_jump, unlock_after=config.unlock_after),
            self.faults,
            np.zeros(len(ARM_JOINTS)),
            limits(config.hand).velocity[_ARM],
        )
        self._frozen: State | None = None
        self.reset()

    def reset(self) -> None:
        """Put robot and objects back where they started."""
        with self.lock:
            mujoco.mj_resetDataKeyframe(self.model, self.data, self.model.key("home").id)
            self._setpoint = self.data.qpos[self._qpos].copy()
            self.arm.reset(self._setpoint[_ARM])
            self._apply()
            mujoco.mj_forward(self.model, self.data)

    def command_arm(self, controller: str, positions, seconds: float = 0.0) -> None:
        """Hand positions [rad] to a controller of the arm's driver.

        Raises:
            ValueError: A value is not finite, or the command jumps. Nothing has changed then.
        """
        with self.lock:
            self.arm.command(controller, positions, seconds)

    def command_hand(self, names, positions) -> None:
        """Move the servo targets of the hand's joints ``names`` to ``positions`` [rad].

        Raises:
            ValueError: Wrong length, unknown joint, or a value that is not finite. Nothing has
                changed then.
        """
        values = np.asarray(positions, dtype=float)
        if values.shape != (len(names),):
            raise ValueError(f"command must hold {len(names)} positions, got {values.shape}")
        if not np.isfinite(values).all():
            raise ValueError("command holds values that are not finite")
        unknown = [name for name in names if name not in HAND_JOINTS]
        if unknown:
            raise ValueError(f"command names unknown joints {unknown}; known: {HAND_JOINTS}")
        with self.lock:
            self._setpoint[[JOINT_NAMES.index(name) for name in names]] = values

    def begin(self, fault: Fault, now: float) -> None:
        """Start to act out a fault."""
        with self.lock:
            self.faults.begin(fault, now)
            self._apply()

    def end(self, kind: str) -> tuple[bool, str]:
        """End a fault, where it ends at all without the operator."""
        if kind in FAULTS and FAULTS[kind].latched:
            return False, f"{kind} ends by recovery alone"
        with self.lock:
            there = self.faults.end(kind)
            self._apply()
        return there, f"{kind} ended" if there else f"there is no {kind}"

    def advance(self, now: float) -> tuple[State, list[Fault]]:
        """One period of physics: what is measured at ``now`` [s], and the faults that ended."""
        with self.lock:
            ended = self.faults.update(now)
            if ended:
                self._apply()
            measured = self.data.qpos[self._qpos[_ARM]]
            self._setpoint[_ARM] = self.arm.step(self.period, measured, now)
            self.data.ctrl[self._actuator] = self._setpoint
            mujoco.mj_step(self.model, self.data, self.steps)
            state = State(
                self.data.qpos[self._qpos],
                self.data.qvel[self._dof],
                self.data.actuator_force[self._actuator],
                now,
            )
            if self.faults.get("frozen_states") is None:
                self._frozen = None
            else:
                self._frozen = state = self._frozen or state
            return state, ended

    def stop_program(self) -> None:
        """End the program on the arm, as the pendant's stop button does."""
        with self.lock:
            self.arm.stop_program(self.data.qpos[self._qpos[_ARM]])

    def objects(self) -> list[ObjectState]:
        """Where the free objects are, in ``world``."""
        with self.lock:
            return [
                ObjectState(
                    self.model.body(body).name,
                    self.data.xpos[body].copy(),
                    self.data.xquat[body].copy(),
                    2.0 * self.model.geom_aabb[self.model.body_geomadr[body], 3:],
                    self._shape(body),
                )
                for body in self._objects
            ]

    def _shape(self, body: int) -> str:
        if self.model.body_geomnum[body] != 1:
            return ""
        return _SHAPES.get(int(self.model.geom_type[self.model.body_geomadr[body]]), "")

    def copy_state(self, into: mujoco.MjData) -> None:
        """Copy the present state, for a renderer in another thread."""
        with self.lock:
            mujoco.mj_copyData(into, self.model, self.data)

    def _apply(self) -> None:
        """Give the model the faults that are in it: torques and weights."""
        self.model.actuator_gainprm[:], self.model.actuator_biasprm[:] = self._gains
        dead = self.faults.get("dead_joint")
        if dead is not None:
            actuator = self._actuator[JOINT_NAMES.index(dead.joint or "ffj1")]
            self.model.actuator_gainprm[actuator] = 0.0
            self.model.actuator_biasprm[actuator] = 0.0
        # As a force: the arm compensates the weights that the model knows of.
        weight = (self.faults.size("payload") or 0.0) * _GRAVITY
        self.data.xfrc_applied[self._palm, 2] = -weight


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
