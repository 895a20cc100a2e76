"""Demonstrations as numpy archives: one file an episode, nothing but numpy needed to read it."""

from pathlib import Path

import numpy as np

from manip_bringup.bag_arrays import BagArrays, jpegs
from manip_bringup.demonstration import Demonstration
from manip_core.robot_model import JOINT_NAMES

_ARRAYS = (
    "timestamp",
    "state",
    "action",
    "commands",
    "command_times",
    "exposure",
    "keypoints",
    "keypoints_px",
    "confidence",
    "tracked",
)


class NpzWriter:
    """Writes ``episode_000000.npz`` and on into a folder.

    Each file holds the arrays of :class:`~manip_bringup.demonstration.Demonstration` by their
    names, ``seams`` ``(k, 2)``, ``fps``, ``joints``, ``outcome``, ``task`` and ``origin`` (the
    first row, ns since the epoch). Picture i of the episode is the JPEG file
    ``jpeg[jpeg_start[i]:jpeg_start[i + 1]]``; row k shows picture ``picture[k]``.
    """

    def __init__(self, folder: Path, *, video: bool = True):
        self._folder, self._video, self._count = folder, video, 0

    def add(self, bag: BagArrays, demo: Demonstration) -> Path:
        """Write an episode; returns its file."""
        arrays = {name: getattr(demo, name) for name in _ARRAYS}
        shown, picture = np.unique(demo.picture, return_inverse=True)
        if self._video and bag.pictures:
            wanted = dict.fromkeys(bag.exposures[shown].tolist())
            files = [
                np.frombuffer(data, np.uint8)
                for exposure, data in jpegs(bag, min(wanted), max(wanted))
                if exposure in wanted
            ]
            arrays["jpeg"] = np.concatenate(files)
            arrays["jpeg_start"] = np.cumsum([0, *map(len, files)])
            arrays["picture"] = picture
        path = self._folder / f"episode_{self._count:06d}.npz"
        # Pictures are compressed already; the rest is small.
        np.savez(
            path,
            fps=demo.fps,
            joints=np.array(JOINT_NAMES),
            seams=np.array(demo.seams, int).reshape(-1, 2),
            outcome=demo.episode.outcome,
            task=demo.episode.task,
            origin=bag.origin + round(demo.start * 1e9),
            **arrays,
        )
        self._count += 1
        return path

    def close(self) -> None:
        """Nothing is left to write: each file is whole by itself."""
