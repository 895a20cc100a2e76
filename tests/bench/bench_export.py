"""A recording of the real graph, exported, loaded by LeRobot itself, and replayed in MuJoCo.

``python tests/bench/bench_export.py [BAG]``: records the bundled clip for half a minute, or takes a
bag with marked episodes. Needs ``scripts/setup.sh export`` and ``scripts/setup_lerobot.sh``.

What is compared, at every row of the data set and for every joint: the posture that the robot in
MuJoCo is in after it was given, open loop from the row's first posture,

- the recorded commands, each held from when it was received until the next one was, and
- what `LeRobotDataset` returned: the rows' `commands` (`export_replay_rad_max`), or their `action`
  alone, with a parabola through each row (`export_replay_action_rad_max`), or each held for its row
  (`export_replay_held_rad_max`).

Both run in simulated time, so that no clock is in the comparison. How far the recorded robot itself
was from the first of them, which a clock and the load of the machine are in, is
`export_recorded_rad_p95`.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/graph"), str(ROOT / "tests")]
os.environ.setdefault("ROS_DOMAIN_ID", "76")

from harness import Probe, running, sim  # noqa: E402

import lerobot_python  # noqa: E402
from manip_bringup import demonstrations_command  # noqa: E402
from manip_bringup.action_replay import ActionReplay, evenly, finer, rows  # noqa: E402
from manip_bringup.bag_arrays import BagArrays, Series, read_bag  # noqa: E402
from manip_core import interfaces as topics  # noqa: E402
from manip_core.robot_model import NUM_JOINTS  # noqa: E402
from manip_ros.topics import message_type  # noqa: E402

# Into how many parts an action is divided where a parabola is laid through it.
PARTS = 20
# When, after the robot began to follow, the operator presses what [s].
MARKS = (
    (0.0, "start open and close the hand"),
    (10.0, "success"),
    (11.0, "start"),
    (18.0, "failure"),
    (19.0, "start"),
    (22.0, "discard"),
)


def record(folder: Path, **arguments: str) -> None:
    """Record the graph on the bundled clip, with marks; ``arguments`` as for `harness.sim`."""
    text = message_type(topics.EPISODE_MARK)
    with running(sim(record=str(folder), **arguments)):
        listener = Probe(topics.TARGET)
        try:
            listener.wait(lambda: listener.count(topics.TARGET) > 30, what="targets")
            marker = listener.publisher(topics.EPISODE_MARK)
            began = time.monotonic()
            for due, words in MARKS:
                time.sleep(max(0.0, began + due - time.monotonic()))
                marker.publish(text(data=words))
            time.sleep(1.0)
        finally:
            listener.close()


def measure(bag: Path | None = None) -> dict[str, float]:
    """All figures; records a bag where none is given.

    Raises:
        FileNotFoundError: LeRobot is not there to load what was exported.
    """
    if not lerobot_python.find():
        raise FileNotFoundError("LeRobot is not installed: run scripts/setup_lerobot.sh")
    with tempfile.TemporaryDirectory() as folder:
        if bag is None:
            bag = Path(folder) / "bag"
            record(bag)
        return _measure(bag, Path(folder))


def _measure(bag: Path, folder: Path) -> dict[str, float]:
    began = time.perf_counter()
    dataset = folder / "dataset"
    demonstrations_command.main([str(bag), "--format", "lerobot", "--out", str(dataset)])
    took = time.perf_counter() - began
    loaded = lerobot_python.load(dataset, folder / "loaded.npz")
    arrays, fps = read_bag(bag), float(loaded["fps"])
    starts = _first_rows(dataset, arrays)
    errors = {"commands": [], "action": [], "held": [], "recorded": []}
    replay = ActionReplay()
    for number, start in enumerate(starts):
        chosen = loaded["episode_index"] == number
        for name, values in _errors(replay, arrays, start, loaded, chosen, fps).items():
            errors[name].append(values)
    worst = {name: np.concatenate(parts) for name, parts in errors.items()}
    minutes = len(loaded["index"]) / fps / 60.0
    size = sum(file.stat().st_size for file in dataset.rglob("*") if file.is_file())
    return {
        "export_rows": float(len(loaded["index"])),
        "export_episodes": float(loaded["episodes"]),
        "export_replay_rad_max": float(worst["commands"].max()),
        "export_replay_action_rad_max": float(worst["action"].max()),
        "export_replay_action_rad_p99": float(np.percentile(worst["action"].max(axis=1), 99)),
        "export_replay_held_rad_max": float(worst["held"].max()),
        "export_recorded_rad_p95": float(np.percentile(worst["recorded"].max(axis=1), 95)),
        "export_s_per_minute": took / minutes,
        "export_mb_per_minute": size / 1e6 / minutes,
    }


def _errors(
    replay: ActionReplay,
    bag: BagArrays,
    start: float,
    loaded: dict[str, np.ndarray],
    chosen: np.ndarray,
    fps: float,
) -> dict[str, np.ndarray]:
    """Differences of the joints ``(n, 22)`` [rad] at the ends of an episode's rows, by replay."""
    state, action = loaded["observation.state"][chosen], loaded["action"][chosen]
    times = loaded["commands.time"][chosen]
    commands = loaded["commands"][chosen].reshape(*times.shape, NUM_JOINTS)
    ends = np.arange(1, len(action) + 1) / fps
    recorded = Series(bag.commands.times - start, bag.commands.values)
    own = replay.play(recorded, ends, state[0])

    def error(played: Series) -> np.ndarray:
        return np.abs(replay.play(played, ends, state[0]) - own)

    return {
        "commands": error(rows(commands, times, fps)),
        "action": error(evenly(finer(action, PARTS), fps * PARTS)),
        "held": error(evenly(action, fps)),
        "recorded": np.abs(own[:-1] - state[1:]),
    }


def _first_rows(dataset: Path, bag: BagArrays) -> list[float]:
    """When each exported episode's first row was, on the bag's clock [s]."""
    import pyarrow.parquet as pq

    about = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet")
    return [(start - bag.origin) * 1e-9 for start in about.column("start_ns").to_pylist()]


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    print(json.dumps(measure(given), indent=2))
