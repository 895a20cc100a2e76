"""An MCAP file that is whole at every instant: kill its writer at any moment, and it still opens.

MCAP ends with a summary and a footer that readers start from, so a file under construction is
normally unreadable. Here the end is written first, some way ahead, and the data grows into a gap
before it. The gap is a record of a private opcode, which the format tells readers to skip:

    magic  header  chunk … chunk | gap …………… | data end  summary A  summary B  footer  magic

Each step writes what nothing refers to yet, and then makes it count by changing a few bytes within
one page, which a killed process cannot leave half done. The footer points to the summary that is
valid while the other is being written. `McapFile.close` puts the end in its usual place.

Format: https://mcap.dev/spec (read 2026-11).
"""

import os
import struct
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
MESSAGE_INDEX, CHUNK_INDEX, STATISTICS, DATA_END, GAP = 0x07, 0x08, 0x0B, 0x0F, 0x80

_PAGE = 4096
_PREFIX = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<BQHIQQ")
_END = _PREFIX.pack(DATA_END, 4) + bytes(4)
_FOOTER_SIZE = _PREFIX.size + 20 + len(MAGIC)
# How far ahead of the data the end is put [bytes]; a reader that streams skips as much.
_AHEAD = 16 << 20
_FIRST_SUMMARY = 64 << 10


def _record(opcode: int, content: bytes) -> bytes:
    return _PREFIX.pack(opcode, len(content)) + content


def _gap(size: int) -> bytes:
    """The first bytes of a gap that is ``size`` bytes in all."""
    return _PREFIX.pack(GAP, size - _PREFIX.size)


def _string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<I", len(data)) + data


