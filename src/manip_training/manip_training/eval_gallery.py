"""The best, the median and the worst crops of an evaluation, found as it goes."""

import numpy as np

from manip_core.metrics import labelled_mean
from manip_training.plots import Picture

# [m]: how long the axes of an object are drawn.
AXIS_LENGTH = 0.04
# Of this many pictures, drawn evenly from all, those nearest the median are shown.
MEDIAN_POOL = 256


class Gallery:
    """Keeps few enough pictures for any dataset; what it keeps depends on the samples alone."""

    def __init__(self, each: int):
        """Room for ``each`` best, median and worst pictures."""
        if each < 0:
            raise ValueError(f"the number of pictures must be 0 or more, got {each}")
        self._each = each
        self._best: list[Picture] = []
        self._worst: list[Picture] = []
        self._pool: list[Picture] = []
        self._errors: list[float] = []
        self._random = np.random.default_rng(0)

    def add(self, records: dict, truth: dict, said: dict) -> None:
        """Consider a batch: its errors, its labels and its predictions, as numpy."""
        if not self._each:
            return
        pa = labelled_mean(records["joint_pa_mm"])
        root = labelled_mean(records["joint_root_mm"])
        for row in np.flatnonzero(np.isfinite(pa)):
            self._errors.append(float(pa[row]))
            slot = self._slot()
            full = len(self._best) == self._each
            if slot is None and full and self._best[-1].pa_mm <= pa[row] <= self._worst[-1].pa_mm:
                continue
            picture = _picture(row, float(pa[row]), float(root[row]), records, truth, said)
            self._best = sorted([*self._best, picture], key=lambda p: p.pa_mm)[: self._each]
            self._worst = sorted([*self._worst, picture], key=lambda p: -p.pa_mm)[: self._each]
            if slot is not None:
                self._pool[slot : slot + 1] = [picture]

    def rows(self) -> dict[str, list[Picture]]:
        """Pictures by kind; of few samples some are in two rows. None where no hand is labelled."""
        if not self._errors:
            return {}
        median = np.median(self._errors)
        near = sorted(self._pool, key=lambda p: abs(p.pa_mm - median))[: self._each]
        rows = {"best": self._best, "median": sorted(near, key=lambda p: p.pa_mm)}
        return rows | {"worst": self._worst}

    def _slot(self) -> int | None:
        """Where in the pool the latest sample goes: algorithm R of Vitter 1985."""
        seen = len(self._errors)
        slot = seen - 1 if seen <= MEDIAN_POOL else int(self._random.integers(seen))
        return slot if slot < MEDIAN_POOL else None


def _picture(row: int, pa: float, root: float, records: dict, truth: dict, said: dict) -> Picture:
    camera = truth["camera"][row]
    there = records["object_there"][row] & truth["object_pose_valid"][row]
    found = [q for q in records["object_query"][row] if q >= 0]
    return Picture(
        image=np.ascontiguousarray(truth["image"][row].transpose(1, 2, 0)),
        pa_mm=pa,
        root_mm=root,
        predicted=_project(said["joints"][row], camera),
        true=_project(truth["joints"][row], camera),
        valid=truth["joints_valid"][row],
        predicted_axes=[_axes(said, row, query, camera) for query in found],
        true_axes=[_axes(truth, row, slot, camera) for slot in np.flatnonzero(there)],
    )


def _axes(source: dict, row: int, index: int, camera: np.ndarray) -> np.ndarray:
    """``(4, 2)`` [px]: origin and ends of the axes of an object."""
    origin = source["object_position"][row, index]
    ends = origin + AXIS_LENGTH * source["object_rotation"][row, index].T
    return _project(np.vstack((origin, ends)), camera)


def _project(points: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Pixels ``(N, 2)`` of points ``(N, 3)`` [m]; depths below 1 cm count as 1 cm."""
    return points[:, :2] / np.maximum(points[:, 2:], 0.01) * camera[:2] + camera[2:]
