"""Films that estimators have seen (``scripts/watch_films.py``), cut into sequences."""

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
        turn = Rotation.from_rotvec((0, 0, rng.uniform(-np.pi, np.pi))).as_matrix()
        true = film["true"][first : first + whole].astype(np.float64)
        return cut | {"joints": cut["joints"] @ turn.T, "true": true @ turn.T}


def whole(films: Sequence[dict[str, np.ndarray]]) -> list[tuple[Moments, np.ndarray]]:
    """Every film as it is, a batch of one: what was seen, and the true ``(T, 21, 3)`` [m]."""
    return [
        (Moments(**{name: film[name][None] for name in _FIELDS}), film["true"].astype(np.float64))
        for film in films
    ]
