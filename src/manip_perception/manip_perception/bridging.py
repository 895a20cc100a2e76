"""Hands through lost tracking: forecast while nothing is seen, led back to what is seen again."""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from manip_core.hand import RIGHT, Hand
from manip_core.hand_skeleton import Keypoint
from manip_model.hand_state import HandState, state_of
from manip_model.transition_features import CONTEXT, hands_of, values_of
from manip_perception.transition import Known, Transition

_MIRROR = np.array((-1.0, 1.0, 1.0))
# Highest speed of a way of minimum jerk, over the mean one.
_PEAK = 1.875
# Of stamps [s].
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """Of the bridge.

    Attributes:
        bridge_longest: Longest loss that is bridged [s].
        bridge_return: Shortest time in which a hand is led back to what is seen [s].
        bridge_speed: The wrist is led back no faster than this [m/s], as long as that takes no
            longer than ``bridge_longest``.
    """

    bridge_longest: float = 0.5
    bridge_return: float = 0.15
    bridge_speed: float = 1.0

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if self.bridge_return > self.bridge_longest:
            raise ValueError(
                "bridge_return must not be above bridge_longest, got "
                f"{self.bridge_return} and {self.bridge_longest}"
            )


class Bridge:
    """Stands behind a smoother, and goes on where that has no hand.

    While nothing is seen only the past is known: the hand is a forecast, its standard deviation
    grows and its confidence falls to nothing at the longest loss. When a hand is seen again, what
    the forecast was wrong by is taken away within a bounded time, by a way that begins and ends at
    rest: nothing jumps, and nothing lags behind for longer.

    Args:
        transition: Forecasts.
        config: How long.
    """

    def __init__(self, transition: Transition, config: BridgeConfig | None = None):
        self._transition = transition
        self.config = config or BridgeConfig()
        self.reset()

    def reset(self) -> None:
        """Forget the hand."""
        self._past: deque[tuple[float, np.ndarray]] = deque(maxlen=CONTEXT)
        self._last: Hand | None = None
        self._stamp = -np.inf
        self._lost = False
        self._doubt: np.ndarray | float = 0.0
        # What the forecast was wrong by, since when, and for how long it is taken away.
        self._off: np.ndarray | None = None
        self._since, self._takes = 0.0, 0.0

    def update(self, hand: Hand) -> Hand:
        """The hand at its stamp.

        Args:
            hand: Of a smoother: seen, carried on by it (``bridged``), or not tracked.

        Returns:
            The same; or a forecast (``bridged``); or one on its way back to what is seen.
        """
        if hand.stamp <= self._stamp:
            self.reset()
        self._stamp = hand.stamp
        if hand.tracked and not hand.bridged:
            return self._seen(hand)
        if self._last is None or self._too_long(hand.stamp):
            self.reset()
            self._stamp = hand.stamp
            return replace(hand, tracked=False, bridged=False, confidence=0.0)
        self._lost = True
        return self._forecast(hand.stamp)

    def _too_long(self, stamp: float) -> bool:
        return stamp - self._last.stamp > self.config.bridge_longest + _ROUNDING

    def _forecast(self, stamp: float) -> Hand:
        last = self._last
        joints, deviation = self._ahead(stamp)
        lost = (stamp - last.stamp) / self.config.bridge_longest
        # A forecast may come back to where it is sure again; what was lost does not.
        self._doubt = np.maximum(self._doubt, deviation)
        return replace(
            last,
            stamp=stamp,
            keypoints=joints,
            keypoints_std=np.hypot(last.keypoints_std, self._doubt[:, None]),
            confidence=last.confidence * max(1.0 - lost, 0.0),
            bridged=True,
        )

    def _ahead(self, stamp: float) -> tuple[np.ndarray, np.ndarray]:
        times = np.array([time for time, _ in self._past])
        known = Known(times, np.stack([joints for _, joints in self._past]))
        joints, deviation = self._transition.ahead(known, np.array([stamp]), self._last.side)
        return joints[0], deviation[0]

    def _seen(self, hand: Hand) -> Hand:
        try:
            state = _state(hand.keypoints, hand.side)
        except ValueError:
            # Without a palm there is nothing to go on from.
            self.reset()
            self._stamp = hand.stamp
            return hand
        if self._last is not None and (hand.side != self._last.side or self._too_long(hand.stamp)):
            self.reset()
            self._stamp = hand.stamp
        if self._lost and self._last is not None:
            self._begin_return(hand, state)
        given = self._returning(hand, state)
        self._past.append((hand.stamp, given.keypoints))
        self._last = given
        return given

    def _begin_return(self, hand: Hand, state: HandState) -> None:
        expected, _ = self._ahead(hand.stamp)
        own = values_of(_as_one(state), state.turn, state.wrist)[0]
        there = values_of(_as_one(_state(expected, hand.side)), state.turn, state.wrist)[0]
        self._off, self._since, self._lost = there - own, hand.stamp, False
        self._doubt = 0.0
        moved = expected[Keypoint.WRIST] - hand.keypoints[Keypoint.WRIST]
        needed = _PEAK * float(np.linalg.norm(moved)) / self.config.bridge_speed
        self._takes = min(max(self.config.bridge_return, needed), self.config.bridge_longest)
        # How it moved before says nothing across the loss.
        self._past.clear()

    def _returning(self, hand: Hand, state: HandState) -> Hand:
        if self._off is None:
            return hand
        x = (hand.stamp - self._since) / self._takes
        if x >= 1:
            self._off = None
            return hand
        share = 1 - x**3 * (10 - 15 * x + 6 * x * x)
        one = _as_one(state)
        values = values_of(one, state.turn, state.wrist) + share * self._off
        joints = hands_of(values, state.turn, state.wrist, one.palm, one.lengths)[0]
        joints = joints * _sign(hand.side)
        apart = np.linalg.norm(joints - hand.keypoints, axis=-1, keepdims=True)
        return replace(hand, keypoints=joints, keypoints_std=np.hypot(hand.keypoints_std, apart))


def _sign(side: str) -> np.ndarray:
    """Left hands are seen in the mirror."""
    return np.ones(3) if side == RIGHT else _MIRROR


def _state(keypoints: np.ndarray, side: str) -> HandState:
    return state_of(keypoints * _sign(side))


def _as_one(state: HandState) -> HandState:
    """A hand as a motion of one frame."""
    return HandState(**{name: value[None] for name, value in vars(state).items()})
