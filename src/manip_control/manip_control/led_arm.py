"""The arm of a hand that is led: its joints on a way that was looked at, its palm on a line."""

from collections.abc import Sequence

import numpy as np

from manip_control.assist import HAND
from manip_control.object_room import CLEAR, ObjectRoom
from manip_control.palm_reach import PalmReach
from manip_control.velocity_damper import nearest_velocity
from manip_core.primitive import KnownObject
from manip_core.robot_model import ARM_JOINTS
from manip_core.rotation import exponential, logarithm

ARM = slice(0, len(ARM_JOINTS))
# It is no farther ahead of the real one than this [rad].
_BEHIND = 0.35
# A real arm that is so far behind is held up; or so far, where it has moved by less than this
# [rad] for so long [s].
_FAR_BEHIND, _LAGS, _STOOD, _STANDS = 0.28, 0.08, 0.01, 0.5
# A posture on the way was passed: so near to it [rad].
_PASSED = 0.15
# Fingers are where they should be after this share of the arm's way.
_OPEN_AT = 0.9
# What was added to the target is gone: below [rad].
_GONE = 0.005
# Most that is asked of a joint [rad/s].
_FASTEST = 2.5
# Share of the led joints' speed that is told ahead, as the predictor has it.
_AHEAD = 0.5
_STEPS = 3
# It comes nearer to objects by so much of what is left a second; and is held up where less than
# this share of its step remains.
_RATE, _HELD_UP = 10.0, 0.1
# Longer steps are looked at in parts, and not longer than so many of them [rad].
_PART, _MOST_PARTS = 0.02, 8
# Where the way itself ends nearer, it may come so near [m].
_NEARER = 0.002

Pose = tuple[np.ndarray, np.ndarray]


