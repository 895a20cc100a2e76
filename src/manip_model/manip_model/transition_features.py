"""What the transition model is told of a gap, and how its answer becomes hands. Without torch.

A gap is what lies between two moments of one hand: some frames before it, some after it, or none
yet, and the times asked for. Everything is told against the last hand before the gap, so that it
does not matter where that is and how it is turned. Each number of a hand is told by itself, in
units of how much it changes: a finger that bends by a little moves as one that bends by much. Four
guesses without anything learnt are mixed as the network says, and what it adds is waves in time
that vanish at both ends.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.hand_state import NUM_BENDS, HandState, joints_of

# Of the file that training writes.
FORMAT = "manip-transition-1"
# Frames on either side that are looked at, at most.
CONTEXT = 6
# A hand as numbers: bends [rad], turn of the palm [rad] and move of the wrist [dm] since the last
# hand before the gap.
_BENDS = 2 * NUM_BENDS
NUM_VALUES = _BENDS + 3 + 3
_DECIMETRE = 0.1
# Guesses that are farther than this from the plain one are outliers.
_MOST_APART = 1.5
# In a forecast what is added comes in with this time [s], and speeds die away with these: soon, as
# at the end of a way, late, as amid one, and hardly.
_COMES_IN, _DIES = 0.15, (0.08, 0.3, 0.6)
# What an answer of zero means: growth of a joint's deviation [m] in each 0.1 s from what was seen.
_GROWTH, _GROWTH_TIME = 0.005, 0.1
_LEAST_LOG, _MOST_LOG = -6.0, 3.0
# The least unit of a number, and the most units that are believed of any feature.
_LEAST_UNIT, _MOST_UNITS = 0.01, 10.0
# Half the slowest wave of a forecast [s].
_HALF_WAVE = 0.6
# Shares of the gap at which the guesses are told.
_TOLD_AT = np.array((0.25, 0.5, 0.75))
# Of the times of known frames, as they are told [s].
_UNIT_TIME = 0.1
NUM_GATES, NUM_WAVES, NUM_DOUBTS = 3, 10, 3
# Of each number: known frames against the near end; the way from one end to the other; speeds and
# accelerations at both ends; what the guesses are apart; its unit. And when the frames were, how
# long the gap is, and whether there is an end.
NUM_TOLD = 2 * CONTEXT + 1 + 4 + NUM_GATES * len(_TOLD_AT) + 1 + 4 * CONTEXT + 2
# Of each number: how much of the guesses' differences from the plain one (of the second's beyond
# all of it), and waves. Of the hand: growth of the deviations, the wrist's first.
NUM_ANSWERS = NUM_GATES + NUM_WAVES
NUM_HAND_ANSWERS = NUM_KEYPOINTS * NUM_DOUBTS


@dataclass(frozen=True)
class Gap:
    """Gaps of B motions at the same times.

    Attributes:
        before: ``(B, N, NUM_VALUES)`` hands up to the gap, N of 1 or more.
        before_times: ``(N,)`` [s], rising, the last one 0.
        after: ``(B, M, NUM_VALUES)`` hands after it; M of 0 for a forecast.
        after_times: ``(M,)`` [s].
        times: ``(G,)`` asked for [s], beyond 0 and, if M is not 0, before the first one after.
    """

    before: np.ndarray
    before_times: np.ndarray
    after: np.ndarray
    after_times: np.ndarray
    times: np.ndarray

    @property
    def length(self) -> float:
        """[s]; 0 for a forecast."""
        return float(self.after_times[0]) if len(self.after_times) else 0.0


def values_of(state: HandState, turn: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """Hands ``(…, T)`` as ``(…, T, NUM_VALUES)``.

    Args:
        state: The hands, in the order of time.
        turn, wrist: ``(…, 3, 3)`` and ``(…, 3)`` [m] of the hand that they are told against.
    """
    back = np.swapaxes(turn, -1, -2)[..., None, :, :]
    turns = back @ state.turn
    flat = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_rotvec()
    turned = _unwrapped(flat.reshape(turns.shape[:-1]))
    moved = (back @ (state.wrist - wrist[..., None, :])[..., None])[..., 0] / _DECIMETRE
    bends = state.bends.reshape(*state.bends.shape[:-2], _BENDS)
    return np.concatenate((bends, turned, moved), -1)


def hands_of(
    values: np.ndarray, turn: np.ndarray, wrist: np.ndarray, palm: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Joints ``(…, T, 21, 3)`` [m] of values ``(…, T, NUM_VALUES)``.

    Args:
        values: As of :func:`values_of`.
        turn, wrist: As there.
        palm, lengths: ``(…, T, 5, 3)`` and ``(…, T, 15)`` [m], as in a state.
    """
    bends, turned, moved = np.split(values, (_BENDS, _BENDS + 3), -1)
    turns = Rotation.from_rotvec(turned.reshape(-1, 3)).as_matrix().reshape(*turned.shape, 3)
    place = (turn[..., None, :, :] @ (_DECIMETRE * moved)[..., None])[..., 0]
    return joints_of(
        HandState(
            wrist=wrist[..., None, :] + place,
            turn=turn[..., None, :, :] @ turns,
            bends=bends.reshape(*bends.shape[:-1], NUM_BENDS, 2),
            palm=palm,
            lengths=lengths,
        )
    )


