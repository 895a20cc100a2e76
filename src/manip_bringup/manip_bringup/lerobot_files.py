"""The files of a LeRobot dataset, version 3.0 of the format: tables, statistics, videos.

Episodes lie one after the other in files of limited size: ``data/chunk-000/file-000.parquet``
holds rows, ``videos/KEY/chunk-000/file-000.mp4`` pictures, and ``meta/episodes/…`` says where each
episode is. The format is as the source of lerobot 0.4.4 and 0.6.1 has it, both of which read and
write this version.
"""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np

VERSION = "v3.0"
CHUNK_FILES = 1000
DATA_MB, VIDEO_MB = 100, 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
TASKS_PATH, INFO_PATH, STATS_PATH = "meta/tasks.parquet", "meta/info.json", "meta/stats.json"

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def file_indices(number: int) -> dict[str, int]:
    """Where the file of that number lies, as the path patterns take it."""
    return {"chunk_index": number // CHUNK_FILES, "file_index": number % CHUNK_FILES}


def statistics(values: np.ndarray) -> dict[str, np.ndarray]:
    """Least, greatest, mean, standard deviation, quantiles of ``(n, d)`` values over n, and n."""
    values = np.asarray(values, dtype=float)
    return {
        "min": values.min(axis=0),
        "max": values.max(axis=0),
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        "count": np.array([len(values)]),
        **{name: np.quantile(values, q, axis=0) for name, q in _QUANTILES.items()},
    }


def joined_statistics(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Statistics of several episodes from those of each; quantiles are means, weighted by count."""
    counts = np.array([part["count"][0] for part in parts], dtype=float)
    weights = counts / counts.sum()

    def mean(name: str) -> np.ndarray:
        return np.tensordot(weights, np.stack([part[name] for part in parts]), axes=1)

    variance = np.stack([part["std"] ** 2 + (part["mean"] - mean("mean")) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean("mean"),
        "std": np.sqrt(np.tensordot(weights, variance, axes=1)),
        "count": np.array([int(counts.sum())]),
        **{name: mean(name) for name in _QUANTILES},
    }


class TableFiles:
    """Writes tables one after the other into parquet files of at most about `DATA_MB`."""

    def __init__(self, root: Path, pattern: str, largest_mb: float = DATA_MB):
        self._root, self._pattern, self._largest = root, pattern, largest_mb * 2**20
        self._number, self._writer, self._path = -1, None, None

    def add(self, columns: dict[str, object]) -> dict[str, int]:
        """Append rows, given by column (a numpy array or a list); returns where they are."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: _arrow(values) for name, values in columns.items()})
        full = self._writer is not None and self._path.stat().st_size > self._largest
        if self._writer is None or full:
            self.close()
            self._number += 1
            self._path = self._root / self._pattern.format(**file_indices(self._number))
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, table.schema)
        # One group of rows an episode: a reader fetches an episode without its neighbours.
        self._writer.write_table(table)
        return file_indices(self._number)

    def close(self) -> None:
        """End the file: a table without its end cannot be read."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _arrow(values):
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.ndim == 2:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.array(values)


def write_tasks(root: Path, tasks: list[str]) -> None:
    """The table of tasks: a pandas frame indexed by the text, as LeRobot reads it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = "__index_level_0__"
    kinds = [("task_index", "int64", "int64"), (None, "unicode", "object")]
    described = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": name or index,
                "pandas_type": kind,
                "numpy_type": numpy_kind,
                "metadata": None,
            }
            for name, kind, numpy_kind in kinds
        ],
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: tasks})
    table = table.replace_schema_metadata({"pandas": json.dumps(described)})
    (root / TASKS_PATH).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, root / TASKS_PATH)


class VideoFiles:
    """Writes pictures one after the other into H.264 files of at most about `VIDEO_MB`.

    Every second picture is stored whole, as in LeRobot's own recordings: training reads pictures in
    any order.
    """

    def __init__(self, root: Path, key: str, fps: int, largest_mb: float = VIDEO_MB):
        self._root, self._key, self._fps = root, key, fps
        self._largest = largest_mb * 2**20
        self._number, self._file, self._stream, self._frames = -1, None, None, 0
        self._size: tuple[int, int] | None = None

    @property
    def info(self) -> dict[str, object]:
        """What ``info.json`` says of the videos."""
        width, height = self._size
        return {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": self._fps,
            "video.channels": 3,
            "has_audio": False,
        }

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures."""
        return self._size[1], self._size[0], 3

    def begin_episode(self) -> tuple[dict[str, int], float]:
        """Where the next pictures go: the file, and the time in it [s]."""
        if self._file is None or self._path().stat().st_size > self._largest:
            self.close()
            self._number, self._frames = self._number + 1, 0
        return file_indices(self._number), self._frames / self._fps

    def add(self, picture: np.ndarray) -> None:
        """Append a picture, ``(H, W, 3)`` uint8, blue first.

        Raises:
            ValueError: It is of another size than those before.
        """
        import av

        # Colours are stored for two by two pixels: an odd last row or column is left out.
        picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        size = (picture.shape[1], picture.shape[0])
        if self._size is None:
            self._size = size
        if size != self._size:
            raise ValueError(f"pictures must be {self._size} as before, got {size}")
        if self._file is None:
            self._open()
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")
        frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
        self._file.mux(self._stream.encode(frame))
        self._frames += 1

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.mux(self._stream.encode())
            self._file.close()
            self._file = None

    def _path(self) -> Path:
        return self._root / VIDEO_PATH.format(video_key=self._key, **file_indices(self._number))

    def _open(self) -> None:
        import av

        self._path().parent.mkdir(parents=True, exist_ok=True)
        self._file = av.open(str(self._path()), "w")
        options = {"crf": "23", "g": "2", "bf": "0", "preset": "veryfast"}
        self._stream = self._file.add_stream("libx264", rate=self._fps, options=options)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, self._fps)
