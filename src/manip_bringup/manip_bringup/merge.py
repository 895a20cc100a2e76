"""Two demonstrations as one motion, with a way between them that nobody demonstrated."""

from dataclasses import replace

import numpy as np

from manip_bringup import seam
from manip_bringup.demonstration import Demonstration
from manip_bringup.episodes import FAILURE, SUCCESS, UNMARKED, Episode
from manip_control.guard import Guard
from manip_core.hand import RIGHT
from manip_core.robot_model import Limits
from manip_perception.transition import CONTEXT, Known, Transition

# As far from a hand that was seen is one told of [s]: what smoothing bridges as well.
FARTHEST = 0.5
# What may be left out at the end of the first and the beginning of the second [s], in this order.
_CUTS = [(a, b) for a in (0.0, 0.1, 0.2, 0.33) for b in (0.0, 0.1, 0.2, 0.33)]
_CUTS.sort(key=sum)
# Attributes of a demonstration that have a row for each of its rows.
_ROWS = (
    "state",
    "action",
    "commands",
    "command_times",
    "exposure",
    "picture",
    "keypoints",
    "keypoints_px",
    "confidence",
    "tracked",
)
# Of times [s].
_EXACT = 1e-6
# Distances may fall below those at both ends by this [m], where they are below the clearance.
_ROUNDING = 1e-4


def merged(
    first: Demonstration,
    second: Demonstration,
    limits: Limits,
    transition: Transition,
    side: str = RIGHT,
) -> Demonstration:
    """Both in one, the second behind the first.

    Where one ends, or begins, so hard that no way within the limits leads on, up to a third of a
    second of it is left out there.

    Joints go from one to the other by :mod:`manip_bringup.seam`, commanded and measured ones alike
    (nobody has measured these). The operator's hand goes by the transition model, as far as one is
    near in time; where none is, none is tracked. In a row of the seam no picture was taken: its
    ``picture`` is -1.

    Args:
        first, second: At the same rate.
        limits: Of the joints.
        transition: Fills the operator's hand in.
        side: Of the operator's hand.

    Raises:
        ValueError: The rates differ, a clip is too short, or there is no way within the limits.
    """
    if first.fps != second.fps:
        raise ValueError(f"both must have one rate, got {first.fps} and {second.fps} rows a second")
    fps = first.fps
    first, second, way = _planned(first, second, limits)
    commands, times, count = *_padded(first, second), way.count
    parts = commands[0].shape[1]
    # Rows are means: their values are those amid them.
    offsets = (np.arange(parts) + 0.5) / parts / fps - 0.5 / fps
    rows = np.arange(1, count + 1)[:, None] / fps + offsets
    told = way.at(rows.ravel()).reshape(count, parts, -1)
    told_times = np.broadcast_to(np.arange(parts) / parts / fps, (count, parts))
    state = _states(first.state, second.state, count, fps)
    hand = _hands(first, second, count, transition, side)
    begins = len(first)
    shift = (begins + count) / fps
    return Demonstration(
        episode=_episode(first, second, (begins + count + len(second)) / fps),
        fps=fps,
        start=first.start,
        state=np.vstack((first.state, state, second.state)),
        action=np.vstack((first.action, told.mean(1), second.action)),
        commands=np.concatenate((commands[0], told, commands[1])),
        command_times=np.concatenate((times[0], told_times, times[1])),
        exposure=np.concatenate(
            (first.exposure, (begins + np.arange(count)) / fps, second.exposure + shift)
        ),
        picture=np.concatenate((first.picture, np.full(count, -1), second.picture)),
        keypoints_px=_with_nothing(first.keypoints_px, second.keypoints_px, count),
        repeated=first.repeated + second.repeated,
        longest_gap=max(first.longest_gap, second.longest_gap),
        seams=(
            *first.seams,
            (begins, begins + count - 1),
            *((a + begins + count, b + begins + count) for a, b in second.seams),
        ),
        **hand,
    )


def trouble(demo: Demonstration, guard: Guard) -> str:
    """What the robot would touch on the way through the last seam, in words; empty for nothing.

    Clearances that both ends keep are kept on the way, and none that they do not is undercut.
    """
    first, last = demo.seams[-1]
    at_ends = np.minimum(
        guard.distances(demo.action[first - 1]), guard.distances(demo.action[last + 1])
    )
    least = np.minimum(guard.clearance, at_ends) - _ROUNDING
    near = np.zeros(len(least), bool)
    for row in demo.action[first : last + 1]:
        near |= guard.distances(row) < least
    return guard.describe(near) if near.any() else ""


