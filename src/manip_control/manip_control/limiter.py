"""Limits on a stream of joint targets, with a proved stop before every step."""

import numpy as np
import ruckig

from manip_control.guard import Guard, Path
from manip_control.jerk_limits import stopping_speed, way_to_turn
from manip_core.robot_model import Limits

# Speed shares below this count as a stop.
_STANDSTILL = 1e-2
# A joint whose step was refused goes on at this share of its speed, and gains it back in this time
# [s]: else it would rush and brake in turn before an obstacle.
_CAUTIOUS, _RECOVERY = 0.5, 0.25
# A target may move at this share of the speed limit: the rest is for catching up.
_CATCH_UP = 0.9
_ROUNDING = 1e-9
# Ruckig finds no motion where two of its cases meet exactly, as between standing targets at round
# distances. Targets are then moved by so much [rad].
_NUDGES = (0.0, 1e-7, -1.3e-6, 1.7e-5)
_DONE = (ruckig.Result.Working, ruckig.Result.Finished)


class Limiter:
    """Follows a target as fast as the limits allow, and can always stop.

    The state is the commanded position, velocity and acceleration. Each step asks ruckig for the
    time-optimal motion to the target, takes ``dt`` of it, and asks for the shortest stop from
    there. Only if that stop stays within the position limits and the guard proves it free of
    collisions, from the present state to rest, is the step taken. Else the joints in question
    follow the stop that was proved a step ago, which needs no new proof where all do. So by
    induction there is a proved stop at every moment, for any input.

    The target is intercepted in a frame that moves with its velocity, in which the best motion is
    the same from wherever on it one looks: between two targets the motion is planned once, in
    effect, and no jerk is wasted.

    Attributes:
        position: ``(n,)`` commanded position [rad].
        velocity: ``(n,)`` commanded velocity [rad/s].
        acceleration: ``(n,)`` commanded acceleration [rad/s^2].
        blocked: What stood in the way of the last step, in words; empty for nothing.
    """

    def __init__(self, limits: Limits, jerk: np.ndarray, guard: Guard | None = None):
        """Limit with ``limits`` and ``jerk`` ``(n,)`` [rad/s^3].

        Args:
            limits: Position, velocity and acceleration limits of ``n`` joints.
            jerk: Greatest jerk of each.
            guard: Looks at collisions and boxes; None leaves them to the caller.
        """
        jerk = np.broadcast_to(np.asarray(jerk, dtype=float), limits.lower.shape)
        if not ((limits.velocity > 0).all() and (limits.acceleration > 0).all()):
            raise ValueError("velocity and acceleration limits must be positive")
        if not (np.isfinite(jerk).all() and (jerk > 0).all()):
            raise ValueError(f"jerk limits must be positive and finite, got {jerk}")
        if guard is not None and guard.reach.shape[1] != len(limits.lower):
            raise ValueError(
                f"the guard knows {guard.reach.shape[1]} joints, limits {len(limits.lower)}"
            )
        self.limits = limits
        self.jerk = jerk.copy()
        self.guard = guard
        n = len(limits.lower)
        self._planner = ruckig.Ruckig(n)
        self._input = ruckig.InputParameter(n)
        self._input.synchronization = ruckig.Synchronization.No
        self._input.max_acceleration = limits.acceleration.tolist()
        self._input.max_jerk = self.jerk.tolist()
        self._rest = [0.0] * n
        self._input.target_acceleration = self._rest
        self._motion, self._stop, self._spare = (ruckig.Trajectory(n) for _ in range(3))
        self.reset(np.clip(np.zeros(n), limits.lower, limits.upper))

    def reset(self, position: np.ndarray) -> None:
        """Start at rest from a measured ``position`` ``(n,)`` in [rad]."""
        position = np.asarray(position, dtype=float)
        if position.shape != self.limits.lower.shape or not np.isfinite(position).all():
            raise ValueError(
                f"position must be {self.limits.lower.shape} and finite, got {position.shape}"
            )
        self.position = position.copy()
        # A robot found outside its limits may move inwards only.
        self._lower = np.minimum(self.limits.lower, position)
        self._upper = np.maximum(self.limits.upper, position)
        if self.guard is not None:
            self._look()
            # Where parts touch as the robot is found, they come no nearer wherever one looks, and
            # hardly between.
            self._lowest = np.where(self._seen < 0, self._seen - self.guard.clearance, 0.0)
        self.halt()

    def halt(self) -> None:
        """Be at rest at once: the robot stands, as nothing was sent to it for a while."""
        self.velocity = np.zeros_like(self.position)
        self.acceleration = np.zeros_like(self.position)
        self._caution = np.ones_like(self.position)
        self.blocked = ""
        self._plan_stop(self.position, self.velocity, self.acceleration, self._stop)
        self._stop_at = 0.0

    @property
    def at_rest(self) -> bool:
        """True where no joint is commanded to move."""
        return bool(np.abs(self.velocity).max() < _ROUNDING)

    def step(
        self,
        target: np.ndarray | None,
        dt: float,
        *,
        velocity: np.ndarray | None = None,
        speed: np.ndarray | float = 1.0,
    ) -> np.ndarray:
        """Advance by ``dt`` [s] towards ``target`` and return the new position ``(n,)`` in [rad].

        Args:
            target: ``(n,)`` in [rad], clipped to the limits; ``None`` brakes to a stop.
            dt: Time since the last step, positive.
            velocity: ``(n,)`` velocity of the target [rad/s]; None for a standing one.
            speed: Share of the velocity limits that may be used, 0 to 1, ``(n,)`` or for all.
        """
        self.blocked = ""
        self._caution = np.minimum(self._caution + dt / _RECOVERY, 1.0)
        stop = self._state(self._stop, self._stop_at + dt)
        if target is None or not self._plan_motion(target, velocity, speed):
            return self._follow_stop(stop, dt)
        share = np.broadcast_to(speed, self.position.shape)
        braking = share < _STANDSTILL
        motion = self._state(self._motion, dt)
        motion[0] += self._frame[0] + self._frame[1] * dt
        motion[1] += self._frame[1]
        # Twice at most: refused joints brake, then whatever hangs together with them.
        for _ in range(3):
            if braking.all():
                break
            state = np.where(braking, stop, motion)
            self._news = None
            if not self._plan_stop(*state, self._spare):
                self.blocked = "no stop was found"
                break
            refused = self._refused(state, braking, dt)
            if not refused.any():
                self._stop, self._spare, self._stop_at = self._spare, self._stop, 0.0
                self.position, self.velocity, self.acceleration = state
                if self._news is not None:
                    self._seen_at, self._seen, self._floor = self._news
                return self.position
            self._caution[refused] *= _CAUTIOUS
            if not (refused & ~braking).any():
                break
            braking = braking | refused
        return self._follow_stop(stop, dt)

    def _plan_motion(
        self, target: np.ndarray, velocity: np.ndarray | None, speed: np.ndarray | float
    ) -> bool:
        """Plan the interception of the target; False where there is none."""
        limits = self.limits
        share = np.minimum(np.maximum(speed * self._caution, _STANDSTILL), 1.0)
        fastest = limits.velocity * share
        aim = np.minimum(np.maximum(target, limits.lower), limits.upper)
        if velocity is None:
            drift = np.zeros_like(aim)
        else:
            # Also slow enough to stop before a position limit.
            room = np.where(velocity > 0, limits.upper - aim, aim - limits.lower)
            most = stopping_speed(room, limits.acceleration, self.jerk)
            most = np.minimum(most, _CATCH_UP * fastest)
            drift = np.minimum(np.maximum(velocity, -most), most)
        self._frame = np.array([aim, drift])
        if not (np.isfinite(self._frame).all() and np.isfinite(fastest).all()):
            self.blocked = "the target is not finite"
            return False
        given = self._input
        given.control_interface = ruckig.ControlInterface.Position
        given.max_velocity = (fastest - drift).tolist()
        given.min_velocity = (-fastest - drift).tolist()
        given.current_velocity = (self.velocity - drift).tolist()
        given.current_acceleration = self.acceleration.tolist()
        given.target_position = given.target_velocity = self._rest
        for nudge in _NUDGES:
            self._frame[0] = aim + nudge
            given.current_position = (self.position - self._frame[0]).tolist()
            if self._calculate(self._motion):
                return True
        self.blocked = "no motion to the target was found"
        return False

    def _plan_stop(self, position, velocity, acceleration, into: ruckig.Trajectory) -> bool:
        given = self._input
        given.control_interface = ruckig.ControlInterface.Velocity
        given.min_velocity = None
        given.max_velocity = self.limits.velocity.tolist()
        given.current_position = position.tolist()
        given.current_velocity = velocity.tolist()
        given.current_acceleration = acceleration.tolist()
        given.target_velocity = self._rest
        return self._calculate(into)

    def _calculate(self, into: ruckig.Trajectory) -> bool:
        try:
            return self._planner.calculate(self._input, into) in _DONE
        except ruckig.RuckigError:
            return False

    @staticmethod
    def _state(trajectory: ruckig.Trajectory, time: float) -> np.ndarray:
        """Position, velocity and acceleration, ``(3, n)``."""
        return np.array(trajectory.at_time(time))

    def _refused(self, state: np.ndarray, braking: np.ndarray, dt: float) -> np.ndarray:
        """Mask of the joints whose step from the present state to ``state`` may not be taken."""
        start, reached, stopped = self.position, state[0], self._spare
        # Not ruckig's own extremes: those of a stop hold zeros that are not on the way.
        rest = np.array(stopped.at_time(stopped.duration)[0])
        turned = reached + way_to_turn(state[1], state[2], self.jerk)
        low = np.minimum(np.minimum(reached, rest), turned)
        high = np.maximum(np.maximum(reached, rest), turned)
        beyond = (low < self._lower - _ROUNDING) | (high > self._upper + _ROUNDING)
        if beyond.any() or self.guard is None:
            return beyond
        # Speed over a step differs from the straight line between its ends by the jerk's share.
        way = 0.5 * dt * (np.abs(self.velocity) + np.abs(state[1])) + self.jerk * dt**3 / 12.0
        still = (self.velocity == 0) & (self.acceleration == 0) & (reached == start)
        turn = np.where(still, 0.0, np.maximum(way - np.abs(reached - start), 0.0))
        if self._is_near(np.minimum(start, low) - turn, np.maximum(start, high) + turn):
            return beyond
        # A stop turns back once at most.
        turn_back = 2.0 * np.maximum(high - low - np.abs(rest - reached), 0.0)
        rows = self._look_along(braking, reached, dt, np.array([turn, turn_back]))
        if rows.any():
            self.blocked = self.guard.describe(rows)
            return self.guard.joints_of(rows)
        return beyond

    def _is_near(self, low: np.ndarray, high: np.ndarray) -> bool:
        """True where all between two corners is so near to what was last seen that it is free."""
        away = np.maximum(high - self._seen_at, self._seen_at - low)
        near = bool((self._seen - self.guard.reach @ away >= self.guard.clearance).all())
        if near:
            self._news = self._seen_at, self._seen, self.guard.clearance
        return near

    def _look_along(
        self, braking: np.ndarray, reached: np.ndarray, dt: float, turns: np.ndarray
    ) -> np.ndarray:
        """Rows of the guard that the planned step and the stop after it would not keep."""
        guard, start, since = self.guard, self.position, self._stop_at
        (aim, drift), motion, stop, stopped = self._frame, self._motion, self._stop, self._spare

        def at(t: float) -> np.ndarray:
            if t > dt:
                return np.array(stopped.at_time(t - dt)[0])
            if t == dt:
                return reached
            if t == 0.0:
                return start
            moving = np.array(motion.at_time(t)[0]) + aim + drift * t
            return np.where(braking, stop.at_time(since + t)[0], moving)

        path = Path(at, (0.0, dt, dt + max(stopped.duration, 1e-6)), turns)
        # What is known of here: at least this.
        known = self._seen - guard.reach @ np.abs(start - self._seen_at)
        rows, seen = guard.trouble(path, self._floor, self._lowest, known)
        self._news = reached, seen, np.minimum(guard.clearance, seen)
        return rows

    def _look(self) -> None:
        """See all distances of the present posture."""
        self._seen_at, self._seen = self.position, self.guard.distances(self.position)
        self._floor = np.minimum(self.guard.clearance, self._seen)

    def _follow_stop(self, stop: np.ndarray, dt: float) -> np.ndarray:
        if self._stop_at < self._stop.duration:
            self.position, self.velocity, self.acceleration = stop
            self._stop_at += dt
            if self.guard is not None:
                self._look()
        if self._stop_at >= self._stop.duration:
            self.velocity, self.acceleration = np.zeros_like(stop[1:])
        return self.position
