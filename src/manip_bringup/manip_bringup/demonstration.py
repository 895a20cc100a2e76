"""One episode at a fixed rate on the camera's clock: what was seen, measured and commanded.

Row k stands for the time ``k / fps`` after the episode's first one. Where the camera keeps that
rate the rows fall on its exposures; for a picture that is missing the last one before stands in.

Commands are step functions: a driver keeps what it was told last. They are kept whole: each row
has the commands that were in force in it, and from when each was. ``action`` is their mean over the
row, which keeps the area under the steps: one number a joint, for those who want no more.
"""

from dataclasses import dataclass

import numpy as np

from manip_bringup.bag_arrays import BagArrays, Series
from manip_bringup.episodes import Episode
from manip_core.robot_model import JOINT_NAMES

# At most so many commands of a row are kept as they came. A row has more only where a loaded
# machine handed on in one go what it owed; it then has the means of equal parts in their place.
MOST_COMMANDS = 64


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """An episode of ``n`` rows; joints in the order of `JOINT_NAMES`.

    Attributes:
        episode: Where in the bag it lies, its outcome and its task.
        fps: Rows a second.
        start: Time of the first row, on the bag's clock [s].
        state: ``(n, 22)`` measured positions at the rows' times [rad].
        action: ``(n, 22)`` mean of what was commanded from each row to the next [rad].
        commands: ``(n, m, 22)`` what was in force in each row, in order [rad]; the last is repeated
            where a row has fewer than others.
        command_times: ``(n, m)`` from when on each was, after the row's time [s]: 0 for the first,
            ``1 / fps`` for the repeated ones.
        exposure: ``(n,)`` when the row's picture was exposed, on the rows' clock [s].
        picture: ``(n,)`` its number among the bag's exposures.
        keypoints, keypoints_px, confidence, tracked: The hand seen in that picture, as in
            :class:`~manip_bringup.bag_arrays.Hands`.
        repeated: Rows whose picture is an older one.
        longest_gap: Longest time between two measurements of a joint [s].
        seams: First and last row of each stretch that nobody demonstrated, where two episodes were
            joined.
    """

    episode: Episode
    fps: int
    start: float
    state: np.ndarray
    action: np.ndarray
    commands: np.ndarray
    command_times: np.ndarray
    exposure: np.ndarray
    picture: np.ndarray
    keypoints: np.ndarray
    keypoints_px: np.ndarray
    confidence: np.ndarray
    tracked: np.ndarray
    repeated: int
    longest_gap: float
    seams: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        return len(self.state)

    @property
    def timestamp(self) -> np.ndarray:
        """``(n,)`` [s], from 0."""
        return np.arange(len(self)) / self.fps


def camera_rate(exposures: np.ndarray) -> int:
    """Whole number of pictures a second of a camera with these exposures [s]; at least 1."""
    return max(1, round(1.0 / float(np.median(np.diff(exposures)))))


def demonstrate(bag: BagArrays, episode: Episode, fps: int) -> Demonstration:
    """An episode of a bag at a fixed rate.

    Args:
        bag: The recording.
        episode: Which part of it.
        fps: Rows a second.

    Raises:
        ValueError: It has fewer than two pictures, or no command.
    """
    inside = (bag.exposures >= episode.start) & (bag.exposures <= episode.end)
    numbers = np.flatnonzero(inside)
    if len(numbers) < 2:
        raise ValueError(f"has {len(numbers)} pictures, at least 2 are needed")
    exposures = bag.exposures[numbers]
    times = row_times(exposures, fps)
    state = np.column_stack(
        [np.interp(times, bag.states[n].times, bag.states[n].values) for n in JOINT_NAMES]
    )
    edges = times[0] + np.arange(len(times) + 1) / fps
    before = bag.commands.times < edges[-1]
    if not before.any():
        raise ValueError("has no command: the robot was never told anything")
    told = Series(bag.commands.times[before], bag.commands.values[before])
    # Joints that nobody has told anything yet stay where they are.
    steps = held(told, state[0], since=edges[0])
    commands, command_times = _commands_in(steps, edges)
    chosen = _picture_of(times, exposures, fps)
    hands = _hand_of(bag, exposures[chosen], tolerance=0.25 / fps)
    return Demonstration(
        episode=episode,
        fps=fps,
        start=float(times[0]),
        state=state,
        action=held_means(steps, edges),
        commands=commands,
        command_times=command_times,
        exposure=exposures[chosen] - times[0],
        picture=numbers[chosen],
        repeated=int(np.count_nonzero(np.diff(chosen) == 0)),
        longest_gap=_longest_gap(bag, times[0], times[-1]),
        **hands,
    )


