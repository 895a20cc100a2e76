"""Limits on a stream of joint targets, with a proved stop before every step."""

import numpy as np
import ruckig

from manip_control.guard import Guard, Path
from manip_control.jerk_limits import way_to_turn
from manip_control.velocity_damper import VelocityDamper
from manip_core.robot_model import Limits

# Speed shares below this count as a stop.
_STANDSTILL = 1e-2
# A joint whose step was refused goes on at the first share of its speed, or the second at least,
# and gains it back in this time [s]: else it would rush and brake in turn before an obstacle.
_CAUTIOUS, _LEAST_SPEED, _RECOVERY = 0.5, 0.1, 0.25
# Share of the acceleration limits with which a target is braked for: the rest corrects.
_GENTLE = 0.7
_ROUNDING = 1e-9
_DONE = (ruckig.Result.Working, ruckig.Result.Finished)


class Limiter:
    """Follows a target as the limits allow, and can always stop.

    The state is the commanded position, velocity and acceleration. Far from the target the joints
    go as fast as they can and still stop there; near it the distance is closed with a first-order
    lag: reaching every one of 30 noisy targets a second in the shortest time would make more of the
    noise than of the motion. Each step asks ruckig for the quickest way to the velocity that this
    needs, takes ``dt`` of it, and asks for the shortest stop from there. Only if that stop stays
    within the position limits and the guard proves it free of collisions, from the present state to
    rest, is the step taken. Else the joints in question follow the stop that was proved a step ago,
    which needs no new proof where all do. So by induction there is a proved stop at every moment,
    for any input.

    Attributes:
        position: ``(n,)`` commanded position [rad].
        velocity: ``(n,)`` commanded velocity [rad/s].
        acceleration: ``(n,)`` commanded acceleration [rad/s^2].
        blocked: What stood in the way of the last step, in words; empty for nothing.
    """

    def __init__(
        self, limits: Limits, jerk: np.ndarray, guard: Guard | None = None, *, gain: float = 20.0
    ):
        """Limit with ``limits`` and ``jerk`` ``(n,)`` [rad/s^3].

        Args:
            limits: Position, velocity and acceleration limits of ``n`` joints.
            jerk: Greatest jerk of each.
            guard: Looks at collisions and boxes; None leaves them to the caller.
            gain: How hard the distance to the target is closed, where it is small [1/s].
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
        self._gain = gain
        self._damper = None if guard is None else VelocityDamper(guard)
        n = len(limits.lower)
        self._planner = ruckig.Ruckig(n)
        self._input = ruckig.InputParameter(n)
        self._input.synchronization = ruckig.Synchronization.No
        self._input.control_interface = ruckig.ControlInterface.Velocity
        self._input.max_velocity = limits.velocity.tolist()
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
        velocity: np.ndarray | float = 0.0,
        speed: np.ndarray | float = 1.0,
    ) -> np.ndarray:
        """Advance by ``dt`` [s] towards ``target`` and return the new position ``(n,)`` in [rad].

        Args:
            target: ``(n,)`` in [rad], clipped to the limits; ``None`` brakes to a stop.
            dt: Time since the last step, positive.
            velocity: ``(n,)`` velocity of the target [rad/s].
            speed: Share of the velocity limits that may be used, 0 to 1, ``(n,)`` or for all.
        """
        self.blocked = ""
        self._caution = np.minimum(self._caution + dt / _RECOVERY, 1.0)
        stop = self._state(self._stop, self._stop_at + dt)
        if target is None or not self._plan_motion(target, velocity, speed, dt):
            return self._follow_stop(stop, dt)
        share = np.broadcast_to(speed, self.position.shape)
        braking = share < _STANDSTILL
        motion = self._state(self._motion, dt)
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
            self._caution = np.maximum(self._caution, _LEAST_SPEED)
            if not (refused & ~braking).any():
                break
            braking = braking | refused
        return self._follow_stop(stop, dt)

    def _plan_motion(
        self,
        target: np.ndarray,
        velocity: np.ndarray | float,
        speed: np.ndarray | float,
        dt: float,
    ) -> bool:
        """Plan the way to the velocity that leads to the target; False where there is none."""
        limits = self.limits
        share = np.minimum(np.maximum(speed * self._caution, _STANDSTILL), 1.0)
        fastest = limits.velocity * share
        aim = np.minimum(np.maximum(target, limits.lower), limits.upper)
        error = aim - self.position
        # Fast where far, and never faster than can be braked before the target, and a limit.
        most = self._approach_speed(np.abs(error), dt)
        wanted = velocity + np.minimum(np.maximum(self._gain * error, -most), most)
        up = np.minimum(fastest, self._approach_speed(limits.upper - self.position, dt))
        down = np.minimum(fastest, self._approach_speed(self.position - limits.lower, dt))
        wanted = np.minimum(np.maximum(wanted, -down), up)
        if not np.isfinite(wanted).all():
            self.blocked = "the target is not finite"
            return False
        if self._damper is not None:
            wanted = self._damper.slide(self.position, wanted, fastest)
            self.blocked = self._damper.met
        self._input.target_velocity = wanted.tolist()
        return self._plan(self.position, self.velocity, self.acceleration, self._motion)

    def _approach_speed(self, distance: np.ndarray, dt: float) -> np.ndarray:
        """Speed at which a distance [rad] may be closed: it can be braked, gently, in time."""
        brake = _GENTLE * self.limits.acceleration
        # A new deceleration is asked for a step later, and has to rise.
        late = dt + 0.5 * self.limits.acceleration / self.jerk
        return brake * (np.sqrt(late**2 + 2.0 * np.maximum(distance, 0.0) / brake) - late)

    def _plan_stop(self, position, velocity, acceleration, into: ruckig.Trajectory) -> bool:
        self._input.target_velocity = self._rest
        return self._plan(position, velocity, acceleration, into)

    def _plan(self, position, velocity, acceleration, into: ruckig.Trajectory) -> bool:
        given = self._input
        given.current_position = position.tolist()
        given.current_velocity = velocity.tolist()
        given.current_acceleration = acceleration.tolist()
        try:
            return self._planner.calculate(given, into) in _DONE
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
        motion, stop, stopped = self._motion, self._stop, self._spare

        def at(t: float) -> np.ndarray:
            if t > dt:
                return np.array(stopped.at_time(t - dt)[0])
            if t == dt:
                return reached
            if t == 0.0:
                return start
            return np.where(braking, stop.at_time(since + t)[0], motion.at_time(t)[0])

        path = Path(
            at,
            (0.0, dt, dt + max(stopped.duration, 1e-6)),
            turns,
            self.limits.acceleration,
        )
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
