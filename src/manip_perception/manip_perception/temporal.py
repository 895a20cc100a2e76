"""Temporal fusion, a frame at a time, in numpy: keys and values of the window are kept."""

from pathlib import Path

import numpy as np
from scipy.special import erf, expit

from manip_model.temporal_features import (
    FORMAT,
    NUM_FRAME_FEATURES,
    ROWS,
    TURNS,
    Moments,
    answers,
    belief,
    features,
    follow,
    in_units,
    nothing_carried,
    turns,
)


class TemporalNetwork:
    """The network of :mod:`manip_model.temporal`, from weights in one file.

    Args:
        weights: By the names of the torch module; with ``config/…`` whole numbers and
            ``frequencies``.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        self._w = {name: np.asarray(value) for name, value in weights.items()}
        self._window, self._heads, self._layers = (
            int(weights[f"config/{name}"]) for name in ("window", "heads", "layers")
        )
        self._rates = np.asarray(weights["frequencies"])
        self._turns = turns(TURNS).astype(np.float32)
        # Linear layers as (in, out).
        for name, value in self._w.items():
            if name.endswith("weight") and value.ndim == 2:
                self._w[name] = np.ascontiguousarray(value.T)
        self.reset()

    @classmethod
    def read(cls, path: str | Path, kind: str = FORMAT) -> "TemporalNetwork":
        """From a file as training writes it.

        Args:
            path: Of the file.
            kind: What the file says that it is.

        Raises:
            FileNotFoundError: It is not there.
            ValueError: It is no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                held = dict(file)
        except (OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise ValueError(f"{path} is no file of temporal weights: {error}") from error
        if str(held.pop("format", "")) != kind:
            raise ValueError(f"{path} is no file of temporal weights: it is not a {kind}")
        return cls(held)

    def reset(self) -> None:
        """Forget all frames."""
        self._kept: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(self._layers)]

    def step(self, told: dict[str, np.ndarray], time: float) -> np.ndarray:
        """Its answer, a vector, for one more frame.

        Args:
            told: One vector of each modality.
            time: Exposure [s]; later than the last one's.
        """
        tokens = np.stack([self._embedded(name, value) for name, value in told.items()])
        tokens = tokens + self._w["modality"]
        angle = time * self._rates
        turn = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        for number in range(self._layers):
            tokens = self._layer(number, tokens, turn)
        hand = _norm(tokens[0], self._w["norm.weight"], self._w["norm.bias"])
        answer = self._linear("answer", hand)
        if "direct.0.weight" in self._w:
            answer[: 3 * ROWS] += self._corrected(next(iter(told.values())))
        return answer

    def _corrected(self, told: np.ndarray) -> np.ndarray:
        """``(66,)`` what the frame alone tells of its errors, see the torch module."""
        hand, rest, _ = np.split(told, (3 * ROWS, NUM_FRAME_FEATURES))
        hands = hand.reshape(ROWS, 3) @ self._turns.swapaxes(1, 2)
        x = np.concatenate((hands.reshape(TURNS, -1), np.tile(rest, (TURNS, 1))), 1)
        for layer in ("direct.0", "direct.3"):
            x = _gelu(self._linear(layer, x))
        said = self._linear("direct.6", x).reshape(TURNS, ROWS, 3)
        return (said @ self._turns).mean(0).ravel()

    def _embedded(self, name: str, value: np.ndarray) -> np.ndarray:
        return self._perceptron(f"embed.{name}", value)

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self._w[f"{name}.weight"] + self._w[f"{name}.bias"]

    def _perceptron(self, name: str, x: np.ndarray) -> np.ndarray:
        return self._linear(f"{name}.2", _gelu(self._linear(f"{name}.0", x)))

    def _layer(self, number: int, x: np.ndarray, turn) -> np.ndarray:
        w, name = self._w, f"layers.{number}"
        normed = _norm(x, w[f"{name}.norm_attention.weight"], w[f"{name}.norm_attention.bias"])
        qkv = self._linear(f"{name}.query_key_value", normed)
        # (M, H, D) each, of M modalities
        q, k, v = (part.reshape(len(x), self._heads, -1) for part in np.split(qkv, 3, -1))
        kept = self._kept[number]
        kept.append((_turned(k, turn), v))
        del kept[: -self._window]
        keys = np.stack([k for k, _ in kept])  # (W, M, H, D)
        values = np.stack([v for _, v in kept])
        scores = np.einsum("mhd,wnhd->hmwn", _turned(q, turn), keys) / np.sqrt(q.shape[-1])
        if number < self._layers // 2:
            # Each modality looks at its own past.
            scores = np.where(np.eye(len(x), dtype=bool)[:, None], scores, -np.inf)
        scores = scores - scores.max((2, 3), keepdims=True)
        share = np.exp(scores)
        share = share / share.sum((2, 3), keepdims=True)
        seen = np.einsum("hmwn,wnhd->mhd", share, values).reshape(len(x), -1)
        x = x + self._linear(f"{name}.out", seen)
        normed = _norm(x, w[f"{name}.norm_mlp.weight"], w[f"{name}.norm_mlp.bias"])
        return x + self._perceptron(f"{name}.mlp", normed)


class TemporalFilter:
    """Frames of one hand, one after the other, to a hand that follows them."""

    def __init__(self, network: TemporalNetwork):
        self._network = network
        self.reset()

    def reset(self) -> None:
        """Forget the hand."""
        self._network.reset()
        self._carried, self._began, self._last = nothing_carried(1), None, None
        self._hand = self._speed = np.zeros((1, ROWS, 3))

    def update(self, moments: Moments) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The network's answers for one frame, and the hand ``(1, 1, ROWS, 3)`` in its units.

        Args:
            moments: B and T of 1.
        """
        time = float(moments.times[0, 0])
        if self._began is None:
            self._began = self._last = time
        known = np.isfinite(self._carried.times[:, -1:])
        told, self._carried = features(moments, self._carried)
        answer = self._network.step(
            {name: value[0, 0] for name, value in told.items()}, time - self._began
        )
        said = answers(answer[None, None].astype(float))
        self._hand = follow(
            in_units(self._carried) + said["correction"],
            said["speed"],
            belief(expit(said["gain"]), moments.seen, known),
            np.array([[time - self._last]]),
            self._hand,
            self._speed,
        )[-1]
        self._speed, self._last = said["speed"][:, -1], time
        return said, self._hand[:, None]


def _norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scale = np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
    return centred / scale * weight + bias


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x * np.float32(0.7071067811865476)))


def _turned(x: np.ndarray, turn) -> np.ndarray:
    cosine, sine = turn
    first, second = np.split(x, 2, -1)
    return np.concatenate((first * cosine - second * sine, first * sine + second * cosine), -1)
