"""A rosbag2 bag: one MCAP file and the ``metadata.yaml`` beside it, both whole at every instant."""

import json
from dataclasses import dataclass
from pathlib import Path

from manip_bringup.mcap_file import Chunk, McapFile
from manip_core.interfaces import Qos

# A chunk is written when it is as large, so that little is held in memory [bytes].
CHUNK_BYTES = 4 << 20

_FOREVER = "{sec: 9223372036, nsec: 854775807}"
_QOS = {
    Qos.SENSOR: (2, "best_effort", "volatile"),
    Qos.RELIABLE: (10, "reliable", "volatile"),
    Qos.LATCHED: (1, "reliable", "transient_local"),
}


def qos_yaml(qos: Qos) -> str:
    """Offered quality of service as rosbag2 writes it, in YAML's flow style."""
    depth, reliability, durability = _QOS[qos]
    return (
        f"[{{history: keep_last, depth: {depth}, reliability: {reliability}, "
        f"durability: {durability}, deadline: {_FOREVER}, lifespan: {_FOREVER}, "
        f"liveliness: automatic, liveliness_lease_duration: {_FOREVER}, "
        "avoid_ros_namespace_conventions: false}]"
    )


def free_folder(wanted: str | Path) -> Path:
    """``wanted`` itself, or with the first number behind it that is not taken."""
    wanted = Path(wanted)
    folder, number = wanted, 2
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        folder, number = wanted.with_name(f"{wanted.name}_{number}"), number + 1
    return folder


@dataclass(frozen=True)
class _Channel:
    topic: str
    type: str
    hash: str
    qos: str


class BagWriter:
    """Writes messages, grouped into chunks, to a new folder; ``custom`` is kept in its metadata.

    Methods raise ``OSError`` where the disk is full or fails; nothing written before is harmed,
    and `flush` may be called again.
    """

    def __init__(
        self, folder: str | Path, distro: str = "jazzy", custom: dict[str, str] | None = None
    ):
        self.folder = Path(folder)
        # JSON is YAML, whatever the text.
        self._custom = json.dumps(custom or {}, ensure_ascii=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = McapFile(self.folder / f"{self.folder.name}_0.mcap")
        self.chunk = Chunk()
        self._channels: dict[int, _Channel] = {}
        self._distro = distro
        self._write_metadata()

    def add_topic(self, topic: str, type_name: str, qos: Qos, definition: str, type_hash: str):
        """Announce a topic; returns the channel for `write`."""
        offered = qos_yaml(qos)
        metadata = {"offered_qos_profiles": offered, "topic_type_hash": type_hash}
        channel = self.file.add_channel(topic, type_name, definition, metadata)
        self._channels[channel] = _Channel(topic, type_name, type_hash, offered)
        return channel

    def write(self, channel: int, stamp: int, data: bytes) -> None:
        """Take a serialised message received at ``stamp`` [ns]; it is on disk after `flush`."""
        self.chunk.add(channel, stamp, data)

    def write_chunk(self) -> None:
        """Write what was taken as a chunk, without bringing the summary up to date."""
        if self.chunk.index:
            self.file.append(self.chunk)
            self.chunk = Chunk()

    def flush(self) -> None:
        """Write what was taken: from here on a reader sees it, whatever becomes of this process."""
        self.write_chunk()
        self.file.commit()
        self._write_metadata()

    def close(self) -> None:
        """Flush and end the bag."""
        try:
            self.write_chunk()
        finally:
            self.file.close()
            self._write_metadata()

    def _write_metadata(self) -> None:
        file = self.file
        total = sum(file.counts.values())
        start, duration = (file.start, file.end - file.start) if total else (2**63 - 1, 0)
        topics = "".join(
            f"    - topic_metadata:\n"
            f"        name: {channel.topic}\n"
            f"        type: {channel.type}\n"
            f"        serialization_format: cdr\n"
            f"        offered_qos_profiles: {channel.qos}\n"
            f"        type_description_hash: {channel.hash}\n"
            f"      message_count: {file.counts[key]}\n"
            for key, channel in self._channels.items()
        )
        times = (
            f"starting_time: {{nanoseconds_since_epoch: {start}}}",
            f"duration: {{nanoseconds: {duration}}}",
            f"message_count: {total}",
        )
        text = (
            "rosbag2_bagfile_information:\n"
            "  version: 9\n"
            "  storage_identifier: mcap\n"
            f"  {times[1]}\n  {times[0]}\n  {times[2]}\n"
            f"  topics_with_message_count:{' []' if not topics else ''}\n{topics}"
            "  compression_format: ''\n"
            "  compression_mode: ''\n"
            f"  relative_file_paths: ['{file.path.name}']\n"
            "  files:\n"
            f"    - path: '{file.path.name}'\n"
            f"      {times[0]}\n      {times[1]}\n      {times[2]}\n"
            f"  custom_data: {self._custom}\n"
            f"  ros_distro: {self._distro}\n"
        )
        unfinished = self.folder / "metadata.yaml.unfinished"
        unfinished.write_text(text)
        unfinished.replace(self.folder / "metadata.yaml")