def guesses(gap: Gap) -> np.ndarray:
    """``(4, B, G, NUM_VALUES)`` without anything learnt, the plain one first.

    Between two moments: the straight way; a cubic with the speeds at both ends; a cubic spline
    through all frames that are known; a polynomial of the fifth degree with speeds and
    accelerations at both ends. In a forecast: the last hand; its speed dying away soon, late, and
    hardly.
    """
    last, times = gap.before[:, -1:], gap.times[:, None]
    if not len(gap.after_times):
        leaves = derivative(gap.before_times, gap.before, 0.0)[:, None]
        held = np.repeat(last, len(gap.times), axis=1)
        going = [held + leaves * fades * -np.expm1(-times / fades) for fades in _DIES]
        return np.stack((held, *going))
    straight = last + times / gap.length * (gap.after[:, :1] - last)
    known = np.concatenate((gap.before, gap.after), 1)
    spline = CubicSpline(np.concatenate((gap.before_times, gap.after_times)), known, axis=1)
    return np.stack((straight, hermite(gap), spline(gap.times), quintic(gap)))


def hermite(gap: Gap) -> np.ndarray:
    """``(B, G, NUM_VALUES)``: the cubic that leaves and arrives with the speeds on either side."""
    first, last = gap.before[:, -1:], gap.after[:, :1]
    leaves, arrives = _ends(gap, 1, degree=2)
    s = gap.times[:, None] / gap.length
    smooth = s * s * (3 - 2 * s)
    return first + smooth * (last - first) + s * (1 - s) * ((1 - s) * leaves - s * arrives)


def quintic(gap: Gap) -> np.ndarray:
    """As :func:`hermite`, with the accelerations as well."""
    first, last = gap.before[:, -1:], gap.after[:, :1]
    (leaves, arrives), (bends, bent) = _ends(gap, 1, degree=3), _ends(gap, 2, degree=3)
    s = gap.times[:, None] / gap.length
    r = 1 - s
    smooth = s**3 * (10 - 15 * s + 6 * s * s)
    speeds = s * r**3 * (1 + 3 * s) * leaves - s**3 * r * (1 + 3 * r) * arrives
    return (
        first + smooth * (last - first) + speeds + (s * s * r**3 * bends + s**3 * r * r * bent) / 2
    )


