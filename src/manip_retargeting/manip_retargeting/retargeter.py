"""Hand observations to joint angles: arm and hand in one differential-IK QP per step."""

from dataclasses import dataclass
from enum import Enum

import mink
import numpy as np
import qpsolvers

from manip_core import robot_model
from manip_core.hand import RIGHT, Hand
from manip_retargeting.clutch import Clutch
from manip_retargeting.config import RetargetingConfig
from manip_retargeting.hand_map import HandScale, calibrate, hand_targets, palm_points
from manip_retargeting.planning import DistanceLimit, Planner, planning_model
from manip_retargeting.tasks import FingerTask, HandFrames, JointTask, PinchTask

ARM_DOFS = len(robot_model.ARM_JOINTS)
# Of a grown-up's hand, until calibrated: index, middle and ring finger, and wrist to middle
# knuckle; means over the seven people of DexYCB [m].
DEFAULT_FINGER_LENGTHS = np.array([0.0814, 0.0840, 0.0806])
DEFAULT_PALM_LENGTH = 0.0969
# A frame's iterations end at steps below this [rad]: linearising over it errs by some 30 µm.
_STATIONARY = 0.02
# A step that would penetrate is tried again at these lengths, then dropped.
_BACKTRACK = (1.0, 0.5, 0.25, 0.1)


class Status(Enum):
    """What became of an observation."""

    CONVERGED = "converged"
    MOVING = "moving"
    BACKTRACKED = "backtracked"
    REJECTED = "rejected"


@dataclass(frozen=True, kw_only=True)
class Result:
    """Answer to one observation.

    Attributes:
        q: ``(22,)`` joint angles [rad], within all limits and free of penetration.
        status: ``CONVERGED``: q is the solution. ``MOVING``: q is on its way there, as fast as
            allowed. ``BACKTRACKED``: the step was shortened or dropped to keep parts from touching.
            ``REJECTED``: the observation was not used, q is the last safe one.
        reason: Why the status is not ``CONVERGED``, in words; else empty.
    """

    q: np.ndarray
    status: Status
    reason: str = ""


