"""The transition model at run time: the hands of a gap, or of a moment to come, in numpy."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import erf

from manip_core.hand import RIGHT
from manip_core.resources import find
from manip_model.hand_state import HandState, state_of
from manip_model.transition_features import (
    CONTEXT,
    FORMAT,
    Gap,
    deviations,
    features,
    guesses,
    hands_of,
    mixed_guesses,
    values_of,
)

WEIGHTS = "assets/transition/transition.npz"
# Longest gap that it has learnt [s]; a longer one is told, and filled, as the same motion faster.
LONGEST = 0.6
# Left hands are seen in the mirror.
_MIRROR = np.array((-1.0, 1.0, 1.0))


def read_weights(path: str | Path, kind: str) -> dict[str, np.ndarray]:
    """What a file of weights holds.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is none, or of another kind.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            held = dict(file)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no file of transition weights: {error}") from error
    if str(held.pop("format", "")) != kind:
        raise ValueError(f"{path} is no file of transition weights: it is not a {kind}")
    return held


class TransitionNetwork:
    """The network of :mod:`manip_model.transition`, from weights in one file.

    Args:
        weights: By the names of the torch module, with ``config/…`` whole numbers.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        self._heads, self._layers = (int(weights[f"config/{n}"]) for n in ("heads", "layers"))
        # Linear layers as (in, out).
        self._w = {
            name: np.ascontiguousarray(np.asarray(value, dtype=np.float32).T)
            for name, value in weights.items()
        }
        self._number = np.asarray(weights["number"], dtype=np.float32)

    @classmethod
    def read(cls, path: str | Path) -> "TransitionNetwork":
        """From a file as training writes it; raises as `read_weights` does."""
        return cls(read_weights(path, FORMAT))

    def __call__(self, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Answers of each number and of the hand, as the torch module's."""
        x = self._perceptron("embed", told) + self._number
        for number in range(self._layers):
            x = self._layer(f"layers.{number}", x)
        x = self._norm("norm", x)
        return self._linear("answer", x), self._linear("hand", x.mean(1))

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self._w[f"{name}.weight"] + self._w[f"{name}.bias"]

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
        return centred / scale * self._w[f"{name}.weight"] + self._w[f"{name}.bias"]

    def _perceptron(self, name: str, x: np.ndarray) -> np.ndarray:
        x = self._linear(f"{name}.0", x)
        return self._linear(f"{name}.2", 0.5 * x * (1 + erf(x / np.float32(np.sqrt(2)))))

    def _layer(self, name: str, x: np.ndarray) -> np.ndarray:
        size, count, width = x.shape
        told = self._linear(f"{name}.query_key_value", self._norm(f"{name}.norm_attention", x))
        # (3, B, H, T, D)
        q, k, v = told.reshape(size, count, 3, self._heads, -1).transpose(2, 0, 3, 1, 4)
        scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(width / self._heads))
        share = np.exp(scores - scores.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        seen = (share @ v).transpose(0, 2, 1, 3).reshape(size, count, width)
        x = x + self._linear(f"{name}.out", seen)
        return x + self._perceptron(f"{name}.mlp", self._norm(f"{name}.norm_mlp", x))


@dataclass(frozen=True)
class Known:
    """Hands of one side that were seen, in the order of time.

    Attributes:
        times: ``(n,)`` [s].
        joints: ``(n, 21, 3)`` [m], one frame for all.
    """

    times: np.ndarray
    joints: np.ndarray

    def __post_init__(self):
        if self.joints.shape != (len(self.times), 21, 3):
            raise ValueError(
                f"joints must be ({len(self.times)}, 21, 3) for as many times, "
                f"got {self.joints.shape}"
            )
        if not (np.isfinite(self.times).all() and np.isfinite(self.joints).all()):
            raise ValueError("times and joints must be finite")
        if (np.diff(self.times) <= 0).any():
            raise ValueError(f"times must rise, got {np.asarray(self.times).tolist()}")


class Transition:
    """Hands between two moments, or after the last one.

    Attributes:
        network: Of this module.
    """

    def __init__(self, network: TransitionNetwork):
        self.network = network

    @classmethod
    def shipped(cls) -> "Transition":
        """With the weights that ship with the suite."""
        return cls(TransitionNetwork.read(find(WEIGHTS)))

    def between(
        self, before: Known, after: Known, times: np.ndarray, side: str = RIGHT
    ) -> tuple[np.ndarray, np.ndarray]:
        """The hands at ``times``.

        Args:
            before: What was seen before; only the last few count.
            after: What was seen after it; only the first few count.
            times: ``(g,)`` [s], between both.
            side: Of the hand.

        Returns:
            Joints ``(g, 21, 3)`` [m], and a standard deviation of each coordinate of each joint
            ``(g, 21)`` [m].

        Raises:
            ValueError: A palm has no plane, or times lie not between.
        """
        first, last = before.times[-1], after.times[0]
        if len(times) and not (first < np.min(times) and np.max(times) < last):
            raise ValueError(
                f"times must lie between {first:.3f} and {last:.3f} s, "
                f"got {np.min(times):.3f} to {np.max(times):.3f}"
            )
        return self._asked(before, after, times, side)

    def ahead(
        self, before: Known, times: np.ndarray, side: str = RIGHT
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`between`, for ``times`` ``(g,)`` [s] after the last hand that was seen."""
        if len(times) and not before.times[-1] < np.min(times):
            raise ValueError(
                f"times must lie after {before.times[-1]:.3f} s, got {np.min(times):.3f}"
            )
        return self._asked(before, Known(np.zeros(0), np.zeros((0, 21, 3))), times, side)

    def _asked(self, before: Known, after: Known, times: np.ndarray, side: str):
        sign = np.ones(3) if side == RIGHT else _MIRROR
        began = before.times[-1]
        seen = np.concatenate((before.joints[-CONTEXT:], after.joints[:CONTEXT])) * sign
        state = state_of(seen)
        count = len(seen) - len(after.times[:CONTEXT])
        turn, wrist = state.turn[count - 1], state.wrist[count - 1]
        values = values_of(state, turn, wrist)[None]
        slower = max((after.times[0] - began) / LONGEST, 1.0) if len(after.times) else 1.0
        gap = Gap(
            before=values[:, :count],
            before_times=(before.times[-CONTEXT:] - began) / slower,
            after=values[:, count:],
            after_times=(after.times[:CONTEXT] - began) / slower,
            times=(np.asarray(times, dtype=float) - began) / slower,
        )
        filled, deviation = filled_gap(self.network, gap)
        palm, lengths = _sizes(state, count, gap)
        joints = hands_of(filled[0], turn, wrist, palm, lengths) * sign
        return joints, slower * _of_joints(deviation[0])


def filled_gap(network: TransitionNetwork, gap: Gap) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(B, G, NUM_VALUES)`` of the network, and its :func:`deviations`."""
    told, unit = features(gap)
    said, doubt = network(told)
    return mixed_guesses(said, guesses(gap), unit, gap), deviations(doubt, gap)


def _sizes(state: HandState, count: int, gap: Gap) -> tuple[np.ndarray, np.ndarray]:
    """Palm and bones at the gap's times, on their way from the last hand's to the next one's."""
    length = gap.length
    share = gap.times / length if length else np.zeros_like(gap.times)
    then = count if length else count - 1

    def at(part: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *(1,) * (part.ndim - 1))
        return (1 - weight) * part[count - 1] + weight * part[then]

    return at(state.palm), at(state.lengths)


def _of_joints(deviation: np.ndarray) -> np.ndarray:
    """``(G, 21)`` of the joints themselves: the wrist's error is everyone's."""
    own = deviation.copy()
    own[:, 1:] = np.hypot(deviation[:, 1:], deviation[:, :1])
    return own