def _ends(gap: Gap, order: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives ``(B, 1, D)`` at both ends of a gap, for a time that goes from 0 to 1 in it."""
    unit, straight = gap.length**order, (gap.after[:, 0] - gap.before[:, -1]) / gap.length
    otherwise = straight if order == 1 else 0.0
    sides = (gap.before_times, gap.before, 0.0), (gap.after_times, gap.after, gap.length)
    first, last = (unit * derivative(*side, order, degree, otherwise)[:, None] for side in sides)
    return first, last


def derivative(
    times: np.ndarray,
    values: np.ndarray,
    at: float,
    order: int = 1,
    degree: int = 2,
    otherwise: np.ndarray | float = 0.0,
) -> np.ndarray:
    """``(B, D)`` derivative by time of the polynomial that fits values ``(B, N, D)`` best.

    Args:
        times: ``(N,)`` [s].
        values: See above.
        at: The time.
        order: First or second derivative.
        degree: Of the polynomial; less where there are fewer frames.
        otherwise: ``(B, D)`` or a number, where there are too few frames for this derivative.
    """
    degree = min(degree, len(times) - 1)
    if degree < order:
        return np.broadcast_to(otherwise, values[:, 0].shape)
    row = np.linalg.pinv(np.vander(times - at, degree + 1, increasing=True))[order]
    return order * np.einsum("n,bnd->bd", row, values)


def features(gap: Gap) -> tuple[np.ndarray, np.ndarray]:
    """What the network is told, ``(B, NUM_VALUES, NUM_TOLD)`` float32, and the units ``(B,
    NUM_VALUES)`` of the numbers."""
    last, size = gap.before[:, -1:], len(gap.before)
    follows = gap.after[:, :1] if len(gap.after_times) else last
    n, m, lasts = len(gap.before_times), len(gap.after_times), gap.length or _HALF_WAVE
    # The near ends side by side; slots that nothing is known of stay 0.
    frames, clock = np.zeros((2 * CONTEXT, size, NUM_VALUES)), np.zeros((2, 2 * CONTEXT))
    before, after = slice(CONTEXT - n, CONTEXT), slice(CONTEXT, CONTEXT + m)
    frames[before] = np.moveaxis(gap.before - last, 1, 0)
    frames[after] = np.moveaxis(gap.after - follows, 1, 0)
    clock[0, before], clock[1, before] = gap.before_times / _UNIT_TIME, 1.0
    clock[0, after], clock[1, after] = (gap.after_times - gap.length) / _UNIT_TIME, 1.0
    way = (follows - last)[:, 0]
    unit = np.maximum(np.abs(frames).max(0), np.abs(way)) + _LEAST_UNIT
    numbers = np.concatenate((frames, way[None], _speeds(gap), _apart(gap, lasts))) / unit
    numbers = np.clip(numbers, -_MOST_UNITS, _MOST_UNITS)
    numbers = np.moveaxis(np.concatenate((numbers, np.log(unit / 0.1)[None])), 0, -1)
    times = np.concatenate((clock.ravel(), (lasts / _HALF_WAVE, float(m > 0))))
    times = np.broadcast_to(times, (size, NUM_VALUES, len(times)))
    return np.concatenate((numbers, times), -1).astype(np.float32), unit


def _speeds(gap: Gap) -> np.ndarray:
    """``(4, B, NUM_VALUES)`` speeds and accelerations at both ends, by the gap's own time."""
    if len(gap.after_times):
        ends = (*_ends(gap, 1, degree=3), *_ends(gap, 2, degree=3))
        return np.stack(ends)[:, :, 0]
    known = [
        _HALF_WAVE**order * derivative(gap.before_times, gap.before, 0.0, order, degree=3)
        for order in (1, 2)
    ]
    return np.stack((known[0], 0 * known[0], known[1], 0 * known[1]))


def _apart(gap: Gap, lasts: float) -> np.ndarray:
    """``(9, B, NUM_VALUES)``: what the guesses are apart from the plain one along the gap."""
    guessed = guesses(replace(gap, times=_TOLD_AT * lasts))
    apart = guessed[1:] - guessed[0]
    return np.moveaxis(apart, 2, 1).reshape(-1, *apart.shape[1::2])


def bounded(difference: np.ndarray) -> np.ndarray:
    """Differences between guesses, outliers cut."""
    return np.clip(difference, -_MOST_APART, _MOST_APART)


def window(gap: Gap) -> np.ndarray:
    """``(G,)``: how free the hand is at each time, 0 where it is known and 1 amid the gap."""
    if not len(gap.after_times):
        return -np.expm1(-gap.times / _COMES_IN)
    share = gap.times / gap.length
    return 4 * share * (1 - share)


def waves(gap: Gap) -> np.ndarray:
    """``(G, NUM_WAVES)``: what is added is made of these; all are 0 where a hand is known."""
    order = np.arange(NUM_WAVES)
    if not len(gap.after_times):
        return window(gap)[:, None] * np.cos(np.pi * order * gap.times[:, None] / _HALF_WAVE)
    return np.sin(np.pi * (order + 1) * gap.times[:, None] / gap.length)


def mixed(said, plain, apart, unit, waves):
    """``(B, G, NUM_VALUES)``: the network's hands; arrays or tensors.

    Args:
        said: ``(B, NUM_VALUES, NUM_ANSWERS)`` of the network.
        plain: The first of :func:`guesses`.
        apart: What each of the others is apart from it, :func:`bounded`.
        unit: ``(B, NUM_VALUES)`` of :func:`features`.
        waves: Of the gap.
    """
    added = said[..., NUM_GATES:] @ waves.T  # (B, NUM_VALUES, G)
    values = plain + (unit[..., None] * added).swapaxes(-1, -2)
    for gate, difference in enumerate(apart):
        share = said[:, None, :, gate] + float(gate == 1)
        values = values + share * difference
    return values


def mixed_guesses(said: np.ndarray, guessed: np.ndarray, unit: np.ndarray, gap: Gap) -> np.ndarray:
    """:func:`mixed`, of the :func:`guesses` of a gap."""
    return mixed(said, guessed[0], bounded(guessed[1:] - guessed[0]), unit, waves(gap))


def doubt_waves(gap: Gap) -> np.ndarray:
    """``(G, NUM_DOUBTS)``: how the logarithm of the growth of deviations goes in time."""
    share = gap.times / (gap.length or _HALF_WAVE)
    return np.cos(np.pi * np.arange(NUM_DOUBTS) * share[:, None])


def deviations(doubt: np.ndarray, gap: Gap) -> np.ndarray:
    """Standard deviations ``(B, G, 21)`` [m], one a joint: the wrist's own, the others' from it.

    They grow with the time from what was seen, and so are nothing at both ends.

    Args:
        doubt: ``(B, NUM_HAND_ANSWERS)`` of the network.
        gap: The gap.
    """
    log = log_growth(doubt, doubt_waves(gap))
    return growth(np.exp(np.clip(log, _LEAST_LOG, _MOST_LOG)), nearest(gap)[:, None])


def log_growth(doubt, waves):
    """``(B, G, 21)`` of the network's ``(B, NUM_HAND_ANSWERS)``; arrays or tensors."""
    shares = doubt.reshape(len(doubt), NUM_KEYPOINTS, NUM_DOUBTS) @ waves.T
    return shares.swapaxes(-1, -2)


def growth(factor, nearest):
    """Deviations [m] of factors on the usual growth and times to the nearest hand [s]."""
    return _GROWTH / _GROWTH_TIME * factor * nearest


def nearest(gap: Gap) -> np.ndarray:
    """``(G,)`` time [s] to the nearest hand that is known."""
    if not len(gap.after_times):
        return gap.times
    return np.minimum(gap.times, gap.length - gap.times)


def _unwrapped(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors ``(…, T, 3)`` [rad] that go on from the one before, beyond a half turn too.

    Whole turns more or less about the same axis are the same rotation.
    """
    out = vectors.copy()
    for t in range(1, vectors.shape[-2]):
        own, last = out[..., t, :], out[..., t - 1, :]
        angle = np.linalg.norm(own, axis=-1, keepdims=True)
        # Of no turn at all every axis is the axis.
        axis = np.where(angle > 1e-6, own, last)
        axis = axis / np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), 1e-12)
        whole = np.round(((last * axis).sum(-1, keepdims=True) - angle) / (2 * np.pi))
        out[..., t, :] = own + 2 * np.pi * whole * axis
    return out
