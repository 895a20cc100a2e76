"""Ways of the joints from one motion into another: one polynomial, as short as it may be.

Of all ways between two moments with given speeds and accelerations, a polynomial of the fifth
degree jerks least (Flash and Hogan 1985, "The coordination of arm movements"). It takes as long as
it must for the joints to stay within their limits and to accelerate no harder than the motions do
that it joins: who looks at the whole does not see where.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.robot_model import ARM_JOINTS, NUM_JOINTS, Limits

ARM, HAND = slice(0, len(ARM_JOINTS)), slice(len(ARM_JOINTS), NUM_JOINTS)
# Which accelerations are judged together: the arm's and the fingers' are of other sizes.
PARTS = {"arm": ARM, "hand": HAND}
# Which of a clip's accelerations is taken for its hardest, in percent.
PERCENTILE = 99.0
# How hard a way may always accelerate [rad/s^2]: between clips at rest it would never arrive.
GENTLE = {"arm": 0.6, "hand": 2.0}
# Least rows between two clips, and the longest that a way may take [s].
_LEAST_ROWS, _LONGEST = 3, 8.0
# Shares of the clips' hardest acceleration: what a way may use, and what it may begin and end with;
# less of it where that would lead it beyond a limit.
_USED, _BEGUN = 0.98, (0.9, 0.4, 0.0)


@dataclass(frozen=True)
class Moment:
    """Joints ``(22,)`` at one time: positions [rad] and their first two derivatives."""

    position: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray

    @classmethod
    def at_end(cls, rows: np.ndarray, fps: float, most: dict[str, float]) -> "Moment":
        """At the last of rows ``(n, 22)`` [rad] at a rate, by the last three of them.

        Args:
            rows: Three or more.
            fps: Rows a second.
            most: Largest acceleration of each of `PARTS` that is believed [rad/s^2].
        """
        before, last, end = rows[-3:]
        acceleration = (end - 2 * last + before) * fps**2
        for name, part in PARTS.items():
            size = np.linalg.norm(acceleration[part])
            acceleration[part] *= min(1.0, most[name] / max(size, 1e-12))
        # Over the last row the mean speed is known; half a row of acceleration is still to come.
        return cls(end, (end - last) * fps + acceleration / (2 * fps), acceleration)

    def reversed(self) -> "Moment":
        """The same, with time running backwards."""
        return Moment(self.position, -self.velocity, self.acceleration)


def ends(
    before: np.ndarray, after: np.ndarray, fps: float, share: float = _BEGUN[0]
) -> tuple[Moment, Moment]:
    """How rows ``(n, 22)`` end and others begin, at most at a share of their hardest
    acceleration."""
    most = {name: share * value for name, value in hardest([before, after], fps).items()}
    return (
        Moment.at_end(before, fps, most),
        Moment.at_end(after[::-1], fps, most).reversed(),
    )


def quintic(first: Moment, last: Moment, duration: float) -> np.ndarray:
    """Coefficients ``(6, 22)`` by rising powers of the time [s] since ``first``."""
    t = duration
    powers = np.array(
        (
            (t**3, t**4, t**5),
            (3 * t**2, 4 * t**3, 5 * t**4),
            (6 * t, 12 * t**2, 20 * t**3),
        )
    )
    speed, bend = first.velocity, first.acceleration
    left = np.stack(
        (
            last.position - first.position - speed * t - bend * t**2 / 2,
            last.velocity - speed - bend * t,
            last.acceleration - bend,
        )
    )
    return np.vstack((first.position, speed, bend / 2, np.linalg.solve(powers, left)))


def along(coefficients: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Positions ``(n, 22)`` [rad] at times ``(n,)`` [s] since the start."""
    return np.polynomial.polynomial.polyval(np.asarray(times), coefficients).T


