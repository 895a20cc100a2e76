"""Demonstrations as a LeRobot dataset: see `FEATURES` for what each row holds.

The camera shows the operator, not the robot's workplace, and the keypoints are the operator's: they
are there to learn how demonstrations come about, and to be left out of a policy's inputs. So only
the joints and the picture are called ``observation``, which LeRobot feeds to policies by that name.
"""

import json
from pathlib import Path

import numpy as np

from manip_bringup import lerobot_files as files
from manip_bringup.bag_arrays import BagArrays, pictures
from manip_bringup.demonstration import Demonstration
from manip_bringup.episodes import SUCCESS
from manip_core.hand_skeleton import Keypoint
from manip_core.robot_model import JOINT_NAMES

VIDEO = "observation.images.operator"
ROBOT_TYPE = "ur5e_allegro"

_POINTS = [point.name.lower() for point in Keypoint]
_METRES = [f"{point}.{axis}" for point in _POINTS for axis in "xyz"]
_PIXELS = [f"{point}.{axis}" for point in _POINTS for axis in "uv"]

# Name to dtype and names of the elements; None: one number. LeRobot's own columns come last.
FEATURES = {
    # Measured, and commanded from this row to the next (mean) [rad].
    "observation.state": ("float32", list(JOINT_NAMES)),
    "action": ("float32", list(JOINT_NAMES)),
    # The operator's hand in the row's picture [m], camera_optical_frame, and [px]; 0: not tracked.
    "operator.keypoints": ("float32", _METRES),
    "operator.keypoints_px": ("float32", _PIXELS),
    "operator.confidence": ("float32", None),
    "operator.tracked": ("bool", None),
    # When the row's picture was exposed, on the episode's clock [s].
    "camera.exposure": ("float32", None),
    # True in the last row; and there, where the operator marked success.
    "next.done": ("bool", None),
    "next.success": ("bool", None),
    "timestamp": ("float32", None),
    "frame_index": ("int64", None),
    "episode_index": ("int64", None),
    "index": ("int64", None),
    "task_index": ("int64", None),
}
# What was in force in the row: all joints of the first command, of the second, and so on [rad]; and
# from when on each was, after the row's time [s].
COMMANDS, COMMAND_TIMES = "commands", "commands.time"

# Pictures of an episode that the statistics look at, and every how many of their pixels.
_LOOKED_AT, _STRIDE = 60, 8


