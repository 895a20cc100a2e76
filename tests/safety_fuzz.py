"""Arbitrary inputs for the whole safety stack, and a judge who believes none of it.

The judge sees only what goes to the robot: positions, and when. It takes differences of these, and
looks for contact in a model of its own, with the real table.
"""

from dataclasses import dataclass, field
from functools import cache

import mujoco
import numpy as np

from manip_control.assist import Assist
from manip_control.controller import ENGAGED, HOLD, ControlConfig, Controller
from manip_control.guard import Guard, GuardConfig
from manip_core import scene
from manip_core.robot_model import JOINT_NAMES, home, limits, robot_spec

LIMITS = limits("right")
HOME = home("right")
ARM = 6
GUARD = GuardConfig()
# Relative and absolute: rounding in third differences.
_ROUNDING = 1e-5


@cache
def guard() -> Guard:
    """One for all rigs: it remembers nothing."""
    return Guard(GUARD)


@cache
def model() -> mujoco.MjModel:
    """The robot on its table, as everyone but the guard has it; but the table is as thick as it is
    wide, or what lies deep in it would be told its way out through the table's underside.
    """
    spec = robot_spec("right")
    scene.add_table(spec)
    table = spec.geom("table")
    table.size[2] = scene.TABLE_SIZE[0]
    table.pos[2] -= scene.TABLE_SIZE[0] - scene.TABLE_SIZE[2]
    return spec.compile()


class Judge:
    """Counts what no command may do.

    A stretch of commands is one motion with limited jerk. A new stretch may begin after a pause, or
    where the robot is found elsewhere, and then at rest: at the last command or at the robot.

    Attributes:
        violations: Counts by kind.
        commands, stretches: How many were seen.
    """

    def __init__(self, jerk: np.ndarray):
        self._limits = (LIMITS.velocity, LIMITS.acceleration, jerk)
        self._model = model()
        self._data = mujoco.MjData(self._model)
        self._palm = self._model.site("allegro_palm").id
        self.violations = dict.fromkeys(
            ("nan", "position", "velocity", "acceleration", "jerk", "jump", "collision", "box"), 0
        )
        self.commands = self.stretches = 0
        self._paused = False
        self._last: np.ndarray | None = None
        self._made: np.ndarray | None = None
        self._arm_velocity = np.zeros(ARM)

    @property
    def total(self) -> int:
        return sum(self.violations.values())

    def hear(
        self, command: np.ndarray | None, measured: np.ndarray, dt: float, *, arm: bool = True
    ) -> None:
        """The command of this moment, or none, and where the robot was told to be.

        Args:
            command: ``(22,)`` [rad]; None where nothing was sent.
            measured: ``(22,)`` newest joint states [rad].
            dt: Time that the command's step stands for [s].
            arm: The arm's part is sent as well; while it is not, nothing is asked of it.
        """
        if command is None:
            self._paused = True
            return
        self.commands += 1
        if not np.isfinite(command).all():
            self.violations["nan"] += 1
            return
        if self._last is not None and self._paused:
            self._begin(self._last)
        made = command
        if self._restood(made, dt) and not arm:
            # The arm's part is where it stands, whatever stopped it there: as it was found.
            self._depth = None
        if not arm and self._last is not None:
            command, measured = (
                np.concatenate((self._last[:ARM], row[ARM:])) for row in (command, measured)
            )
            for difference in self._differences:
                difference[:ARM] = 0.0
        broken = ["start"] if self._last is None else self._broken(command, dt)
        if broken:
            before = vars(self).copy()
            starts = [measured]
            if self._last is not None:
                # The arm where it is, while the hand holds.
                starts.insert(0, np.concatenate((measured[:ARM], self._last[ARM:])))
            self.stretches += 1
            for start in starts:
                self._begin(start)
                found = self._broken(command, dt)
                if not found:
                    break
            if found:
                # Neither did it go on nor start where the robot is.
                vars(self).update(before)
                for kind in ["jump"] if self._paused or self._last is None else broken:
                    self.violations[kind] += 1
                self._begin(command)
        self._paused = False
        self._advance(command, dt)
        self._look(made)

    def _restood(self, made: np.ndarray, dt: float) -> bool:
        """Whether the arm's part of the command changed otherwise than by a motion."""
        velocity = np.zeros(ARM) if self._made is None else (made - self._made)[:ARM] / dt
        before, self._arm_velocity = self._arm_velocity, velocity
        self._made = made
        most = LIMITS.acceleration[:ARM] * dt
        return bool((np.abs(velocity - before) > most * (1 + _ROUNDING) + 1e-6).any())

    def _begin(self, position: np.ndarray) -> None:
        """A motion begins at rest here."""
        still = np.zeros(len(position))
        self._last = position
        self._differences = [still, still.copy()]
        self._times = [0.008, 0.008]
        self._lower = np.minimum(LIMITS.lower, position) - 1e-7
        self._upper = np.maximum(LIMITS.upper, position) + 1e-7
        self._depth = None

    def _next(self, command: np.ndarray, dt: float) -> list[np.ndarray]:
        """Velocity, acceleration, jerk: divided differences, which obey the limits of what they are
        differences of."""
        velocity = (command - self._last) / dt
        acceleration = 2.0 * (velocity - self._differences[0]) / (dt + self._times[0])
        jerk = 3.0 * (acceleration - self._differences[1]) / (dt + sum(self._times))
        return [velocity, acceleration, jerk]

    def _broken(self, command: np.ndarray, dt: float) -> list[str]:
        found = [
            kind
            for kind, value, limit in zip(
                ("velocity", "acceleration", "jerk"),
                self._next(command, dt),
                self._limits,
                strict=True,
            )
            if (np.abs(value) > limit * (1 + _ROUNDING) + _ROUNDING).any()
        ]
        if (command < self._lower).any() or (command > self._upper).any():
            found.append("position")
        return found

    def _advance(self, command: np.ndarray, dt: float) -> None:
        self._differences = self._next(command, dt)[:2]
        self._times = [dt, self._times[0]]
        self._last = command

    def _look(self, command: np.ndarray) -> None:
        data = self._data
        data.qpos[:] = command
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_collision(self._model, data)
        depth = max(0.0, -data.contact.dist.min()) if data.ncon else 0.0
        palm = data.site_xpos[self._palm]
        outside = max(
            0.0,
            (np.array(GUARD.workspace_min) - palm).max(),
            (palm - np.array(GUARD.workspace_max)).max(),
        )
        if self._depth is None:
            # As the robot was found: it may only get better, but for what lies between two looks.
            self._depth = np.array([depth + 5e-4 * (depth > 0), outside + 2e-3 * (outside > 0)])
        self.violations["collision"] += depth > self._depth[0] + 1e-6
        self.violations["box"] += outside > self._depth[1] + 1e-6


