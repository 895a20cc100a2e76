"""What stands between a target and the robot: all layers of safety, in one place.

Each layer is a module of its own: `gate`, `clutch`, `uncertainty`, `limiter` (with `guard` and
`singularity`), `watchdog`, `arm_report` and `emergency_stop`. This one says in which order they
speak.

How a node uses it::

    controller = Controller.for_robot(config, guard_config, side, engagement=number)
    controller.on_joint_states(names, positions, now)      # each joint state
    controller.on_target(names, positions, stamp, confidence, now, deviation)  # each target
    controller.on_intent(intent, now)                      # each word of a decoder, with assist
    controller.on_objects(things, now)                     # where known objects are, with guidance
    controller.on_arm_status(program_running=..., safety_mode_ok=..., speed_scaling=...)
    controller.on_heartbeat(now)                           # while an operator's page is open
    controller.stop("red button")                          # emergency stop, latched
    controller.reset_stop()
    controller.set_mode(ENGAGED, now)                      # clutch
    command = controller.step(now)                         # at the command rate

``on_joint_states``, ``on_target``, ``on_intent`` and ``on_arm_status`` raise ValueError for what
they refuse; nothing has changed then. `assist` moves the fingers' targets before the limiter sees
them, and is no layer of safety; nor is `grasp_guide`, which takes its place where objects are
known.
"""

from dataclasses import replace

import numpy as np

from manip_control.arm_report import ArmReport, tracking_share
from manip_control.assist import Assist
from manip_control.assist_config import AssistConfig, GraspIntent
from manip_control.clutch import ENGAGED, HOLD, MODES, Clutch
from manip_control.command import Command
from manip_control.control_config import ControlConfig
from manip_control.emergency_stop import EmergencyStop
from manip_control.gate import Gate
from manip_control.grasp_guide import GraspGuide
from manip_control.grasp_planner import Grasp, Request
from manip_control.guard import Guard, GuardConfig
from manip_control.guide_config import GuideConfig
from manip_control.limiter import Limiter
from manip_control.operator_warnings import warnings_of
from manip_control.predictor import Predictor
from manip_control.singularity import Singularity
from manip_control.uncertainty import speed_share
from manip_control.watchdog import FROZEN, Watchdog
from manip_core.hand import RIGHT
from manip_core.primitive import KnownObject
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES, Limits, limits

__all__ = ["ENGAGED", "HOLD", "MODES", "Command", "ControlConfig", "Controller"]

# A late step makes up for the time that passed up to so many control periods; after a longer pause
# the robot goes on as if there had been none.
_LATEST_STEP = 1.5
# A stopped arm's command goes to where the arm is if they differ by more than this [rad], at this
# share of the speed limits.
_APART, _ALIGN_SPEED = 0.01, 0.3