@dataclass(frozen=True)
class Way:
    """From the last row of one motion to the first of another.

    Attributes:
        coefficients: See :func:`quintic`.
        count: Rows that lie between.
        lower, upper: ``(22,)`` [rad]: a joint that rests at a limit is not led beyond it.
    """

    coefficients: np.ndarray
    count: int
    lower: np.ndarray
    upper: np.ndarray

    def at(self, times: np.ndarray) -> np.ndarray:
        """Positions ``(n, 22)`` [rad] at times ``(n,)`` [s] since the last row before."""
        return np.clip(along(self.coefficients, times), self.lower, self.upper)


def accelerations(rows: np.ndarray, fps: float) -> dict[str, np.ndarray]:
    """Size ``(n - 2,)`` [rad/s^2] of each of `PARTS`, at all of ``(n, 22)`` but first and last."""
    bend = np.diff(rows, 2, axis=0) * fps**2
    return {name: np.linalg.norm(bend[:, part], axis=1) for name, part in PARTS.items()}


def hardest(clips: list[np.ndarray], fps: float) -> dict[str, float]:
    """The 99th percentile of each of `PARTS`' accelerations in clips ``(n, 22)`` [rad/s^2]."""
    found = [accelerations(rows, fps) for rows in clips]
    return {
        name: float(np.percentile(np.concatenate([f[name] for f in found]), PERCENTILE))
        for name in PARTS
    }


def seam_ratios(rows: np.ndarray, first: int, last: int, fps: float) -> dict[str, float]:
    """Hardest acceleration at a seam over the 99th percentile of what is before and after it.

    Args:
        rows: ``(n, 22)`` of the whole motion [rad].
        first, last: Rows of the seam; where two clips were only put together, ``last`` is
            ``first - 1``. What has such a row for a neighbour counts as well.
        fps: Rows a second.
    """
    own = hardest([rows[:first], rows[last + 1 :]], fps)
    found = accelerations(rows[max(first - 2, 0) : last + 3], fps)
    return {name: float(found[name].max() / max(own[name], GENTLE[name])) for name in PARTS}


def plan(before: np.ndarray, after: np.ndarray, fps: float, limits: Limits) -> Way:
    """The shortest way from the last of some rows to the first of others.

    Args:
        before, after: ``(n, 22)`` and ``(m, 22)`` [rad], three rows or more.
        fps: Rows a second.
        limits: Of the joints.

    Raises:
        ValueError: No way of at most 8 s keeps the limits.
    """
    for name, rows in (("before", before), ("after", after)):
        if len(rows) < 3 or rows.shape[1:] != (NUM_JOINTS,):
            raise ValueError(
                f"{name} must be 3 rows or more of {NUM_JOINTS} joints, got {rows.shape}"
            )
    own = hardest([before, after], fps)
    most = {name: _USED * max(own[name], GENTLE[name]) for name in PARTS}
    # Clips may be commanded a hair beyond a limit themselves.
    low = np.minimum(limits.lower, np.minimum(before[-1], after[0]))
    high = np.maximum(limits.upper, np.maximum(before[-1], after[0]))
    for share in _BEGUN:
        first, last = ends(before, after, fps, share)
        for count in range(_LEAST_ROWS, round(_LONGEST * fps) + 1):
            way = Way(quintic(first, last, (count + 1) / fps), count, low, high)
            if _allowed(way, before, after, fps, most, limits):
                return way
    raise ValueError(
        f"no way of up to {_LONGEST:g} s from one to the other keeps the joints' limits: "
        "the first must end, and the second begin, more slowly"
    )


def _allowed(way: Way, before, after, fps, most, limits: Limits) -> bool:
    times = np.arange(1, way.count + 1) / fps
    rows = np.vstack((before[-2:], way.at(times), after[:2]))
    speed = np.abs(np.diff(rows[1:-1], axis=0)) * fps
    bend = np.abs(np.diff(rows, 2, axis=0)) * fps**2
    found = accelerations(rows, fps)
    return bool(
        all(found[name].max() <= most[name] for name in PARTS)
        and (bend <= limits.acceleration).all()
        and (speed <= limits.velocity).all()
    )
