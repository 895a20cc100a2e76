"""Clutch, gate, watchdog and limiter: what stands between a target and the robot."""

from dataclasses import dataclass

import numpy as np

from manip_control.limiter import Limiter
from manip_core.robot_model import Limits

HOLD, ENGAGED = 0, 1
MODES = (HOLD, ENGAGED)

# Longest step the limiter is asked to make, in control periods: after a longer pause the robot
# moves less, never faster.
_LONGEST_STEP = 2.0


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """How the controller behaves.

    Attributes:
        rate: Commands a second.
        gain: How hard the error to the target is closed, in [1/s].
        feed_forward: Share of the targets' own velocity that is added, 0 to 1. 1 follows a steady
            motion without lag and overshoots every turn; 0 lags by 1/gain.
        auto_engage: Engage by itself whenever the robot is ready and the operator has not released
            the clutch. For simulation.
        target_timeout: Targets that arrive later than this after the last one stop the robot [s].
        release_timeout: Time without targets after which the clutch is released [s].
        state_timeout: Age of the joint states beyond which nothing is commanded [s].
        state_release: Age of the joint states beyond which the clutch is released [s].
        max_age, max_future: Oldest and farthest future stamp of a target that is taken [s].
        min_confidence: Targets below this are not followed.
        max_deviation: Difference of an arm joint from its command that releases the clutch [rad].
        speed_fraction: Share of the robot's velocity limits that is used, above 0 to 1.
    """

    rate: float = 125.0
    gain: float = 20.0
    feed_forward: float = 0.5
    auto_engage: bool = False
    target_timeout: float = 0.1
    release_timeout: float = 1.0
    state_timeout: float = 0.1
    state_release: float = 0.5
    max_age: float = 0.5
    max_future: float = 0.05
    min_confidence: float = 0.3
    max_deviation: float = 0.35
    speed_fraction: float = 1.0

    def __post_init__(self):
        if not 10.0 <= self.rate <= 1000.0:
            raise ValueError(f"rate must be within 10 and 1000 Hz, got {self.rate}")
        if not 0.0 <= self.feed_forward <= 1.0:
            raise ValueError(f"feed_forward must be within 0 and 1, got {self.feed_forward}")
        if not 0.0 < self.speed_fraction <= 1.0:
            raise ValueError(f"speed_fraction must be above 0 to 1, got {self.speed_fraction}")
        for name in ("target_timeout", "release_timeout", "state_timeout", "max_age"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class Command:
    """What to send to the robot.

    Attributes:
        positions: ``(n,)`` in [rad], in the order of the controller's names.
        stamp: Exposure of the image behind it [s]; ``None`` before the first target.
        fresh: True for the first command made from that image.
    """

    positions: np.ndarray
    stamp: float | None
    fresh: bool


class Controller:
    """Turns targets into safe commands. All times are arguments, in [s] on one clock.

    Attributes:
        mode: ``HOLD`` or ``ENGAGED``.
        reason: Why the robot stands still, in words; empty while it follows.
        engagement: Number of the present (or last) engagement.
        rejected: Count of targets and joint states that were refused.
    """

    def __init__(
        self,
        config: ControlConfig,
        names: tuple[str, ...],
        limits: Limits,
        *,
        arm_joints: int = 6,
        engagement: int = 0,
    ):
        """Control the joints ``names`` (the first ``arm_joints`` are the arm's)."""
        self.config = config
        self.names = tuple(names)
        self._index = {name: i for i, name in enumerate(names)}
        self._arm = slice(0, arm_joints)
        self.limiter = Limiter(limits, gain=config.gain)
        self.mode = HOLD
        self.reason = "waiting for joint states"
        self.engagement = engagement
        self.rejected = 0
        self._measured: np.ndarray | None = None
        self._measured_at = -np.inf
        self._target: np.ndarray | None = None
        self._target_at = -np.inf
        self._target_stamp: float | None = None
        self._velocity = np.zeros(len(self.names))
        self._used_stamp: float | None = None
        self._engaged_at = -np.inf
        self._held_by_operator = False
        self._stepped_at: float | None = None

    def on_joint_states(self, names, positions, now: float) -> None:
        """Take measured positions: all of ``self.names``, others are passed over.

        Raises:
            ValueError: Lengths differ, a joint is missing, or a value is not finite.
        """
        if len(names) != len(positions):
            raise self._rejection(
                f"joint state has {len(names)} names and {len(positions)} positions"
            )
        given = dict(zip(names, positions, strict=True))
        try:
            measured = np.array([given[name] for name in self.names], dtype=float)
        except KeyError as error:
            raise self._rejection(f"joint state lacks {error.args[0]!r}") from None
        if not np.isfinite(measured).all():
            raise self._rejection("joint state holds values that are not finite")
        self._measured, self._measured_at = measured, now

    def on_target(self, names, positions, stamp: float, confidence: float, now: float) -> None:
        """Take a target for some or all joints; the others keep the target they had.

        Raises:
            ValueError: The target is malformed, stale, from the future, out of order, or too
                unsure. Nothing has changed then.
        """
        if len(names) != len(positions):
            raise self._rejection(f"target has {len(names)} names and {len(positions)} positions")
        if not names:
            raise self._rejection("target names no joint")
        unknown = [name for name in names if name not in self._index]
        if unknown:
            raise self._rejection(f"target names unknown joints {unknown}; known: {self.names}")
        if len(set(names)) != len(names):
            raise self._rejection("target names a joint twice")
        values = np.asarray(positions, dtype=float)
        if not np.isfinite(values).all():
            raise self._rejection("target holds values that are not finite")
        if not stamp >= now - self.config.max_age:
            raise self._rejection(
                f"target is {now - stamp:.3f} s old, at most {self.config.max_age}"
            )
        if stamp > now + self.config.max_future:
            raise self._rejection(f"target lies {stamp - now:.3f} s in the future")
        last = self._target_stamp
        if last is not None and last > now + self.config.max_future:
            # The clock was set back: the old stamp says nothing any more.
            last = None
        if last is not None and stamp <= last:
            raise self._rejection(f"target's stamp is {last - stamp:.3f} s before the last one's")
        if not confidence >= self.config.min_confidence:
            raise self._rejection(
                f"target's confidence {confidence:.2f} is below {self.config.min_confidence}"
            )
        if self.mode != ENGAGED:
            # Not an error: the clutch was released while it was on its way.
            return
        target = self.limiter.position.copy() if self._target is None else self._target.copy()
        target[[self._index[name] for name in names]] = values
        target = np.clip(target, self.limiter.limits.lower, self.limiter.limits.upper)
        if self._target is not None and last is not None:
            share = self.config.feed_forward / max(stamp - last, 1e-3)
            self._velocity = share * (target - self._target)
            if stamp - last > self.config.target_timeout:
                self._velocity = np.zeros_like(target)
        self._target, self._target_at, self._target_stamp = target, now, stamp

    def set_mode(self, mode: int, now: float) -> tuple[bool, str]:
        """Engage or release; returns whether it was done, and what happened in words."""
        if mode not in MODES:
            return False, f"mode must be one of {MODES} (hold, engaged), got {mode}"
        self._held_by_operator = mode == HOLD
        if mode == HOLD:
            self._release("released by the operator")
            return True, "holding"
        if self.mode == ENGAGED:
            return True, "already engaged"
        if not self._state_is_fresh(now):
            return False, "cannot engage: no fresh joint states from the robot"
        if not self.limiter.at_rest:
            return False, "cannot engage: the robot is still braking"
        self.limiter.reset(self._measured)
        self._forget_target()
        self.mode, self.reason = ENGAGED, "waiting for the hand"
        self.engagement += 1
        self._engaged_at = now
        return True, "engaged from where the robot is"

    def step(self, now: float) -> Command | None:
        """The command for this moment, or ``None`` where nothing may be sent."""
        period = 1.0 / self.config.rate
        elapsed = period if self._stepped_at is None else now - self._stepped_at
        self._stepped_at = now
        if not elapsed > 0:
            return None
        dt = min(elapsed, _LONGEST_STEP * period)
        if not self._state_is_fresh(now):
            self._wait_for_state(now)
            return None
        if self.mode == ENGAGED:
            self._watch(now)
        if self.mode == HOLD and self._astray():
            # A robot that is elsewhere is not dragged back.
            self.limiter.reset(self._measured)
        if (
            self.config.auto_engage
            and self.mode == HOLD
            and not self._held_by_operator
            and self.limiter.at_rest
        ):
            self.set_mode(ENGAGED, now)
        if self._engaged_at == -np.inf:
            # Never engaged: the robot is left alone.
            return None
        target, velocity = self._aim(now)
        positions = self.limiter.step(target, dt, velocity)
        fresh = target is not None and self._target_stamp != self._used_stamp
        if fresh:
            self._used_stamp = self._target_stamp
        return Command(positions.copy(), self._used_stamp, fresh)

    def _aim(self, now: float) -> tuple[np.ndarray | None, np.ndarray | float]:
        if self.mode != ENGAGED or self._target is None:
            return None, 0.0
        age = now - self._target_at
        if age > self.config.target_timeout:
            return None, 0.0
        return self._target, self._velocity

    def _wait_for_state(self, now: float) -> None:
        """Nothing is commanded; the robot holds what it was last sent."""
        self.limiter.velocity[:] = 0.0
        if now - self._measured_at > self.config.state_release:
            self._release("no fresh joint states from the robot")
        else:
            self.reason = "joint states are late"

    def _watch(self, now: float) -> None:
        since = now - max(self._target_at, self._engaged_at)
        if self._astray():
            self._release("the arm is not where it was commanded to be")
        elif self._target is None and self.config.auto_engage:
            self.reason = "waiting for the hand"
        elif since > self.config.release_timeout:
            self._release("no target for too long: tracking lost")
        elif self._target is None:
            self.reason = "waiting for the hand"
        elif since > self.config.target_timeout:
            self.reason = "no fresh target"
        else:
            self.reason = ""

    def _astray(self) -> bool:
        deviation = np.abs(self._measured - self.limiter.position)[self._arm]
        return bool((deviation > self.config.max_deviation).any())

    def _release(self, reason: str) -> None:
        self.mode, self.reason = HOLD, reason
        self._forget_target()

    def _forget_target(self) -> None:
        self._target = None
        self._velocity = np.zeros(len(self.names))

    def _state_is_fresh(self, now: float) -> bool:
        return now - self._measured_at <= self.config.state_timeout

    def _rejection(self, message: str) -> ValueError:
        self.rejected += 1
        return ValueError(message)
