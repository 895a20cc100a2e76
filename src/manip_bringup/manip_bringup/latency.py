"""``manip latency BAG``: from the exposure of a picture to the robot's command, stage by stage.

Every message keeps the exposure of the picture that it was made from, and a bag says when each was
received. What a stage took is the time between its message and that of the stage before, as the
recorder got them: computing, and the way from one process to the next.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manip_bringup.bag_arrays import open_bag
from manip_bringup.cdr import stamp_ns
from manip_core import interfaces as topics

# The stages in order, by the message that ends each; the last one by the robot's command.
STAGES = {
    "camera": topics.CAMERA_INFO.name,
    "hand pose": topics.OBSERVATION.name,
    "smoothing": topics.SMOOTHED.name,
    "retargeting": topics.TARGET.name,
    "control": topics.HAND_COMMAND.name,
}
# Commands that bear no exposure: there the first one after the target stands for it.
_BARE = (
    topics.ARM_COMMAND.name,
    topics.TRAJECTORY.name,
    topics.SCALED_TRAJECTORY.name,
    topics.HAND_POSITIONS.name,
)
_PERCENT = (50, 95, 99)


@dataclass(frozen=True)
class Latencies:
    """How old each picture was when a stage was through with it.

    Attributes:
        ages: ``(n, stages)`` [s] for the pictures that became a command, in order of `STAGES`.
        pictures: How many pictures there were.
    """

    ages: np.ndarray
    pictures: int

    @property
    def shares(self) -> np.ndarray:
        """``(n, stages)`` [s] that each stage took itself."""
        return np.diff(self.ages, axis=1, prepend=0.0)

    def table(self) -> str:
        """What is printed: each stage's own time, its share of the mean, and the whole."""
        share = self.shares.mean(axis=0) / self.ages[:, -1].mean()
        rows = [f"{'[ms]':<22}{'p50':>8}{'p95':>8}{'p99':>8}{'share':>8}"]
        for name, took, part in zip(STAGES, self.shares.T, share, strict=True):
            rows.append(f"{name:<22}{_percentiles(took)}{100 * part:>7.0f}%")
        rows.append(f"{'exposure to command':<22}{_percentiles(self.ages[:, -1])}{100:>7}%")
        rows.append(f"{len(self.ages)} of {self.pictures} pictures became a command")
        return "\n".join(rows)


def measure(path: str | Path) -> Latencies:
    """The latencies in a recorded bag.

    Raises:
        FileNotFoundError: There is no such bag.
        ValueError: It cannot be read, or no command in it was made from a picture.
    """
    names = list(STAGES.values())
    received: list[dict[int, int]] = [{} for _ in names]
    bare: list[int] = []
    with open_bag(path) as reader:
        present = {c.topic for c in reader.connections if c.msgcount}
        chosen = [c for c in reader.connections if c.topic in (*names, *_BARE)]
        missing = [name for name in names[:-1] if name not in present]
        if missing or not chosen:
            raise ValueError(f"{path} has no messages on {', '.join(missing) or 'any stage'}")
        for connection, stamp, data in reader.messages(chosen):
            if connection.topic in _BARE:
                bare.append(stamp)
            else:
                # The first one: commands are repeated until the next target comes.
                received[names.index(connection.topic)].setdefault(stamp_ns(data), stamp)
    if names[-1] not in present:
        received[-1] = {
            exposure: bare[i]
            for exposure, target in received[-2].items()
            if (i := int(np.searchsorted(bare, target))) < len(bare)
        }
    exposures = [e for e in received[0] if all(e in stage for stage in received[1:])]
    if not exposures:
        raise ValueError(f"{path}: no command was made from a picture")
    ages = np.array([[stage[e] - e for stage in received] for e in sorted(exposures)]) * 1e-9
    return Latencies(ages, len(received[0]))


def main(argv: list[str]) -> int:
    """Print where the time goes from the exposure of a picture to the robot's command."""
    parser = argparse.ArgumentParser(prog="manip latency", description=main.__doc__)
    parser.add_argument("bag", type=Path, help="folder of a recorded bag, or its .mcap file")
    print(measure(parser.parse_args(argv).bag).table())
    return 0


def _percentiles(seconds: np.ndarray) -> str:
    return "".join(f"{1e3 * value:>8.1f}" for value in np.percentile(seconds, _PERCENT))
