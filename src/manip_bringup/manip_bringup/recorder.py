"""Records serialised messages to a bag in a thread of its own, and bears a full disk."""

import errno
import shutil
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path

from manip_bringup import message_definitions
from manip_bringup.bag import CHUNK_BYTES, BagWriter, free_folder
from manip_bringup.cdr import compress_image
from manip_core.interfaces import (
    IMAGE,
    OPTIONAL_TOPICS,
    ROBOT_IMAGE,
    TOPICS,
    Qos,
    Topic,
    missing,
)

COMPRESSED_IMAGE = Topic(f"{IMAGE.name}/compressed", "sensor_msgs/msg/CompressedImage", Qos.SENSOR)
IMAGE_CHOICES = ("jpeg", "raw", "none")
_KNOWN = tuple({topic.name: topic for topic in (*TOPICS, *OPTIONAL_TOPICS)}.values())


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """What is recorded and how.

    Attributes:
        directory: Folder of the bag; a number is put behind the name where it exists already.
        images: Camera pictures as ``jpeg`` (about 5 MB/s at 1280x720 and 30 frames/s), ``raw``
            (83 MB/s) or ``none``.
        quality: JPEG quality, 1 to 100.
        flush_s: A killed recorder loses at most what came within this time [s].
        keep_free_mb: Space left free on the disk for everyone else [MB].
        memory_mb: Messages held while the disk is slow; what comes on top is dropped [MB].
    """

    directory: str = ""
    images: str = "jpeg"
    quality: int = 90
    flush_s: float = 0.5
    keep_free_mb: float = 200.0
    memory_mb: float = 256.0
    retry_s: float = 2.0

    def __post_init__(self):
        if not self.directory:
            raise ValueError("directory must name the folder to record to, got ''")
        if self.images not in IMAGE_CHOICES:
            raise ValueError(f"images must be one of {IMAGE_CHOICES}, got {self.images!r}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be within 1 and 100, got {self.quality}")
        for name in ("flush_s", "memory_mb", "retry_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.keep_free_mb >= 0:
            raise ValueError(f"keep_free_mb must not be negative, got {self.keep_free_mb}")


def topics(images: str = "jpeg") -> tuple[Topic, ...]:
    """The topics that are listened to: all of the suite, optional ones whose types are installed,
    and the camera's picture as asked.

    Not the robot's rendered picture: it is made only while somebody listens, and can be made again
    from the recorded joints.
    """
    left_out = {ROBOT_IMAGE.name} | ({IMAGE.name} if images == "none" else set())
    left_out |= {topic.name for topic in OPTIONAL_TOPICS if missing(topic)}
    return tuple(topic for topic in _KNOWN if topic.name not in left_out)


class Recorder:
    """Takes messages at once (`put`) and writes them from its own thread.

    Attributes:
        folder: The bag.
        problem: What keeps it from writing just now, or an empty string.
        written, dropped: Messages by topic that are on disk, and that were lost.
    """

    def __init__(self, config: RecorderConfig, distro: str = "jazzy"):
        self.config = config
        self.folder = free_folder(Path(config.directory).expanduser())
        self.problem = ""
        self.dropped: Counter[str] = Counter()
        try:
            self._bag = BagWriter(self.folder, distro)
        except OSError as error:
            raise RuntimeError(f"cannot record to {self.folder}: {error}") from error
        self._channels: dict[str, int] = {}
        self._topics = {topic.name: topic for topic in (*_KNOWN, COMPRESSED_IMAGE)}
        for topic in topics(config.images):
            if topic.name != IMAGE.name or config.images == "raw":
                self._channel(topic)
        if config.images == "jpeg":
            self._channel(COMPRESSED_IMAGE)
        self._queue: deque[tuple[str, int, bytes]] = deque()
        self._queued = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._bag.file.size

    @property
    def written(self) -> dict[str, int]:
        """Messages on disk, by topic."""
        counts = self._bag.file.counts
        return {name: counts[channel] for name, channel in list(self._channels.items())}

    def put(self, topic: str, stamp: int, data: bytes) -> None:
        """Take a serialised message received at ``stamp`` [ns]; never waits."""
        with self._lock:
            if self.problem or self._queued + len(data) > self.config.memory_mb * 1e6:
                self.dropped[topic] += 1
                return
            self._queue.append((topic, stamp, data))
            self._queued += len(data)

    def close(self) -> None:
        """Write what is held and end the bag."""
        self._stopping.set()
        self._thread.join()
        try:
            self._bag.close()
        except OSError as error:
            self.problem = f"the end of {self.folder} could not be written: {error}"

    def _channel(self, topic: Topic) -> int:
        if topic.name not in self._channels:
            definition = message_definitions.find(topic.type)
            self._channels[topic.name] = self._bag.add_topic(
                topic.name, topic.type, topic.qos, definition.text, definition.hash
            )
        return self._channels[topic.name]

    def _run(self) -> None:
        while not self._stopping.wait(self.config.flush_s):
            self._drain()
            self._save(self._bag.flush)
        self._drain()

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    return
                topic, stamp, data = self._queue.popleft()
                self._queued -= len(data)
            if topic == IMAGE.name and self.config.images == "jpeg":
                try:
                    data = compress_image(data, self.config.quality)
                    topic = COMPRESSED_IMAGE.name
                except ValueError:
                    # What JPEG cannot hold is kept as it came.
                    pass
            self._bag.write(self._channel(self._topics[topic]), stamp, data)
            if len(self._bag.chunk.records) > CHUNK_BYTES:
                self._save(self._bag.write_chunk)

    def _save(self, step) -> None:
        if self.problem and time.monotonic() < self._retry_at:
            return
        try:
            free = shutil.disk_usage(self.folder).free
            if free < self.config.keep_free_mb * 1e6:
                raise OSError(
                    errno.ENOSPC,
                    f"{free / 1e6:.0f} MB free, {self.config.keep_free_mb:g} MB are left to others",
                )
            step()
        except OSError as error:
            self._retry_at = time.monotonic() + self.config.retry_s
            self.problem = (
                f"recording to {self.folder} stands still: {error.strerror or error}; "
                "what was written is safe, and it goes on when there is room"
            )
            return
        self.problem = ""
