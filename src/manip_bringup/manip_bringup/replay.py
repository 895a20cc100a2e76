"""A recorded bag in the camera's place: what to publish, and when."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError

from manip_bringup.cdr import decompress_image, restamped, stamp_ns
from manip_bringup.recorder import COMPRESSED_IMAGE
from manip_core.interfaces import CAMERA_INFO, IMAGE, OBSERVATION

# A longer pause between two recorded messages is a gap in the recording, and not waited for [s].
LONGEST_PAUSE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """What is replayed.

    Attributes:
        bag: Folder of a rosbag2 bag, or an ``.mcap`` file.
        rate: Speed: 1 as recorded, 2 twice as fast.
        loop: Start again at the end.
    """

    bag: str = ""
    rate: float = 1.0
    loop: bool = True

    def __post_init__(self):
        if not self.bag:
            raise ValueError("bag must name a recorded bag, got ''")
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, got {self.rate}")


@dataclass(frozen=True)
class Item:
    """A serialised message of ``topic``, due ``offset`` seconds after the first one."""

    topic: str
    offset: float
    data: bytes

    def message(self, stamp: float) -> bytes:
        """The message as it is to be published, stamped at ``stamp`` [s]."""
        data = decompress_image(self.data) if self.topic == COMPRESSED_IMAGE.name else self.data
        return restamped(data, round(stamp * 1e9))

    @property
    def target(self) -> str:
        """Name of the topic to publish it on."""
        return IMAGE.name if self.topic == COMPRESSED_IMAGE.name else self.topic


class Playback:
    """The messages of a bag that stand in for a camera, in order.

    Pictures and camera_info where the bag has pictures; else the hand observations.

    Attributes:
        topics: What is replayed, by the names in the bag.

    Raises:
        FileNotFoundError: There is no such bag.
        ValueError: It cannot be read, or has nothing to replay.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        if not self.path.exists():
            raise FileNotFoundError(f"no bag at {self.path}")
        try:
            with Reader(self.path) as reader:
                counts = {c.topic: c.msgcount for c in reader.connections}
        except (ReaderError, OSError) as error:
            raise ValueError(f"cannot read the bag {self.path}: {error}") from error
        pictures = [name for name in (COMPRESSED_IMAGE.name, IMAGE.name) if counts.get(name)]
        if pictures:
            self.topics = (*pictures, CAMERA_INFO.name)
        elif counts.get(OBSERVATION.name):
            self.topics = (OBSERVATION.name,)
        else:
            found = sorted(name for name, count in counts.items() if count)
            raise ValueError(
                f"{self.path} has neither pictures ({IMAGE.name}) nor hands "
                f"({OBSERVATION.name}) to replay; it has messages on {found}"
            )

    def __iter__(self) -> Iterator[Item]:
        offset, last = 0.0, None
        with Reader(self.path) as reader:
            connections = [c for c in reader.connections if c.topic in self.topics]
            for connection, _, data in reader.messages(connections):
                stamp = stamp_ns(data)
                if last is not None:
                    offset += min(max((stamp - last) * 1e-9, 0.0), LONGEST_PAUSE_S)
                last = stamp if last is None else max(stamp, last)
                yield Item(connection.topic, offset, bytes(data))