@dataclass
class Chunk:
    """Messages that are written together.

    Attributes:
        start, end: Receive times of the first and last message [ns].
    """

    records: bytearray = field(default_factory=bytearray)
    index: dict[int, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    start: int = 2**63 - 1
    end: int = 0

    def add(self, channel: int, stamp: int, data: bytes) -> None:
        """Append a message received at ``stamp`` [ns]."""
        self.index[channel].append((stamp, len(self.records)))
        self.start, self.end = min(self.start, stamp), max(self.end, stamp)
        self.records += _MESSAGE.pack(MESSAGE, 22 + len(data), channel, 0, stamp, stamp)
        self.records += data

    @property
    def messages(self) -> int:
        """How many messages it holds."""
        return sum(map(len, self.index.values()))


class McapFile:
    """Writes chunks of messages; see the module's text for what makes it withstand a kill.

    Every method raises ``OSError`` where the disk is full or fails. What was written before stays
    valid, and the same call may be made again.

    Attributes:
        counts: Messages written, by channel.
        start, end: Receive times of the first and last message written [ns].
    """

    def __init__(self, path: str | Path, library: str = "manip"):
        self.path = Path(path)
        self.counts: dict[int, int] = {}
        self.start, self.end = 2**63 - 1, 0
        self._schemas: dict[str, tuple[int, bytes]] = {}
        self._channels: list[bytes] = []
        # Schemas and channels that no chunk has brought into the data section yet.
        self._unwritten = bytearray()
        self._chunk_indexes: list[bytes] = []
        if self.path.exists():
            raise FileExistsError(f"{self.path} exists already")
        unfinished = self.path.with_suffix(".unfinished")
        self._fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            head = MAGIC + _record(HEADER, _string("ros2") + _string(library))
            self._write(0, head)
            self._data = len(head)
            self._footer = self._end = self._slots = 0
            self._move_end(self._data + _PAGE, _FIRST_SUMMARY)
            unfinished.rename(self.path)
        except OSError:
            os.close(self._fd)
            unfinished.unlink(missing_ok=True)
            raise

    @property
    def size(self) -> int:
        """Bytes of data written."""
        return self._data

    def add_channel(self, topic: str, type_name: str, definition: str, metadata: dict) -> int:
        """Announce a topic with CDR messages; returns the channel to write its messages to."""
        if type_name not in self._schemas:
            key = len(self._schemas) + 1
            content = _string(type_name) + _string("ros2msg") + _string(definition)
            record = _record(SCHEMA, struct.pack("<H", key) + content)
            self._schemas[type_name] = key, record
            self._unwritten += record
        channel = len(self._channels) + 1
        pairs = b"".join(_string(key) + _string(value) for key, value in metadata.items())
        content = struct.pack("<HH", channel, self._schemas[type_name][0])
        content += _string(topic) + _string("cdr") + _string(pairs)
        self._channels.append(_record(CHANNEL, content))
        self._unwritten += self._channels[-1]
        self.counts[channel] = 0
        return channel

    def append(self, chunk: Chunk) -> None:
        """Write a chunk; readers that start from the summary see it after `commit`."""
        head = bytes(self._unwritten)
        records = head + chunk.records
        content = struct.pack("<QQQI", chunk.start, chunk.end, len(records), zlib.crc32(records))
        content += _string("") + struct.pack("<Q", len(records))
        size = _PREFIX.size + len(content) + len(records)
        indexes, offsets = [], []
        after = self._data + size
        for channel, entries in chunk.index.items():
            pairs = b"".join(struct.pack("<QQ", t, offset + len(head)) for t, offset in entries)
            offsets.append(struct.pack("<HQ", channel, after))
            indexes.append(_record(MESSAGE_INDEX, struct.pack("<H", channel) + _string(pairs)))
            after += len(indexes[-1])
        prefix = _PREFIX.pack(CHUNK, len(content) + len(records))
        parts = [content, records, *indexes]
        if after % _PAGE > _PAGE - _PREFIX.size:
            # The next record's first bytes must lie within one page.
            parts.append(_gap(_PREFIX.size))
            after += _PREFIX.size
        if after + _PREFIX.size > self._end:
            self._move_end(after + _AHEAD, self._slot_size())
        parts.append(_gap(self._end - after))
        self._write(self._data + _PREFIX.size, b"".join(parts))
        self._write(self._data, prefix)

        index = struct.pack("<QQQQ", chunk.start, chunk.end, self._data, size)
        index += _string(b"".join(offsets)) + struct.pack("<Q", sum(map(len, indexes)))
        index += _string("") + struct.pack("<QQ", len(records), len(records))
        self._chunk_indexes.append(_record(CHUNK_INDEX, index))
        self._data = after
        self._unwritten.clear()
        for channel, entries in chunk.index.items():
            self.counts[channel] += len(entries)
        self.start, self.end = min(self.start, chunk.start), max(self.end, chunk.end)

    def commit(self) -> None:
        """Make the summary cover all that was appended."""
        summary = self._summary()
        slot = self._slots[1 - self._slots.index(self._active)]
        if len(summary) + _PREFIX.size > self._slot_size():
            self._move_end(max(self._data, self._end), 2 * len(summary))
            return
        self._write(slot, summary + _gap(self._footer - slot - len(summary)))
        self._write(self._footer + _PREFIX.size, struct.pack("<Q", slot))
        self._active = slot

    def close(self) -> None:
        """Commit, and put the end right behind the data."""
        try:
            self.commit()
            summary = self._summary()
            end = (
                _END
                + summary
                + _record(FOOTER, struct.pack("<QQI", self._data + len(_END), 0, 0))
                + MAGIC
            )
            if self._data + len(end) > self._end:
                self._move_end(self._data + len(end), self._slot_size())
            self._write(self._data + _PREFIX.size, end[_PREFIX.size :])
            self._write(self._data, end[: _PREFIX.size])
            os.ftruncate(self._fd, self._data + len(end))
        finally:
            os.close(self._fd)

    def _slot_size(self) -> int:
        return self._slots[1] - self._slots[0]

    def _move_end(self, position: int, slot: int) -> None:
        """Put a new end at ``position`` or behind the present one, with room for summaries."""
        present_eof = self._footer + _FOOTER_SIZE if self._footer else 0
        position = max(position, present_eof)
        slots = (position + len(_END), position + len(_END) + slot)
        eof = -(-(slots[1] + slot + _FOOTER_SIZE) // _PAGE) * _PAGE
        footer = eof - _FOOTER_SIZE
        active = self._active if present_eof else slots[0]
        content = struct.pack("<QQI", active, 0, 0)
        # Within one page, and behind the old end: from here on this is the file's footer.
        self._write(footer, _record(FOOTER, content) + MAGIC)
        summary = self._summary()
        self._write(position, _END + summary + _gap(footer - slots[0] - len(summary)))
        self._write(footer + _PREFIX.size, struct.pack("<Q", slots[0]))
        self._write(self._data, _gap(position - self._data))
        self._footer, self._end, self._slots, self._active = footer, position, slots, slots[0]

    def _summary(self) -> bytes:
        statistics = struct.pack(
            "<QHIIIIQQ",
            sum(self.counts.values()),
            len(self._schemas),
            len(self._channels),
            0,
            0,
            len(self._chunk_indexes),
            self.start if self._chunk_indexes else 0,
            self.end,
        )
        counts = b"".join(struct.pack("<HQ", key, n) for key, n in self.counts.items())
        schemas = (record for _, record in self._schemas.values())
        return b"".join((*schemas, *self._channels, *self._chunk_indexes)) + _record(
            STATISTICS, statistics + _string(counts)
        )

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, offset)
            view = view[written:]
            offset += written