class LerobotWriter:
    """Writes a dataset into a new folder, an episode at a time; `close` completes it.

    Args:
        root: The folder.
        fps: Rows a second.
        commands: Most commands in a row of any episode.
        video: Whether pictures are written.
    """

    def __init__(self, root: Path, fps: int, commands: int, *, video: bool = True):
        self._root, self._fps, self._commands = root, fps, commands
        self._video = files.VideoFiles(root, VIDEO, fps) if video else None
        self._data = files.TableFiles(root, files.DATA_PATH)
        self._tasks: list[str] = []
        self._episodes: list[dict[str, object]] = []
        self._statistics: list[dict[str, dict[str, np.ndarray]]] = []
        self._rows = 0

    def add(self, bag: BagArrays, demo: Demonstration) -> int:
        """Write an episode; returns its number.

        Raises:
            ValueError: Its pictures are of another size than those before, or cannot be read.
        """
        number, count = len(self._episodes), len(demo)
        task = demo.episode.task
        if task not in self._tasks:
            self._tasks.append(task)
        columns = self._columns(demo, number, self._tasks.index(task))
        stats = {
            name: files.statistics(values.reshape(count, -1)) for name, values in columns.items()
        }
        about: dict[str, object] = {
            "episode_index": number,
            "tasks": [task],
            "length": count,
            "dataset_from_index": self._rows,
            "dataset_to_index": self._rows + count,
            "outcome": demo.episode.outcome,
            "source": bag.path.name,
            "start_ns": bag.origin + round(demo.start * 1e9),
        }
        if self._video is not None:
            where, begin = self._video.begin_episode()
            stats[VIDEO] = self._add_pictures(bag, demo)
            about |= {f"videos/{VIDEO}/{name}": value for name, value in where.items()}
            about[f"videos/{VIDEO}/from_timestamp"] = begin
            about[f"videos/{VIDEO}/to_timestamp"] = begin + count / self._fps
        about |= {f"data/{name}": value for name, value in self._data.add(columns).items()}
        self._rows += count
        self._episodes.append(about)
        self._statistics.append(stats)
        return number

    def close(self) -> None:
        """Write what describes the whole; without it the folder is no dataset."""
        self._data.close()
        if self._video is not None:
            self._video.close()
        if not self._episodes:
            return
        files.write_tasks(self._root, self._tasks)
        table = files.TableFiles(self._root, files.EPISODES_PATH)
        for about, stats in zip(self._episodes, self._statistics, strict=True):
            row = about | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            row |= {
                f"stats/{feature}/{name}": value.tolist()
                for feature, values in stats.items()
                for name, value in values.items()
            }
            table.add({name: [value] for name, value in row.items()})
        table.close()
        whole = {
            feature: files.joined_statistics([stats[feature] for stats in self._statistics])
            for feature in self._statistics[0]
        }
        self._write_json(
            files.STATS_PATH,
            {f: {name: v.tolist() for name, v in values.items()} for f, values in whole.items()},
        )
        self._write_json(files.INFO_PATH, self._info())

    def _columns(self, demo: Demonstration, number: int, task: int) -> dict[str, np.ndarray]:
        count = len(demo)
        last = np.arange(count) == count - 1
        more = self._commands - demo.commands.shape[1]
        commands = np.pad(demo.commands, ((0, 0), (0, more), (0, 0)), mode="edge")
        times = np.pad(demo.command_times, ((0, 0), (0, more)), constant_values=1 / self._fps)
        made = {
            "observation.state": demo.state,
            "action": demo.action,
            COMMANDS: commands.reshape(count, -1),
            COMMAND_TIMES: times,
            "operator.keypoints": demo.keypoints.reshape(count, -1),
            "operator.keypoints_px": demo.keypoints_px.reshape(count, -1),
            "operator.confidence": demo.confidence,
            "operator.tracked": demo.tracked,
            "camera.exposure": demo.exposure,
            "next.done": last,
            "next.success": last & (demo.episode.outcome == SUCCESS),
            "timestamp": demo.timestamp,
            "frame_index": np.arange(count),
            "episode_index": np.full(count, number),
            "index": self._rows + np.arange(count),
            "task_index": np.full(count, task),
        }
        return {name: made[name].astype(kind) for name, (kind, _) in self._features().items()}

    def _features(self) -> dict[str, tuple[str, list[str] | None]]:
        numbers = range(self._commands)
        return FEATURES | {
            COMMANDS: ("float32", [f"{joint}.{i}" for i in numbers for joint in JOINT_NAMES]),
            COMMAND_TIMES: ("float32", [str(i) for i in numbers]),
        }

    def _add_pictures(self, bag: BagArrays, demo: Demonstration) -> dict[str, np.ndarray]:
        """Write the row's pictures; returns their statistics by channel, red first, 0 to 1."""
        looked_at = set(np.linspace(0, len(demo) - 1, min(_LOOKED_AT, len(demo))).astype(int))
        pixels, row = [], 0
        wanted = bag.exposures[demo.picture]
        for exposure, picture in pictures(bag, wanted[0], wanted[-1]):
            while row < len(wanted) and exposure == wanted[row]:
                self._video.add(picture)
                if row in looked_at:
                    pixels.append(picture[::_STRIDE, ::_STRIDE, ::-1].reshape(-1, 3))
                row += 1
        if row < len(wanted):
            raise ValueError(f"{bag.path}: {len(wanted) - row} of {len(wanted)} pictures are lost")
        stats = files.statistics(np.concatenate(pixels) / 255.0)
        shaped = {name: value.reshape(-1, 1, 1) for name, value in stats.items()}
        return shaped | {"count": np.array([len(pixels)])}

    def _info(self) -> dict[str, object]:
        features: dict[str, object] = {}
        if self._video is not None:
            features[VIDEO] = {
                "dtype": "video",
                "shape": list(self._video.shape),
                "names": ["height", "width", "channels"],
                "info": self._video.info,
            }
        for name, (kind, names) in self._features().items():
            shape = [1 if names is None else len(names)]
            features[name] = {"dtype": kind, "shape": shape, "names": names}
        return {
            "codebase_version": files.VERSION,
            "robot_type": ROBOT_TYPE,
            "total_episodes": len(self._episodes),
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": files.CHUNK_FILES,
            "data_files_size_in_mb": files.DATA_MB,
            "video_files_size_in_mb": files.VIDEO_MB,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": files.DATA_PATH,
            "video_path": files.VIDEO_PATH if self._video is not None else None,
            "features": features,
        }

    def _write_json(self, name: str, content: dict) -> None:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n")