def _planned(
    first: Demonstration, second: Demonstration, limits: Limits
) -> tuple[Demonstration, Demonstration, seam.Way]:
    """Both as they are joined, and the way between."""
    problem = None
    for off_first, off_second in _CUTS:
        one, other = (
            cut(first, 0, len(first) - round(off_first * first.fps)),
            cut(second, round(off_second * first.fps), len(second)),
        )
        try:
            return one, other, seam.plan(one.action, other.action, first.fps, limits)
        except ValueError as error:
            problem = problem or error
    raise problem


def cut(demo: Demonstration, begin: int, end: int) -> Demonstration:
    """Rows ``begin`` to ``end`` of a demonstration, the last one not included."""
    if not (begin or end < len(demo)):
        return demo
    shift = begin / demo.fps
    rows = {name: getattr(demo, name)[begin:end] for name in _ROWS}
    rows["exposure"] = rows["exposure"] - shift
    inside = [(a - begin, b - begin) for a, b in demo.seams if a >= begin and b < end]
    return replace(demo, start=demo.start + shift, seams=tuple(inside), **rows)


def _padded(first: Demonstration, second: Demonstration):
    """Commands and their times of both, as many in each row."""
    most = max(first.commands.shape[1], second.commands.shape[1])
    commands, times = [], []
    for demo in (first, second):
        more = most - demo.commands.shape[1]
        commands.append(np.pad(demo.commands, ((0, 0), (0, more), (0, 0)), mode="edge"))
        padded = np.pad(demo.command_times, ((0, 0), (0, more)), constant_values=1 / demo.fps)
        times.append(padded)
    return commands, times


def _states(before: np.ndarray, after: np.ndarray, count: int, fps: int) -> np.ndarray:
    """Rows ``(count, 22)`` between measured ones."""
    way = seam.quintic(*seam.ends(before, after, fps), (count + 1) / fps)
    return seam.along(way, np.arange(1, count + 1) / fps)


def _hands(
    first: Demonstration, second: Demonstration, count: int, transition: Transition, side: str
) -> dict[str, np.ndarray]:
    """``keypoints``, ``confidence`` and ``tracked`` of all rows."""
    fps, begins = first.fps, len(first)
    shift = (begins + count) / fps
    found = {
        "keypoints": _with_nothing(first.keypoints, second.keypoints, count),
        "confidence": _with_nothing(first.confidence, second.confidence, count),
        "tracked": _with_nothing(first.tracked, second.tracked, count),
    }
    before, after = _known(first, 0.0, last=True), _known(second, shift, last=False)
    rows = begins + np.arange(count)
    times = rows / fps
    if before is None or after is None:
        return found
    inside = (times > before.times[-1]) & (times < after.times[0])
    near = np.minimum(times - before.times[-1], after.times[0] - times)
    chosen = inside & (near <= FARTHEST + _EXACT)
    if not chosen.any():
        return found
    try:
        joints, _ = transition.between(before, after, times[chosen], side)
    except ValueError:
        # A hand without a palm says nothing of those beside it.
        return found
    sure = min(first.confidence[first.tracked][-1], second.confidence[second.tracked][0])
    rows = rows[chosen]
    found["keypoints"][rows] = joints
    # As in smoothing: half is left where nothing more is told.
    found["confidence"][rows] = sure * (1 - near[chosen] / (2 * FARTHEST))
    found["tracked"][rows] = True
    return found


def _known(demo: Demonstration, shift: float, *, last: bool) -> Known | None:
    """The hands that were seen next to the seam; ``None`` where there is none."""
    times = demo.exposure + shift
    new = np.append(True, np.diff(demo.exposure) > 0)
    rows = np.flatnonzero(demo.tracked & new)
    if not len(rows):
        return None
    rows = rows[-CONTEXT:] if last else rows[:CONTEXT]
    # What was seen long before says nothing of how the hand moves here.
    edge = times[rows[-1] if last else rows[0]]
    rows = rows[np.abs(times[rows] - edge) <= FARTHEST]
    return Known(times[rows], demo.keypoints[rows].astype(float))


def _with_nothing(before: np.ndarray, after: np.ndarray, count: int) -> np.ndarray:
    none = np.zeros((count, *before.shape[1:]), before.dtype)
    return np.concatenate((before, none, after))


def _episode(first: Demonstration, second: Demonstration, seconds: float) -> Episode:
    one, other = first.episode, second.episode
    outcomes = {one.outcome, other.outcome}
    outcome = next((o for o in (FAILURE, SUCCESS) if o in outcomes), UNMARKED)
    if outcome == SUCCESS and outcomes != {SUCCESS}:
        outcome = UNMARKED
    tasks = list(dict.fromkeys(task for task in (one.task, other.task) if task))
    merged = replace(one, end=first.start + seconds, outcome=outcome)
    return replace(merged, task=", then ".join(tasks))