class Controller:
    """Turns targets into safe commands. All times are arguments, in [s] on one clock.

    Attributes:
        limiter: Holds the commanded position, velocity and acceleration.
        speed: Share of the speed limits that the last step could use: arm, hand.
    """

    def __init__(
        self,
        config: ControlConfig,
        names: tuple[str, ...],
        limits: Limits,
        *,
        arm_joints: int = 6,
        engagement: int = 0,
        guard: Guard | None = None,
        assist: Assist | GraspGuide | None = None,
    ):
        """Control the joints ``names`` (the first ``arm_joints`` are the arm's).

        Without a ``guard`` nobody looks at collisions, boxes and singularities: that is for robots
        other than the suite's own. `for_robot` gives the suite's own all there is. ``assist`` helps
        with grasping; None leaves the fingers to the operator.
        """
        self.config = config
        self.names = tuple(names)
        self._arm = slice(0, arm_joints)
        rise_time = np.full(len(names), config.hand_rise_time)
        rise_time[self._arm] = config.arm_rise_time
        self.limiter = Limiter(limits, limits.acceleration / rise_time, guard, gain=config.gain)
        self.speed = (1.0, 1.0)
        self._guard = guard
        self._assist = assist
        self._singularity = None if guard is None else Singularity(guard.model, config)
        self._gate = Gate(config, names)
        self._clutch = Clutch(config, engagement)
        self._watchdog = Watchdog(config)
        self._predictor = Predictor(config)
        self._stop = EmergencyStop()
        self._report = ArmReport()
        self._confidence, self._deviation = 0.0, np.nan
        self._measured: np.ndarray | None = None
        self._used_stamp: float | None = None
        self._stepped_at: float | None = None
        self._commanding = False
        # Nothing was sent, for want of joint states; for so long that the robot counts as lost.
        self._paused = self._lost = False
        # The arm hears commands, and has from where it stood.
        self._arm_follows = False
        self._aligned: np.ndarray | None = None

    @classmethod
    def for_robot(
        cls,
        config: ControlConfig,
        guard_config: GuardConfig | None = None,
        side: str = RIGHT,
        *,
        engagement: int = 0,
        assist: AssistConfig | None = None,
        guide: GuideConfig | None = None,
    ) -> "Controller":
        """Control the suite's own robot, at ``config.speed_fraction`` of its speed limits."""
        own, helper = limits(side), None
        if assist is not None and assist.assist:
            guided = guide is not None and guide.guide
            helper = GraspGuide(assist, guide, side) if guided else Assist(assist, side)
        return cls(
            config,
            JOINT_NAMES,
            replace(own, velocity=own.velocity * config.speed_fraction),
            arm_joints=len(ARM_JOINTS),
            engagement=engagement,
            guard=Guard(guard_config or GuardConfig(), side),
            assist=helper,
        )

    @property
    def mode(self) -> int:
        """``HOLD`` or ``ENGAGED``."""
        return self._clutch.mode

    @property
    def reason(self) -> str:
        """Why the robot stands still, in words; empty while it follows."""
        return self._stop.reason or self._clutch.reason

    @property
    def engagement(self) -> int:
        """Number of the present (or last) engagement."""
        return self._clutch.engagement

    @property
    def rejected(self) -> int:
        """Count of targets, joint states and arm states that were refused."""
        return self._gate.rejected

    @property
    def stopped(self) -> bool:
        """True while the emergency stop is latched."""
        return self._stop.pressed

    def states_lost(self, now: float) -> bool:
        """True where joint states have been missing, or frozen, for so long that it releases."""
        return self._watchdog.state_lost(now)

    @property
    def assisting(self) -> bool:
        """True while the fingers are helped to grasp."""
        return self._assist is not None and self._assist.holding

    @property
    def guiding(self) -> bool:
        """True while the palm is led onto a grasp, or holds what it was led to."""
        return isinstance(self._assist, GraspGuide) and self._assist.guiding

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know of the last step, in words."""
        if self.mode != ENGAGED:
            return ()
        return warnings_of(self.limiter, self.names, self._arm, self.speed)

    def on_joint_states(self, names, positions, now: float) -> None:
        """Take measured positions: all of ``self.names``, others are passed over.

        Raises:
            ValueError: Lengths differ, a joint is missing, or a value is not finite.
        """
        self._measured = self._gate.joint_states(names, positions)
        self._watchdog.saw_states(self._measured, now)
        if self._assist is not None:
            self._assist.feel(self._measured, self.limiter.position, now)

    def on_target(
        self,
        names,
        positions,
        stamp: float,
        confidence: float,
        now: float,
        deviation: float = np.nan,
    ) -> None:
        """Take a target for some or all joints; the others keep the target they had.

        Args:
            names: Joints it names.
            positions: Where they are to be, one each [rad].
            stamp: Exposure of the image behind it [s].
            confidence: Of the hand behind it, 0 to 1.
            now: The present [s].
            deviation: Standard deviation of the hand [m]; NaN where unknown.

        Raises:
            ValueError: The target is malformed, stale, from the future, out of order, or too
                unsure. Nothing has changed then.
        """
        target = self._gate.target(names, positions, stamp, confidence, deviation, now)
        if self.mode != ENGAGED:
            # Not an error: the clutch was released while it was on its way.
            return
        self._predictor.add(target, self.limiter.position)
        self._confidence, self._deviation = target.confidence, target.deviation
        self._watchdog.saw_target(now)

    def on_intent(self, intent: GraspIntent, now: float) -> None:
        """Take what a decoder says the human is about to do; without assist it is passed over.

        Raises:
            ValueError: It is stale, from the future, or out of order. Nothing has changed then.
        """
        if self._assist is None:
            return
        try:
            self._assist.intend(intent, now)
        except ValueError as error:
            raise self._gate.refusal(str(error)) from None

    def on_objects(self, things: list[KnownObject], now: float) -> None:
        """Take where the known objects are, all of them; passed over without guidance."""
        if isinstance(self._assist, GraspGuide):
            self._assist.see(things, now)

    def grasp_wanted(self) -> Request | None:
        """What a grasp should be planned for, by a `GraspPlanner` outside of the control loop."""
        guided = isinstance(self._assist, GraspGuide) and self.mode == ENGAGED
        return self._assist.wanted() if guided else None

    def on_grasp(self, request: Request, grasp: Grasp | None, now: float) -> None:
        """Take the plan for a `grasp_wanted`; None where there is none."""
        if isinstance(self._assist, GraspGuide) and self.mode == ENGAGED:
            self._assist.accept(request, grasp, now)

    def on_arm_status(
        self, *, program_running: bool, safety_mode_ok: bool, speed_scaling: float
    ) -> None:
        """Take what the arm's driver says of the arm; until it speaks, all is taken to be well.

        Args:
            program_running: The program on the arm that takes our commands runs.
            safety_mode_ok: The arm's safety system lets it move.
            speed_scaling: Share of the programmed speed at which the arm moves, 0 to 1.

        Raises:
            ValueError: A share that is none.
        """
        try:
            self._report = ArmReport(
                program_running=program_running,
                safety_mode_ok=safety_mode_ok,
                speed_scaling=speed_scaling,
            )
        except ValueError as error:
            raise self._gate.refusal(str(error)) from None

    def on_heartbeat(self, now: float) -> None:
        """An operator's page is open."""
        self._clutch.heartbeat(now)

    def stop(self, reason: str = "") -> None:
        """Emergency stop: brake within limits, and hold until `reset_stop`."""
        self._stop.press(reason)
        self._clutch.hold(self._stop.reason)
        self._predictor.clear()

    def reset_stop(self) -> tuple[bool, str]:
        """Take the emergency stop's latch off; the robot holds until somebody engages."""
        if not self.stopped:
            return True, "the emergency stop is not pressed"
        done, message = self._stop.reset(at_rest=self.limiter.at_rest)
        if done:
            self._clutch.reason = "the emergency stop was reset"
        return done, message

    def set_mode(self, mode: int, now: float) -> tuple[bool, str]:
        """Engage or release; returns whether it was done, and what happened in words."""
        if mode not in MODES:
            return False, f"mode must be one of {MODES} (hold, engaged), got {mode}"
        if mode == HOLD:
            self._clutch.hold()
            self._predictor.clear()
            return True, "holding"
        return self._engage(now, automatic=False)

    def step(self, now: float) -> Command | None:
        """The command for this moment, or ``None`` where nothing may be sent."""
        period = 1.0 / self.config.rate
        elapsed = period if self._stepped_at is None else now - self._stepped_at
        self._stepped_at = now
        if not elapsed > 0:
            return None
        dt = elapsed if elapsed <= _LATEST_STEP * period else period
        self._clutch.watch_page(now)
        if trouble := self._watchdog.state_trouble(now):
            self._wait_for_state(trouble, now)
            return None
        self._watchdog.commanded(self.limiter.velocity, now)
        self._clutch.states_came()
        self._watch(now)
        if self._clutch.wants_to_engage():
            self._engage(now, automatic=True)
        if not self._commanding:
            # Never engaged: the robot is left alone.
            return None
        fresh = self._move(now, dt)
        position = self.limiter.position.copy()
        return Command(position, self._used_stamp, fresh, self._arm_follows)

    def _engage(self, now: float, *, automatic: bool) -> tuple[bool, str]:
        if self.mode == ENGAGED:
            return True, "already engaged"
        obstacle = self._stop.reason or self._report.stopped
        if not obstacle and self._watchdog.state_trouble(now):
            obstacle = "no fresh joint states from the robot"
        if not obstacle and not self.limiter.at_rest:
            obstacle = "the robot is still braking"
        if not obstacle and self._commanding and self._apart() > self.config.free_deviation:
            obstacle = "the arm is not where it is held"
        if obstacle:
            return False, f"cannot engage: {obstacle}"
        done, message = self._clutch.engage(now, automatic=automatic)
        if done:
            if not self._commanding:
                self.limiter.reset(self._measured)
                self._commanding = self._arm_follows = True
            # Else the robot stands where it is held, and goes on from there without a step.
            self._predictor.clear()
            self._watchdog.forget_targets()
        return done, message

    def _move(self, now: float, dt: float) -> bool:
        """Make one step; True where it is the first one that a target has caused."""
        if self.mode != ENGAGED:
            if self._assist is not None:
                self._assist.release()
            self._align(dt)
            return False
        self._aligned = None
        if self._predictor.position is None or self._watchdog.target_late(now):
            self.limiter.step(None, dt)
            return False
        self.speed = self._speed_shares()
        shares = np.full(len(self.names), self.speed[1])
        shares[self._arm] = self.speed[0]
        target, velocity = self._predictor.aim(now)
        if self._assist is not None:
            target, velocity = self._assist.aim(target, velocity, now)
        self.limiter.step(target, dt, velocity=velocity, speed=shares)
        fresh = self._predictor.stamp != self._used_stamp
        self._used_stamp = self._predictor.stamp
        return fresh

    def _align(self, dt: float) -> None:
        """Brake; and once at rest, take the command to an arm that stopped or stands elsewhere."""
        if self.stopped or self.limiter.at_rest:
            self._aligned = None
        bound = _APART if self._report.stopped else self.config.free_deviation
        if self.limiter.at_rest and not self.stopped and self._apart() > bound:
            self._aligned = self.limiter.position.copy()
            self._aligned[self._arm] = self._measured[self._arm]
        self.limiter.step(self._aligned, dt, speed=_ALIGN_SPEED)

    def _speed_shares(self) -> tuple[float, float]:
        hand = speed_share(self._confidence, self._deviation, self.config)
        arm = hand * self._report.speed_share
        arm *= tracking_share(self._apart(), self.config.free_deviation, self.config.max_deviation)
        if self._singularity is not None:
            arm *= self._singularity.speed_share(self.limiter.position)
        return arm, hand

    def _wait_for_state(self, trouble: str, now: float) -> None:
        """Nothing is commanded; the robot holds what it was last sent."""
        self.limiter.halt()
        self._paused = True
        self._lost |= self._watchdog.state_lost(now)
        if trouble != FROZEN or self.mode != ENGAGED:
            # At rest: nothing has to change.
            self._watchdog.forgive_frozen(now)
        if self.mode != ENGAGED:
            return
        if self._watchdog.state_lost(now):
            self._release(f"{trouble}: no fresh joint states from the robot")
        else:
            self._clutch.reason = trouble

    def _watch(self, now: float) -> None:
        if self._commanding:
            self._reconcile()
        self._paused = self._lost = False
        if self.mode != ENGAGED:
            return
        clutch, watchdog = self._clutch, self._watchdog
        if stopped := self._report.stopped:
            self._release(stopped)
        elif self._predictor.position is None and self.config.auto_engage:
            clutch.reason = "waiting for the hand"
        elif watchdog.target_lost(clutch.engaged_at, now):
            self._release("no target for too long: tracking lost")
        elif self._predictor.position is None:
            clutch.reason = "waiting for the hand"
        elif watchdog.target_late(now):
            clutch.reason = "no fresh target"
        else:
            clutch.reason = ""

    def _reconcile(self) -> None:
        """See to it that what is sent goes on from where the robot is."""
        config, report = self.config, self._report
        # After a pause, in which nothing was sent, the robot may stand anywhere; one that was
        # silent for long may have been started anew, its hand as well.
        apart, hand = self._apart(), slice(self._arm.stop, None)
        elsewhere = self._paused and apart > config.free_deviation
        if self._lost:
            elsewhere |= self._apart(hand) > config.free_deviation
        if elsewhere:
            self._start_from(self._measured)
        if not report.program_running:
            # Nothing reaches the arm: its part of the command is where it stands.
            self._arm_follows = False
        if not self._arm_follows and self.limiter.at_rest:
            if report.program_running or self._apart() > _APART:
                self._start_from(self._standing())
            self._arm_follows = report.program_running
        elif self._arm_follows and not report.stopped and self._apart() > config.max_deviation:
            # A robot that is elsewhere is not dragged back.
            self._start_from(self._standing())

    def _start_from(self, position: np.ndarray) -> None:
        """Go on from another posture than the last command's."""
        if self.mode == ENGAGED:
            self._release("the arm is not where it was commanded to be")
        self.limiter.reset(position)

    def _standing(self) -> np.ndarray:
        """The last command, but for the arm where it stands."""
        position = self.limiter.position.copy()
        position[self._arm] = self._measured[self._arm]
        return position

    def _apart(self, joints: slice | None = None) -> float:
        """Greatest difference of one of ``joints``, or of the arm's, from its command [rad]."""
        apart = np.abs(self._measured - self.limiter.position)[joints or self._arm]
        return float(apart.max(initial=0.0))

    def _release(self, reason: str) -> None:
        self._clutch.release(reason)
        self._predictor.clear()