@dataclass
class Robot:
    """Servos that trail their command, and what may go wrong with them.

    Attributes:
        position: ``(22,)`` [rad].
        lag: Time constant of the servos [s].
        speed_scaling: Share of its speed at which the arm moves.
        stopped: The arm stands.
        dead: Joint that does not move; None for none.
        setpoint: What it was sent last.
    """

    position: np.ndarray
    lag: float = 0.03
    speed_scaling: float = 1.0
    stopped: bool = False
    dead: int | None = None
    setpoint: np.ndarray = field(init=False)

    def __post_init__(self):
        self.setpoint = self.position.copy()

    def move(self, command: np.ndarray | None, dt: float) -> None:
        """Follow a command for a step; None: hold the last one."""
        if command is not None:
            self.setpoint = command
        share = 1.0 - np.exp(-dt / self.lag)
        step = share * (self.setpoint - self.position)
        if self.stopped:
            step[:ARM] = 0.0
        most = self.speed_scaling * LIMITS.velocity[:ARM] * dt
        step[:ARM] = np.clip(step[:ARM], -most, most)
        if self.dead is not None:
            step[self.dead] = 0.0
        self.position = self.position + step


class Rig:
    """The whole stack with a robot, a clock and the judge."""

    def __init__(self, period: float = 0.008, *, assist: Assist | None = None, **config):
        self.config = ControlConfig(rate=1.0 / period, **config)
        self.controller = Controller(self.config, JOINT_NAMES, LIMITS, guard=guard(), assist=assist)
        self.robot = Robot(HOME.copy())
        self.judge = Judge(self.controller.limiter.jerk)
        self.now = 1000.0
        self.period = period
        self.last: np.ndarray | None = None
        self.refused = 0
        self._measured = HOME.copy()

    def tick(self, *, states: bool = True, elapsed: float | None = None) -> np.ndarray | None:
        """One control period; returns the command that was sent."""
        elapsed = elapsed or self.period
        self.now += elapsed
        if states:
            self._measured = self.robot.position.copy()
            self.controller.on_joint_states(JOINT_NAMES, self._measured, self.now)
        command = self.controller.step(self.now)
        positions = None if command is None else command.positions.copy()
        # After a pause that is longer than jitter, motion goes on where it was.
        dt = elapsed if elapsed <= 1.5 * self.period else self.period
        self.judge.hear(positions, self._measured, dt, arm=command is None or command.arm)
        if command is not None and not command.arm:
            # The arm does not hear it.
            positions[:ARM] = self.robot.setpoint[:ARM]
        self.robot.move(positions, elapsed)
        self.last = positions if positions is not None else self.last
        return positions

    def ticks(self, count: int, **given) -> None:
        for _ in range(count):
            self.tick(**given)

    def aim(
        self,
        positions,
        *,
        age: float = 0.03,
        confidence: float = 1.0,
        deviation: float = np.nan,
        names=JOINT_NAMES,
    ) -> bool:
        """Send a target; False where it was refused."""
        try:
            self.controller.on_target(
                list(names), positions, self.now - age, confidence, self.now, deviation
            )
        except ValueError:
            self.refused += 1
            return False
        return True

    def arm(self, *, running: bool = True, safe: bool = True, scaling: float = 1.0) -> None:
        """The arm's driver says this, and it is so."""
        self.robot.stopped = not (running and safe and scaling > 0)
        self.robot.speed_scaling = scaling
        self.controller.on_arm_status(
            program_running=running, safety_mode_ok=safe, speed_scaling=scaling
        )

    def engage(self) -> bool:
        return self.controller.set_mode(ENGAGED, self.now)[0]

    def hold(self) -> None:
        self.controller.set_mode(HOLD, self.now)

    def follow(self, target, seconds: float) -> None:
        """Targets at 30 Hz for a while."""
        until, due = self.now + seconds, self.now
        while self.now < until - 1e-9:
            if self.now >= due:
                due += 1 / 30
                self.aim(target)
            self.tick()


def near(rng: np.random.Generator, base: np.ndarray, spread: float) -> np.ndarray:
    """A posture about ``base`` within the position limits, ``(22,)`` [rad]."""
    return np.clip(base + spread * rng.normal(size=22), LIMITS.lower, LIMITS.upper)
