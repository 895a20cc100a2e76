"""What estimators have seen (``scripts/watch_films.py``): films cut into sequences, glimpses."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from manip_model.temporal_features import Moments
from manip_training.temporal.objective import FORESEEN

_FIELDS = tuple(f.name for f in fields(Moments))


class Watched:
    """All films of a folder, by their rate.

    Args:
        folder: With files as ``scripts/watch_films.py`` writes them.
        frames: Of a sequence.
        pattern: Of the files' names.

    Raises:
        FileNotFoundError: There is no film of enough frames.
    """

    def __init__(self, folder: str | Path, frames: int, pattern: str = "*.npz"):
        self._frames = frames
        self.films: list[dict[str, np.ndarray]] = []
        for path in sorted(Path(folder).glob(pattern)):
            with np.load(path, allow_pickle=False) as file:
                film = {name: file[name] for name in (*_FIELDS, "true")}
            if len(film["true"]) >= frames + max(FORESEEN):
                self.films.append(film)
        if not self.films:
            raise FileNotFoundError(
                f"no film of {frames + max(FORESEEN)} frames in {folder}: "
                "scripts/watch_films.py makes them"
            )
        rates = [round(1 / float(np.diff(film["times"]).mean()), 3) for film in self.films]
        self._by_rate = {
            rate: [film for film, own in zip(self.films, rates, strict=True) if own == rate]
            for rate in sorted(set(rates))
        }

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Moments, np.ndarray, float]:
        """As :meth:`manip_training.temporal.fit.Sequences.batch`; each turned about the line of
        sight by any angle, as cameras may be."""
        rates = list(self._by_rate)
        shares = np.array([len(self._by_rate[rate]) for rate in rates], dtype=float)
        rate = rates[rng.choice(len(rates), p=shares / shares.sum())]
        films = self._by_rate[rate]
        cut = [self._cut(films[rng.integers(len(films))], rng) for _ in range(size)]
        return (
            Moments(**{name: np.stack([one[name] for one in cut]) for name in _FIELDS}),
            np.stack([one["true"] for one in cut]),
            rate,
        )

    def _cut(self, film: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
        whole = self._frames + max(FORESEEN)
        first = rng.integers(len(film["true"]) - whole + 1)
        cut = {name: film[name][first : first + self._frames] for name in _FIELDS}
        (turn,) = _turns(1, rng)
        true = film["true"][first : first + whole].astype(np.float64)
        return cut | {"joints": cut["joints"] @ turn.T, "true": true @ turn.T}


class Glimpses:
    """Moments of ever another hand, all of a folder.

    Args:
        folder: With files as ``scripts/watch_films.py --glimpses`` writes them; of films, all
            frames count.
        pattern: Of the files' names.

    Raises:
        FileNotFoundError: There is none in which a hand is seen.
    """

    def __init__(self, folder: str | Path, pattern: str = "*.npz"):
        held: dict[str, list[np.ndarray]] = {name: [] for name in (*_FIELDS, "true")}
        for path in sorted(Path(folder).glob(pattern)):
            with np.load(path, allow_pickle=False) as file:
                seen = file["seen"]
                for name, values in held.items():
                    values.append(file[name][seen])
        if not sum(map(len, held["true"])):
            raise FileNotFoundError(
                f"no glimpse of a hand in {folder}: scripts/watch_films.py --glimpses makes them"
            )
        self._held = {name: np.concatenate(values) for name, values in held.items()}

    def __len__(self) -> int:
        return len(self._held["true"])

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Moments, np.ndarray]:
        """What was seen ``(B, 1, …)`` and the true joints ``(B, 1, 21, 3)`` [m], each turned about
        the line of sight by any angle, as of films."""
        rows = rng.integers(len(self), size=size)
        cut = {name: values[rows][:, None] for name, values in self._held.items()}
        turn = _turns(size, rng).swapaxes(1, 2)[:, None]
        true = cut.pop("true").astype(np.float64) @ turn
        return Moments(**cut | {"joints": cut["joints"] @ turn}), true


def _turns(size: int, rng: np.random.Generator) -> np.ndarray:
    """``(B, 3, 3)`` about the line of sight by any angle."""
    angle = rng.uniform(-np.pi, np.pi, size)
    return Rotation.from_rotvec(angle[:, None] * (0.0, 0.0, 1.0)).as_matrix()


def whole(films: Sequence[dict[str, np.ndarray]]) -> list[tuple[Moments, np.ndarray]]:
    """Every film as it is, a batch of one: what was seen, and the true ``(T, 21, 3)`` [m]."""
    return [
        (Moments(**{name: film[name][None] for name in _FIELDS}), film["true"].astype(np.float64))
        for film in films
    ]
