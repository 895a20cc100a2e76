"""The videos and frames of a split that can be used, and the reading of their labels."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand import SIDES
from manip_training.data.layout import (
    HEIGHT,
    SERIALS,
    WIDTH,
    BadData,
    Sequence,
    Skipped,
    list_sequences,
    read_intrinsics,
    read_sequence,
    split,
)

BOTH = "both"
# No hand is nearer to a camera of the data set [m].
NEAREST = 0.1
_THREADS = 8
_CHUNK = 1024


@dataclass(frozen=True)
class Video:
    """The pictures of one camera in one sequence."""

    sequence: Sequence
    serial: str
    camera: CameraIntrinsics

    @property
    def name(self) -> str:
        """``subject/sequence/serial``."""
        return f"{self.sequence.name}/{self.serial}"

    def picture(self, frame: int) -> Path:
        """Of the colour picture."""
        return self.sequence.folder / self.serial / f"color_{frame:06d}.jpg"

    def labels(self, frame: int) -> Path:
        """Of the label file."""
        return self.sequence.folder / self.serial / f"labels_{frame:06d}.npz"


def read_labels(video: Video, frame: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Some arrays of a frame's label file, float32; the others stay on disk.

    Raises:
        BadData: The file or an array is missing, truncated, of another shape or not finite.
    """
    shapes = {
        "joint_3d": [(1, 21, 3)],
        "pose_m": [(1, 51), (1, 48)],
        "pose_y": [(len(video.sequence.ycb_ids), 3, 4)],
    }
    path = video.labels(frame)
    try:
        with np.load(path) as stored:
            found = {name: stored[name].astype(np.float32) for name in names}
    except FileNotFoundError as error:
        raise BadData("label file is missing") from error
    except KeyError as error:
        raise BadData("label file lacks an array") from error
    except (OSError, ValueError, EOFError, BadZipFile, ZlibError) as error:
        raise BadData("label file is truncated or no npz") from error
    for name, value in found.items():
        if value.shape not in shapes[name]:
            expected = " or ".join(map(str, shapes[name]))
            raise BadData(f"{name} must be {expected}, got {value.shape}")
        if not np.isfinite(value).all():
            raise BadData(f"{name} is not finite")
    return found


def find_videos(root: Path, setup: str, part: str, side: str, skipped: Skipped) -> list[Video]:
    """The videos of a split that are there, sorted by name.

    Args:
        root: Folder of the tree.
        setup, part: The split.
        side: ``left``, ``right`` or ``both``.
        skipped: Takes note of what is corrupt. A camera that no sequence has is not.
    """
    wanted = split(setup, part)
    sequences = []
    for name in list_sequences(root, wanted):
        try:
            sequence = read_sequence(root, name)
        except BadData as error:
            skipped.add(name, str(error))
            continue
        if side in (BOTH, SIDES[sequence.side]):
            sequences.append(sequence)
    videos = []
    for serial in (SERIALS[i] for i in sorted(wanted.serials)):
        having = [s for s in sequences if (s.folder / serial).is_dir()]
        if not having:
            continue
        try:
            camera = read_intrinsics(root, serial)
        except BadData as error:
            skipped.add(serial, str(error))
            continue
        videos += [Video(s, serial, camera) for s in having]
        skipped.extend(
            (f"{s.name}/{serial}", "folder is missing") for s in sequences if s not in having
        )
    return sorted(videos, key=lambda video: video.name)


def find_frames(
    videos: list[Video], stride: int, limit: int | None, skipped: Skipped
) -> tuple[np.ndarray, int]:
    """The frames that show a labelled hand.

    Only the joints of each label file are read, and the two ends of each picture. Of a tree that
    holds more than ``limit``, no more are looked at than needed.

    Returns:
        ``(N, 2)`` int64 index of the video and frame, in order, and how many frames looked at show
        no hand.
    """
    candidates = [np.zeros((0, 2), dtype=np.int64)]
    for i, video in enumerate(videos):
        frames = np.arange(0, video.sequence.frames, stride)
        candidates.append(np.stack((np.full_like(frames, i), frames), axis=1))
    index = np.concatenate(candidates)
    if limit is not None:
        index = index[np.random.default_rng(0).permutation(len(index))]
    kept, without_hand, start = [], 0, 0
    with ThreadPoolExecutor(_THREADS) as pool:
        while start < len(index) and (limit is None or len(kept) < limit):
            size = _CHUNK if limit is None else limit - len(kept)
            chunk = index[start : start + size]
            start += len(chunk)
            verdicts = pool.map(lambda row: _has_hand(videos[row[0]], int(row[1])), chunk)
            for row, verdict in zip(chunk, verdicts, strict=True):
                if isinstance(verdict, str):
                    skipped.add(f"{videos[row[0]].name} frame {row[1]}", verdict)
                elif verdict:
                    kept.append(row)
                else:
                    without_hand += 1
    found = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return found[np.lexsort((found[:, 1], found[:, 0]))], without_hand


def _has_hand(video: Video, frame: int) -> bool | str:
    """A labelled hand is in the picture; or in words what is corrupt."""
    try:
        joints = read_labels(video, frame, ("joint_3d",))["joint_3d"][0]
        _check_jpeg(video.picture(frame))
    except BadData as error:
        return str(error)
    # Chao et al. 2021: all values are -1 where there is no hand.
    if (joints == -1).all():
        return False
    if not (joints[:, 2] > NEAREST).all():
        return f"joint_3d has points less than {NEAREST} m before the camera"
    pixels = video.camera.project(joints)
    return bool(((pixels > -0.5) & (pixels < (WIDTH - 0.5, HEIGHT - 0.5))).all(axis=1).any())


def _check_jpeg(path: Path) -> None:
    """Raise ``BadData`` where a JPEG lacks its first or last marker, as after a broken download."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
            file.seek(-2, 2)
            end = file.read(2)
    except FileNotFoundError as error:
        raise BadData("picture is missing") from error
    except OSError as error:
        raise BadData("picture is empty or unreadable") from error
    if start != b"\xff\xd8" or end != b"\xff\xd9":
        raise BadData("picture is truncated or no JPEG")
