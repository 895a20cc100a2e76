"""Demonstrations as bags: each episode cut out of its recording, every message as it was."""

from pathlib import Path

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from manip_bringup.bag import CHUNK_BYTES, BagWriter
from manip_bringup.bag_arrays import open_bag
from manip_bringup.cdr import write_text
from manip_bringup.episodes import MARKS, START, Episode, Mark
from manip_core.interfaces import (
    EPISODE_MARK,
    Qos,
)

# Kept before and after: what was commanded when the episode began, and what is still on its way
# when it ends, such as the hand in its last picture [s].
AROUND_S = 0.5


def cut(path: Path, origin: int, episode: Episode, folder: Path) -> int:
    """Write the messages of an episode, and `AROUND_S` before and after it, to a new bag.

    Its marks are written anew, so that what was corrected later is right in the new bag. Topics
    that keep their last message for late joiners (``transient_local``) begin with that.

    Args:
        path: The recording.
        origin: Its first message [ns]; the episode's times count from there.
        episode: What to keep.
        folder: The new bag.

    Returns:
        How many messages of the recording it has.
    """
    start, end = (origin + round(t * 1e9) for t in (episode.start, episode.end))
    first, last = (max(start - round(AROUND_S * 1e9), origin), end + round(AROUND_S * 1e9))
    about = {"outcome": episode.outcome, "task": episode.task}
    written = 0
    with open_bag(path) as reader:
        bag = BagWriter(folder, custom={k: v for k, v in about.items() if v})
        try:
            channels = {c.id: _announce(bag, c) for c in reader.connections}
            kept = [c for c in reader.connections if c.topic != EPISODE_MARK.name]
            marks = [channels[c.id] for c in reader.connections if c.topic == EPISODE_MARK.name][:1]
            for channel in marks:
                bag.write(channel, start, write_text(str(Mark(START, episode.task))))
            for connection, data in _valid_at(kept, reader, first):
                bag.write(channels[connection.id], first, data)
                written += 1
            for connection, received, data in reader.messages(kept, start=first, stop=last + 1):
                bag.write(channels[connection.id], received, bytes(data))
                written += 1
                if len(bag.chunk.records) > CHUNK_BYTES:
                    bag.write_chunk()
            if episode.outcome in MARKS:
                for channel in marks:
                    bag.write(channel, end, write_text(episode.outcome))
        finally:
            bag.close()
    return written


def _valid_at(
    kept: list[Connection], reader: AnyReader, time: int
) -> list[tuple[Connection, bytes]]:
    """The last message before ``time`` [ns] on each topic that keeps it for late joiners."""
    latched = [c for c in kept if _qos(c) is Qos.LATCHED]
    last = {}
    if latched:
        for connection, _, data in reader.messages(latched, stop=time):
            last[connection.id] = connection, bytes(data)
    return list(last.values())


def _announce(bag: BagWriter, connection: Connection) -> int:
    return bag.add_topic(
        connection.topic,
        connection.msgtype,
        _qos(connection),
        connection.msgdef.data,
        connection.digest,
    )


def _qos(connection: Connection) -> Qos:
    profiles = connection.ext.offered_qos_profiles
    if not profiles:
        return Qos.RELIABLE
    if profiles[0].durability.name == "TRANSIENT_LOCAL":
        return Qos.LATCHED
    return Qos.SENSOR if profiles[0].reliability.name == "BEST_EFFORT" else Qos.RELIABLE