def row_times(exposures: np.ndarray, fps: int) -> np.ndarray:
    """Times [s] of rows at a fixed rate: as near as can be to the exposures [s] where that is the
    camera's own rate, else from the first one on.
    """
    phase = 0.0
    if camera_rate(exposures) == fps:
        steps = (exposures - exposures[0]) * fps
        phase = float(np.median(steps - np.round(steps)))
    start = exposures[0] + phase / fps
    # A last row that is less than half a row ahead of the last picture still shows it.
    count = int(np.floor((exposures[-1] - start) * fps + 0.5 - 1e-6)) + 1
    return start + np.arange(count) / fps


def held(commands: Series, fallback: np.ndarray, since: float) -> Series:
    """Commands as a step function that is defined from ``since`` on.

    Args:
        commands: Values ``(m, d)``, each held from its time until the next one's; NaN where there
            is none yet.
        fallback: ``(d,)`` what holds before the first value.
        since: When it begins at the latest [s].
    """
    values = np.where(np.isnan(commands.values), fallback, commands.values)
    begin = min(since, commands.times[0])
    return Series(np.append(begin, commands.times), np.vstack((fallback, values)))


def held_means(steps: Series, edges: np.ndarray) -> np.ndarray:
    """Means ``(n, d)`` of a step function over the spans between ``edges`` ``(n + 1,)`` [s]."""
    area = np.cumsum(steps.values[:-1] * np.diff(steps.times)[:, None], axis=0)
    area = np.vstack((np.zeros(steps.values.shape[1]), area))
    at = np.searchsorted(steps.times, edges, side="right") - 1
    until = area[at] + steps.values[at] * (edges - steps.times[at])[:, None]
    return np.diff(until, axis=0) / np.diff(edges)[:, None]


def _commands_in(steps: Series, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is in force between the edges of each row, and from when on, after the row's first."""
    at = np.searchsorted(steps.times, edges, side="right") - 1
    first, last = at[:-1, None], at[1:, None]
    most = min(int((last - first).max()) + 1, MOST_COMMANDS)
    # Two at least, as a list of one is a plain number to some formats.
    place = np.arange(max(most, 2))
    values = steps.values[np.minimum(first + place, last)]
    starts, span = edges[:-1, None], np.diff(edges)[:, None]
    times = np.where(place <= last - first, steps.times[np.minimum(first + place, last)], np.inf)
    times = np.clip(times - starts, 0.0, span)
    for row in np.flatnonzero(last - first >= len(place)):
        parts = np.linspace(edges[row], edges[row + 1], len(place) + 1)
        values[row], times[row] = held_means(steps, parts), parts[:-1] - edges[row]
    return values, times


def _picture_of(times: np.ndarray, exposures: np.ndarray, fps: int) -> np.ndarray:
    """Index of each row's picture: the nearest within half a row, else the last one before."""
    after = np.clip(np.searchsorted(exposures, times), 1, len(exposures) - 1)
    before = after - 1
    nearest = np.where(exposures[after] - times < times - exposures[before], after, before)
    near = np.abs(exposures[nearest] - times) <= 0.5 / fps + 1e-6
    last = np.maximum(np.searchsorted(exposures, times, side="right") - 1, 0)
    # Never back to an older picture than the row before had.
    return np.maximum.accumulate(np.where(near, nearest, last))


def _hand_of(bag: BagArrays, exposures: np.ndarray, tolerance: float) -> dict[str, np.ndarray]:
    """The hands seen in the pictures with these exposures [s]."""
    hands, count = bag.hands, len(exposures)
    found = {
        "keypoints": np.zeros((count, 21, 3), np.float32),
        "keypoints_px": np.zeros((count, 21, 2), np.float32),
        "confidence": np.zeros(count, np.float32),
        "tracked": np.zeros(count, bool),
    }
    if not len(hands.times):
        return found
    near = np.clip(np.searchsorted(hands.times, exposures - tolerance), 0, len(hands.times) - 1)
    rows = np.flatnonzero(np.abs(hands.times[near] - exposures) <= tolerance)
    rows = rows[hands.tracked[near[rows]]]
    for name, values in found.items():
        values[rows] = getattr(hands, name)[near[rows]]
    return found


def _longest_gap(bag: BagArrays, start: float, end: float) -> float:
    longest = 0.0
    for series in bag.states.values():
        inside = series.times[(series.times > start) & (series.times < end)]
        gaps = np.diff(np.concatenate(([start], inside, [end])))
        longest = max(longest, float(gaps.max()))
    return longest
