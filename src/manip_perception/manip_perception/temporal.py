"""Temporal fusion, a frame at a time, in numpy: keys and values of the window are kept."""

from pathlib import Path

import numpy as np
from scipy.special import erf

from manip_model.temporal_features import (
    FORMAT,
    Carried,
    Moments,
    answers,
    features,
    nothing_carried,
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
        return hand @ self._w["answer.weight"] + self._w["answer.bias"]

    def _embedded(self, name: str, value: np.ndarray) -> np.ndarray:
        return self._perceptron(f"embed.{name}", value)

    def _perceptron(self, name: str, x: np.ndarray) -> np.ndarray:
        x = _gelu(x @ self._w[f"{name}.0.weight"] + self._w[f"{name}.0.bias"])
        return x @ self._w[f"{name}.2.weight"] + self._w[f"{name}.2.bias"]

    def _layer(self, number: int, x: np.ndarray, turn) -> np.ndarray:
        w, name = self._w, f"layers.{number}"
        normed = _norm(x, w[f"{name}.norm_attention.weight"], w[f"{name}.norm_attention.bias"])
        qkv = normed @ w[f"{name}.query_key_value.weight"] + w[f"{name}.query_key_value.bias"]
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
        x = x + seen @ w[f"{name}.out.weight"] + w[f"{name}.out.bias"]
        normed = _norm(x, w[f"{name}.norm_mlp.weight"], w[f"{name}.norm_mlp.bias"])
        return x + self._perceptron(f"{name}.mlp", normed)


class TemporalFilter:
    """Frames of one hand, one after the other, to refined ones."""

    def __init__(self, network: TemporalNetwork):
        self._network = network
        self.reset()

    def reset(self) -> None:
        """Forget the hand."""
        self._network.reset()
        self._carried, self._began = nothing_carried(1), None

    def update(self, moments: Moments) -> tuple[dict[str, np.ndarray], Carried]:
        """The network's answers for one frame, and the hand that they correct.

        Args:
            moments: B and T of 1.
        """
        if self._began is None:
            self._began = float(moments.times[0, 0])
        told, self._carried = features(moments, self._carried)
        said = self._network.step(
            {name: value[0, 0] for name, value in told.items()},
            float(moments.times[0, 0]) - self._began,
        )
        return answers(said[None, None]), self._carried


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