class LedArm:
    """Where the arm is led.

    Attributes:
        pose: Of the palm as it is led, ``(3,)`` [m] and ``(3, 3)``; None where the arm is the
            operator's.
        way: Postures that are left ``(22,)`` [rad].
        held_up: An object is where its next step would go.
    """

    def __init__(self, reach: PalmReach, room: ObjectRoom):
        self._reach, self._room = reach, room
        self.release()

    def release(self) -> None:
        """The arm is the operator's."""
        self.pose: Pose | None = None
        self._q: np.ndarray | None = None
        self._last: np.ndarray | None = None
        self.way: tuple[np.ndarray, ...] = ()
        self.held_up = False
        # Where the real arm was when it last moved, and for how long it has not since [s].
        self._stood_at: np.ndarray | None = None
        self._stood = 0.0
        # Where the present part of the way began, and how near objects it may go.
        self._leg: np.ndarray | None = None
        self._kept = 0.0

    def begin(self, way: tuple[np.ndarray, ...], measured: np.ndarray) -> None:
        """A new way of postures ``(22,)`` [rad], from where the robot is."""
        self.way, self._leg, self.held_up = way, measured.copy(), False

    def keep_off(self, things: Sequence[KnownObject]) -> None:
        """On its way the robot keeps off these; where the way ends nearer, as near as that."""
        self._room.put(things)
        self._kept = min(CLEAR, self._room.distance(self.way[-1]) - _NEARER)

    def end(self) -> None:
        """No way is left: back to the operator's target."""
        self.way, self.held_up = (), False

    def behind(self, measured: np.ndarray) -> float:
        """How far the real arm is behind, at its worst joint [rad]."""
        return 0.0 if self._q is None else float(np.abs(self._q - measured)[ARM].max())

    def stands(self, measured: np.ndarray, elapsed: float) -> bool:
        """Whether something holds the real arm up: it is far behind, or a little and has not moved
        for a while. To be asked at each step, `elapsed` after the last one [s]."""
        behind = self.behind(measured)
        if self._stood_at is None or np.abs(measured - self._stood_at)[ARM].max() > _STOOD:
            self._stood_at, self._stood = measured.copy(), 0.0
        self._stood += elapsed
        return behind > _FAR_BEHIND or (behind > _LAGS and self._stood > _STANDS)

    def wait(self, measured: np.ndarray) -> None:
        """Lead on from where the arm is."""
        self._q[ARM] = measured[ARM]

    def towards(
        self, target: np.ndarray, share: float, speed: float, measured: np.ndarray, elapsed: float
    ) -> np.ndarray:
        """A step on the way, as far as ``share`` says, or back to the operator's target.

        Of the joints, for their way is what was looked at; but the operator goes on, and draws it
        aside as long as his share counts. So steps towards an object are turned along it.

        Args:
            target: ``(22,)`` the operator's [rad].
            share: 0 for his, 1 for the end of the way.
            speed: Of the fastest joint [rad/s]; his own motion counts as far as he leads, since a
                hurried arm leaves the way.
            measured: ``(22,)`` where the robot is [rad].
            elapsed: Since the last step [s].

        Returns:
            ``(22,)`` [rad].
        """
        self._start(target)
        share = share if self.way else 0.0
        goal = target if share == 0.0 else target + share * (self.way[0] - target)
        off = (goal - self._q)[ARM]
        moved = 0.0 if self._last is None else np.abs(target - self._last)[ARM].max()
        most = speed * elapsed + (1.0 - share) * moved
        if self.way:
            # It waits for an arm that something holds up.
            waits = self.behind(measured) > _BEHIND
            most = 0.0 if waits else min(most, _MOST_PARTS * _PART)
        far = np.abs(off).max()
        step = off if far <= most else off * (most / far)
        taken = self._round(step, measured, elapsed) if self.way else step
        q = self._q.copy()
        # To the bit, where it is the operator's.
        q[ARM] = goal[ARM] if taken is off else q[ARM] + taken
        if len(self.way) > 1 and np.abs(q - self.way[0])[ARM].max() < _PASSED:
            self._leg, self.way = self.way[0], self.way[1:]
        self.pose = self._reach.pose(q)
        return q

    def _round(self, step: np.ndarray, measured: np.ndarray, elapsed: float) -> np.ndarray:
        """A step ``(6,)`` [rad], the very one where it is free, or the nearest that keeps robot and
        objects apart."""
        parts = max(1, int(np.ceil(np.abs(step).max() / _PART)))
        rate = min(_RATE * max(elapsed, 1e-3) / parts, 1.0)
        posture, part, free = measured.copy(), step / parts, True
        posture[ARM] = self._q[ARM]
        for _ in range(parts):
            jacobian, distance = self._room.near_rows(posture)
            most = rate * (distance - self._kept)
            taken = part
            if not (jacobian @ part >= -most).all():
                fastest = np.full(len(step), max(np.abs(part).max(), _PART))
                taken, free = nearest_velocity(jacobian, most, part, fastest), False
            posture[ARM] += taken
        went = (posture - self._q)[ARM]
        self.held_up = not free and bool(np.abs(went).max() < _HELD_UP * np.abs(step).max())
        return step if free else went

    def along(
        self, target: np.ndarray, wish: Pose, most: float, most_turn: float, elapsed: float
    ) -> np.ndarray:
        """A step ``(22,)`` [rad] of the palm along a straight line to ``wish``, by so much at most
        [m, rad]."""
        self._start(target)
        off, turn = wish[0] - self.pose[0], logarithm(wish[1] @ self.pose[1].T)
        off *= min(1.0, most / max(np.linalg.norm(off), 1e-9))
        turn *= min(1.0, most_turn / max(np.linalg.norm(turn), 1e-9))
        self.pose = self.pose[0] + off, exponential(turn) @ self.pose[1]
        q, _ = self._reach.solve(*self.pose, self._q, steps=_STEPS)
        step = (q - self._q)[ARM]
        # Near singular postures a small way of the palm is a long one of the joints.
        step *= min(1.0, _FASTEST * elapsed / max(np.abs(step).max(), 1e-9))
        q[ARM] = self._q[ARM] + step
        return q

    def take(self, q: np.ndarray, target: np.ndarray, elapsed: float) -> np.ndarray:
        """A step was made: speeds ``(6,)`` [rad/s] that are told ahead of it."""
        speeds = _AHEAD * (q - self._q)[ARM] / max(elapsed, 1e-3)
        self._q, self._last = q, target.copy()
        return speeds

    def let_go(self, target: np.ndarray) -> None:
        """The arm is the operator's once nothing is left of what was added to his target."""
        if np.abs(self._q - target)[ARM].max() < _GONE:
            self.pose = self._q = None

    def opening(self, measured: np.ndarray) -> np.ndarray:
        """Fingers ``(16,)`` [rad] as far as the arm has come: the way was looked at with both."""
        goal = self.way[0]
        whole, left = (np.abs(goal - q)[ARM].max() for q in (self._leg, measured))
        share = np.clip((whole - left) / max(_OPEN_AT * whole, 1e-3), 0.0, 1.0)
        return self._leg[HAND] + share * (goal - self._leg)[HAND]

    def _start(self, target: np.ndarray) -> None:
        if self._q is None:
            self._q = target.copy()
