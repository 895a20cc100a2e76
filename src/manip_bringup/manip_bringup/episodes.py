"""Episodes of a recording: the marks that an operator sets, and what they make of it.

A mark is a ``std_msgs/String`` on ``EPISODE_MARK``: ``start``, then ``success``, ``failure`` or
``discard``. Words behind ``start`` say what is to be done: ``start put the cube into the bowl``.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

START, SUCCESS, FAILURE, DISCARD = "start", "success", "failure", "discard"
MARKS = (START, SUCCESS, FAILURE, DISCARD)
# Outcomes that nobody pressed a button for: no mark in the whole bag, and a bag that ended before
# its last episode did.
UNMARKED, OPEN = "unmarked", "open"


@dataclass(frozen=True)
class Mark:
    """What the operator said: one of `MARKS`, and with ``start`` what is to be done."""

    kind: str
    task: str = ""

    def __post_init__(self):
        if self.kind not in MARKS:
            raise ValueError(f"a mark must be one of {', '.join(MARKS)}, got {self.kind!r}")

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """The mark that a message's text stands for; raises ``ValueError`` where it is none."""
        kind, _, task = text.strip().partition(" ")
        return cls(kind.lower(), task.strip())

    def __str__(self) -> str:
        return f"{self.kind} {self.task}".rstrip()


@dataclass(frozen=True)
class Episode:
    """From ``start`` to ``end`` [s], on the recording's clock.

    Attributes:
        outcome: ``success``, ``failure``, ``discard``, `UNMARKED` or `OPEN`.
        task: What was to be done, in the operator's words; may be empty.
    """

    start: float
    end: float
    outcome: str
    task: str = ""


class EpisodeLog:
    """Turns marks into episodes as they come.

    - ``start`` begins an episode; one that is still open then is discarded: it was begun anew.
    - ``success``, ``failure`` and ``discard`` end it. With none open they correct the last one.
    - A ``start`` without a task repeats the task of the one before.

    Attributes:
        episodes: Those that have ended, in order.
        open: When the present one began [s]; None while there is none.
        task: Of the present or the last episode.
    """

    def __init__(self):
        self.episodes: list[Episode] = []
        self.open: float | None = None
        self.task = ""

    def add(self, mark: Mark, stamp: float) -> str:
        """Take a mark set at ``stamp`` [s]; returns what came of it, in words.

        Raises:
            ValueError: There is no episode that it could be about.
        """
        if mark.kind == START:
            again = self.open is not None
            if again:
                self._end(stamp, DISCARD)
            self.open, self.task = stamp, mark.task or self.task
            return "episode begins anew, the open one is discarded" if again else "episode begins"
        if self.open is not None:
            self._end(stamp, mark.kind)
            return f"episode ends: {mark.kind}"
        if not self.episodes:
            raise ValueError(f"{mark.kind} was marked, but no episode has been started")
        self.episodes[-1] = replace(self.episodes[-1], outcome=mark.kind)
        return f"last episode is now: {mark.kind}"

    def close(self, stamp: float) -> None:
        """The recording ends at ``stamp`` [s]; an episode that is open then has no outcome."""
        if self.open is not None:
            self._end(stamp, OPEN)

    def counts(self) -> dict[str, int]:
        """How many episodes have each outcome."""
        return dict(Counter(episode.outcome for episode in self.episodes))

    def _end(self, stamp: float, outcome: str) -> None:
        self.episodes.append(Episode(self.open, stamp, outcome, self.task))
        self.open = None


def episodes(
    marks: Iterable[tuple[float, Mark]], start: float, end: float
) -> tuple[list[Episode], list[str]]:
    """The episodes of a recording from ``start`` to ``end`` [s].

    Without any mark the whole recording is one episode, `UNMARKED`.

    Returns:
        The episodes in order, and what is wrong with the marks, in words.
    """
    log, problems, none = EpisodeLog(), [], True
    for stamp, mark in marks:
        none = False
        try:
            log.add(mark, stamp)
        except ValueError as error:
            problems.append(f"at {stamp:.1f} s {error}")
    if none:
        return [Episode(start, end, UNMARKED)], []
    log.close(end)
    return log.episodes, problems