class Retargeter:
    """Turns hands into joint angles of one robot.

    ``engage`` says where the robot is and which hand pose that belongs to; every ``solve`` then
    moves on from the last answer, never faster than the joints' velocity limits.

    Args:
        config: Settings.
        side: Which robot hand, ``"left"`` or ``"right"``.
        scale: The user's hand; None takes that of a grown-up.
        hand_only: Plan the 16 finger joints alone; the arm is held, and avoided as if at home.
    """

    def __init__(
        self,
        config: RetargetingConfig | None = None,
        side: str = RIGHT,
        *,
        scale: HandScale | None = None,
        hand_only: bool = False,
    ):
        self.config = config = config or RetargetingConfig()
        self.side = robot_model.check_side(side)
        self.hand_only = hand_only
        model = planning_model(side, config.collision_margin, hand_only=hand_only)
        limits = robot_model.limits(side)
        self._free = slice(ARM_DOFS if hand_only else 0, None)
        self._lower, self._upper = limits.lower[self._free], limits.upper[self._free]
        self._speed = config.velocity_scale * limits.velocity[self._free]
        self._all_limits = limits
        self._home = robot_model.home(side)

        self._planner = Planner(model, self._home[self._free])
        self._frames = HandFrames(model)
        self._frames.update(self._planner.data)
        self._finger_task = FingerTask(config, self._frames)
        self._pinch_task = PinchTask(config, self._frames)
        posture = np.full(robot_model.NUM_JOINTS, config.posture_cost)
        posture[:ARM_DOFS] = config.arm_posture_cost
        self._joint_task = JointTask(posture[self._free], config.acceleration_cost, config.damping)
        self._palm_task = mink.FrameTask(
            robot_model.PALM_FRAME,
            "body",
            position_cost=config.palm_position_cost,
            orientation_cost=config.palm_rotation_cost,
        )
        self._tasks = [self._finger_task, self._pinch_task, self._joint_task]
        if not hand_only:
            self._tasks.append(self._palm_task)
        self._limit = DistanceLimit(config.clearance, config.collision_gain)
        self._clutch = Clutch(
            robot_model.camera_mount(side)[0],
            config.arm_scale,
            np.array([config.workspace_min, config.workspace_max]),
            config.mirror,
            config.rest_band,
        )
        self._q = self._home.copy()
        self.scale = scale or self._default_scale()

    @property
    def engaged(self) -> bool:
        return self._clutch.engaged

    @property
    def q(self) -> np.ndarray:
        """The last safe joint angles, ``(22,)`` [rad]."""
        return self._q.copy()

    def release(self) -> None:
        """Forgets the anchor: observations are rejected until the next ``engage``."""
        self._clutch.release()

    def calibrate(self, hands: list[Hand]) -> HandScale:
        """Measures the user's hand and uses it from now on; see `hand_map.calibrate`."""
        self.scale = calibrate(hands, *self._frames.finger_size())
        return self.scale

    def engage(self, q: np.ndarray, hand: Hand) -> Result:
        """Anchors relative motion: this robot posture belongs to this hand.

        Args:
            q: ``(22,)`` measured joint angles [rad].
            hand: The observation of the same moment.

        Returns:
            The posture as taken over, or ``REJECTED`` with the reason; then nothing has changed.
        """
        q = np.asarray(q, dtype=float)
        problem = self._posture_problem(q) or self._hand_problem(hand)
        if not problem:
            try:
                palm_points(hand)
            except ValueError as error:  # the keypoints span no palm
                problem = str(error)
        if problem:
            return Result(q=self.q, status=Status.REJECTED, reason=problem)
        self._q = np.clip(q, self._all_limits.lower, self._all_limits.upper)
        self._planner.update(self._q[self._free])
        palm = self._planner.data.body(robot_model.PALM_FRAME)
        self._clutch.engage(palm.xpos, palm.xmat.reshape(3, 3), hand)
        posture = self._home.copy()
        posture[:ARM_DOFS] = self._q[:ARM_DOFS]
        self._joint_task.posture = posture[self._free]
        self._step = np.zeros_like(self._lower)
        return Result(q=self.q, status=Status.CONVERGED)

    def solve(self, hand: Hand, dt: float) -> Result:
        """Moves on towards this hand's posture.

        Args:
            hand: The observation.
            dt: Time since the last one [s].
        """
        problem = self._hand_problem(hand)
        if not self.engaged:
            problem = "not engaged"
        elif not (np.isfinite(dt) and dt > 0):
            problem = f"dt must be positive and finite, got {dt}"
        if not problem:
            try:
                self._aim(hand)
            except ValueError as error:  # the keypoints span no palm
                problem = str(error)
        if problem:
            return Result(q=self.q, status=Status.REJECTED, reason=problem)
        dt = min(dt, self.config.max_dt)
        start = self._q[self._free].copy()
        reach = self._speed * dt
        lower = np.maximum(self._lower, start - reach)
        upper = np.minimum(self._upper, start + reach)
        status, reason = Status.MOVING, "a limit on speed or step length stands before the solution"
        for _ in range(self.config.iterations):
            q = self._planner.data.qpos.copy()
            step = self._solve_qp(lower - q, upper - q, start + self._step - q, dt)
            if step is None:
                status, reason = Status.BACKTRACKED, "the QP has no solution; standing still"
                break
            share = self._advance(q, step, lower, upper)
            if share < 1.0:
                status, reason = Status.BACKTRACKED, f"{share:.0%} of the step keeps parts apart"
            elif np.abs(step).max() < _STATIONARY:
                status, reason = Status.CONVERGED, ""
                break
        self._q[self._free] = self._planner.data.qpos
        self._step = self._q[self._free] - start
        return Result(q=self.q, status=status, reason=reason)

    def _aim(self, hand: Hand) -> None:
        points, rotation = palm_points(hand, self.config.mirror)
        low, high = self.config.contact_low, self.config.contact_high
        self._finger_task.targets = hand_targets(points, self.scale)
        self._pinch_task.contact = np.clip((hand.contact[:3] - low) / (high - low), 0.0, 1.0)
        if not self.hand_only:
            position, palm = self._clutch.target(hand, rotation)
            self._palm_task.set_target(
                mink.SE3.from_rotation_and_translation(mink.SO3.from_matrix(palm), position)
            )

    def _solve_qp(
        self, lower: np.ndarray, upper: np.ndarray, preferred: np.ndarray, dt: float
    ) -> np.ndarray | None:
        """One step within ``lower`` and ``upper``; None where there is none."""
        self._frames.update(self._planner.data)
        self._joint_task.preferred_step = preferred
        longest = self.config.step_limit
        lower, upper = np.maximum(lower, -longest), np.minimum(upper, longest)
        for recovering in (True, False):
            self._limit.recovering = recovering
            problem = mink.build_ik(
                self._planner, self._tasks, dt, damping=0.0, limits=[self._limit]
            )
            problem.lb, problem.ub = lower, upper
            solution = qpsolvers.solve_problem(problem, solver="daqp")
            if solution.found and np.isfinite(solution.x).all():
                return np.clip(solution.x, lower, upper)
        return None

    def _advance(
        self, q: np.ndarray, step: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> float:
        """Takes as much of a step as keeps all parts apart; returns that share of it."""
        allowed = min(self._planner.least_distance, 0.2 * self.config.clearance)
        for share in _BACKTRACK:
            self._planner.update(np.clip(q + share * step, lower, upper))
            if self._planner.least_distance >= allowed:
                return share
        self._planner.update(q)
        return 0.0

    def _hand_problem(self, hand: Hand) -> str | None:
        if problem := hand.problem():
            return problem
        if not hand.tracked:
            return "no hand is tracked"
        if (hand.side != self.side) != self.config.mirror:
            return (
                f"a {hand.side} hand cannot drive a {self.side} robot hand with "
                f"mirror={self.config.mirror}"
            )
        return None

    def _posture_problem(self, q: np.ndarray) -> str | None:
        limits = self._all_limits
        if q.shape != limits.lower.shape:
            return f"q must be {limits.lower.shape}, got {q.shape}"
        if not np.isfinite(q).all():
            return f"q must be finite, got {np.count_nonzero(~np.isfinite(q))} values that are not"
        outside = np.maximum(limits.lower - q, q - limits.upper)
        worst = int(np.argmax(outside))
        if outside[worst] > self.config.engage_tolerance:
            return (
                f"{robot_model.JOINT_NAMES[worst]} is at {q[worst]:.3f} rad, "
                f"{outside[worst]:.3f} rad outside its limits"
            )
        return None

    def _default_scale(self) -> HandScale:
        height, lengths = self._frames.finger_size()
        fingers = lengths / DEFAULT_FINGER_LENGTHS
        tips = np.concatenate(([fingers.mean()], fingers))
        return HandScale(tips=tips, wrist=(0.0, 0.0, height - fingers.mean() * DEFAULT_PALM_LENGTH))
