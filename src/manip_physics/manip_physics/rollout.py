"""Short differentiable roll-outs of the robot and an object under servo targets.

All arrays over the servos are in the order of `Physics.names`; ``T`` counts controls, each of which
is held for `hold` steps of the simulation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco import mjx

from manip_core import robot_model
from manip_physics.model import THING, PhysicsConfig, build, servo_names
from manip_physics.motion import Motion
from manip_physics.step import step


class State(NamedTuple):
    """Where a roll-out begins or ends.

    Attributes:
        qpos, qvel: MuJoCo's ``(nq,)`` and ``(nv,)``.
        warm: ``(nv,)`` where the solver begins to look [rad/s^2].
    """

    qpos: jax.Array
    qvel: jax.Array
    warm: jax.Array


class Physics:
    """A model on MJX's side and on MuJoCo's.

    Precision is JAX's default when this is made: float64 where ``jax_enable_x64`` is set.

    Attributes:
        config: What it was made from.
        model: The same in plain MuJoCo.
        mjx: The same on the device.
        names: Joints with a servo, in the order of all controls.
    """

    def __init__(self, config: PhysicsConfig):
        self.config = config
        self.model = build(config)
        self.names = servo_names(config)
        self.mjx = mjx.put_model(self.model)
        self._blank = mjx.make_data(self.mjx)
        servos = tuple(self.model.actuator(i).name for i in range(self.model.nu))
        if servos != self.names:
            raise ValueError(f"servos must be in the order of {self.names}, got {servos}")
        self.qpos = np.array([self.model.joint(name).qposadr[0] for name in self.names])
        self._tips = np.array([self.model.site(n).id for n in robot_model.TIP_FRAMES.values()])
        self.thing = (
            self.model.joint(THING).qposadr[0] + np.arange(7)
            if config.thing is not None
            else np.zeros(0, int)
        )
        self.lower, self.upper = self.model.actuator_ctrlrange.T
        self.effort = self.model.actuator_forcerange[:, 1]

    @property
    def dtype(self) -> np.dtype:
        """Of all floating-point numbers in here."""
        return np.dtype(self._blank.qpos.dtype)

    def start(self, posture: np.ndarray | None = None) -> State:
        """At rest in a posture, the object at its place.

        Args:
            posture: ``(n,)`` joint positions; the suite's home where it is not given.

        Raises:
            ValueError: Another number of positions.
        """
        if posture is None:
            home = dict(
                zip(
                    robot_model.JOINT_NAMES,
                    robot_model.home(self.config.side).tolist(),
                    strict=True,
                )
            )
            posture = [home.get(name, 0.0) for name in self.names]
        posture = np.asarray(posture, float)
        if posture.shape != (len(self.names),):
            raise ValueError(f"posture must be ({len(self.names)},), got {posture.shape}")
        qpos = self.model.qpos0.copy()
        qpos[self.qpos] = posture
        still = jnp.zeros(self.model.nv, self.dtype)
        return State(jnp.asarray(qpos, self.dtype), still, still)

    def plain_state(self, state: State) -> np.ndarray:
        """The same state as MuJoCo's full physics state, as `mujoco.rollout` takes it."""
        data = mujoco.MjData(self.model)
        data.qpos[:], data.qvel[:] = np.asarray(state.qpos), np.asarray(state.qvel)
        kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
        held = np.empty(mujoco.mj_stateSize(self.model, kind))
        mujoco.mj_getState(self.model, data, held, kind)
        return held

    def tick(self, model: mjx.Model, state: State, control: jax.Array) -> tuple[State, Motion]:
        """One step of the simulation; pure, for JAX to transform."""
        data = self._blank.replace(
            qpos=state.qpos,
            qvel=state.qvel,
            qacc_warmstart=state.warm,
            ctrl=control,
        )
        now, after = step(model, data)
        seen = Motion(
            controls=control,
            positions=state.qpos[self.qpos],
            forces=now.actuator_force,
            tips=now.site_xpos[self._tips],
            thing=state.qpos[self.thing],
        )
        return State(after.qpos, after.qvel, after.qacc_warmstart), seen

    def simulate(
        self,
        state: State,
        controls: jax.Array,
        hold: int = 1,
        model: mjx.Model | None = None,
        *,
        thrifty: bool = False,
    ) -> tuple[State, Motion]:
        """Roll out controls; pure, for JAX to transform.

        Args:
            state: Where it begins.
            controls: ``(T, n)``.
            hold: Steps of the simulation a control.
            model: Another model with the same parts, as an argument of a compiled function, so that
                other sizes or contacts need no compilation of their own.
            thrifty: Keep only the states between controls for reverse mode, and compute again what
                happens within one. Else all intermediate results are kept, which is faster and
                compiles sooner.

        Returns:
            The states after each control, with a leading axis ``T``, and the motion.
        """
        model = self.mjx if model is None else model

        def tick(state: State, control: jax.Array):
            state, seen = self.tick(model, state, control)
            return state, (state, seen)

        def period(state: State, control: jax.Array):
            state, made = jax.lax.scan(lambda s, _: tick(s, control), state, length=hold)
            return state, jax.tree.map(lambda values: values[-1], made)

        if thrifty:
            again = jax.checkpoint(period, prevent_cse=False)
            return jax.lax.scan(again, state, controls)[1]
        _, made = jax.lax.scan(tick, state, jnp.repeat(controls, hold, axis=0))
        return jax.tree.map(lambda values: values[hold - 1 :: hold], made)
