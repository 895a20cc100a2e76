"""The bag is whole at every instant: after a kill, on a full disk, between any two writes."""

import io
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import mcap.reader
import numpy as np
import pytest
import yaml
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from manip_bringup import cdr, mcap_file, message_definitions
from manip_bringup.bag import BagWriter, free_folder
from manip_bringup.mcap_file import Chunk, McapFile
from manip_bringup.recorder import COMPRESSED_IMAGE, Recorder, RecorderConfig, topics
from manip_core.interfaces import (
    EPISODE_MARK,
    IMAGE,
    JOINT_STATES,
    ROBOT_IMAGE,
    TARGET,
    TOPICS,
    Qos,
)

STORE = get_typestore(Stores.ROS2_JAZZY)
FLOATS = "std_msgs/msg/Float64MultiArray"
STRING = "string data\n"


def text_message(text: str) -> bytes:
    return bytes(
        STORE.serialize_cdr(STORE.types["std_msgs/msg/String"](text), "std_msgs/msg/String")
    )


def image_message(picture: np.ndarray, stamp: int = 0, encoding: str = "bgr8") -> bytes:
    types = STORE.types
    header = types["std_msgs/msg/Header"](
        types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9)), "camera_optical_frame"
    )
    height, width, channels = picture.shape
    image = types["sensor_msgs/msg/Image"](
        header, height, width, encoding, 0, width * channels, picture.ravel()
    )
    return bytes(STORE.serialize_cdr(image, "sensor_msgs/msg/Image"))


def read_texts(path: Path) -> list[str]:
    """Every message of a bag by each of the readers, which must agree."""
    with Reader(path) as bag:
        by_rosbags = [
            STORE.deserialize_cdr(data, connection.msgtype).data
            for connection, _, data in bag.messages(bag.connections)
        ]
    (file,) = path.glob("*.mcap")
    with file.open("rb") as stream:
        seeking = mcap.reader.make_reader(stream, decoder_factories=[DecoderFactory()])
        by_mcap = [message.data for *_, message in seeking.iter_decoded_messages()]
    assert by_mcap == by_rosbags
    return by_rosbags


def streamed(file: Path) -> list[int]:
    """Receive times as a reader finds them that cannot seek."""
    reader = mcap.reader.NonSeekingReader(io.BytesIO(file.read_bytes()), validate_crcs=True)
    return [message.log_time for *_, message in reader.iter_messages(log_time_order=False)]


def make_bag(folder: Path) -> tuple[BagWriter, int]:
    bag = BagWriter(folder)
    return bag, bag.add_topic("/text", "std_msgs/msg/String", Qos.RELIABLE, STRING, "RIHS01_00")


@pytest.mark.parametrize("closed", [True, False])
def test_readers_see_what_was_flushed(tmp_path, closed):
    bag, channel = make_bag(tmp_path / "bag")
    for i in range(20):
        bag.write(channel, 1000 + i, text_message(f"message {i}"))
        if i % 5 == 4:
            bag.flush()
    if closed:
        bag.close()
    assert read_texts(tmp_path / "bag") == [f"message {i}" for i in range(20)]
    assert streamed(tmp_path / "bag" / "bag_0.mcap") == list(range(1000, 1020))
    with Reader(tmp_path / "bag") as reader:
        assert (reader.start_time, reader.end_time) == (1000, 1020)
        assert reader.connections[0].digest == "RIHS01_00"
        assert reader.connections[0].ext.offered_qos_profiles[0].depth == 10


def test_messages_that_waited_are_read_where_they_belong(tmp_path):
    """A busy recorder gets to old messages of one topic after new ones of another."""
    bag, channel = make_bag(tmp_path / "bag")
    stamps = [1000 * second + i for second in (3, 1, 4, 2, 0) for i in range(5)]
    for i, stamp in enumerate(stamps):
        bag.write(channel, stamp, text_message(str(stamp)))
        if i % 5 == 4:
            bag.write_chunk()
    bag.close()
    assert read_texts(tmp_path / "bag") == [str(stamp) for stamp in sorted(stamps)]


def test_closing_leaves_no_gap_behind_the_data(tmp_path):
    bag, channel = make_bag(tmp_path / "bag")
    bag.write(channel, 1, text_message("one"))
    bag.close()
    assert (tmp_path / "bag" / "bag_0.mcap").stat().st_size < 4096


def test_a_bag_without_messages_opens(tmp_path):
    bag, _ = make_bag(tmp_path / "bag")
    assert read_texts(tmp_path / "bag") == []
    bag.close()
    assert read_texts(tmp_path / "bag") == []


def test_the_file_is_valid_between_any_two_writes(tmp_path, monkeypatch):
    """Whatever write is the last one, both kinds of reader find what was committed before."""
    monkeypatch.setattr(mcap_file, "_AHEAD", 3000)
    monkeypatch.setattr(mcap_file, "_FIRST_SUMMARY", 400)
    committed, checked = [], 0

    def check():
        nonlocal checked
        with Reader(file) as reader:
            seen = [stamp for _, stamp, _ in reader.messages(reader.connections)]
        assert seen[: len(committed)] == committed
        assert streamed(file)[: len(committed)] == committed
        checked += 1

    class Watched(McapFile):
        def _write(self, offset, data):
            super()._write(offset, data)
            if self.path.exists():
                check()

    file = tmp_path / "watched.mcap"
    mcap_ = Watched(file)
    channel = mcap_.add_channel("/text", "std_msgs/msg/String", STRING, {})
    rng = np.random.default_rng(1)
    stamp = 0
    for _ in range(60):
        chunk, stamps = Chunk(), []
        for _ in range(rng.integers(1, 4)):
            stamp += 1
            stamps.append(stamp)
            chunk.add(channel, stamp, text_message("x" * int(rng.integers(0, 900))))
        mcap_.append(chunk)
        mcap_.commit()
        committed += stamps
    mcap_.close()
    assert checked > 200
    assert streamed(file) == committed == list(range(1, stamp + 1))


def test_changes_that_count_stay_within_a_page(tmp_path, monkeypatch):
    """A killed process may leave a write half done at a page's edge, never within a page."""
    writes = []

    class Watched(McapFile):
        def _write(self, offset, data):
            writes.append((offset, len(data)))
            super()._write(offset, data)

    mcap_ = Watched(tmp_path / "a.mcap")
    channel = mcap_.add_channel("/text", "std_msgs/msg/String", STRING, {})
    for stamp in range(300):
        chunk = Chunk()
        chunk.add(channel, stamp, bytes(100 + 7 * stamp % 1000))
        mcap_.append(chunk)
        mcap_.commit()
    small = [(offset, size) for offset, size in writes if size <= 9]
    assert len(small) > 600
    assert all(offset % 4096 + size <= 4096 for offset, size in small)


_WRITER = """
import sys, time
sys.path[:0] = {path!r}
from manip_bringup.recorder import Recorder, RecorderConfig
from manip_core.interfaces import ROBOT_DESCRIPTION as topic
recorder = Recorder(RecorderConfig(directory={folder!r}, keep_free_mb=0.0))
data = {data!r}
sent = 0
while True:
    recorder.put(topic.name, time.time_ns(), data)
    sent += 1
    if sent % 50 == 0:
        print(sent, time.time_ns(), flush=True)
    time.sleep(0.0005)
"""


@pytest.mark.parametrize("seconds", [0.9, 1.7, 2.3])
def test_kill_loses_less_than_the_last_second(tmp_path, seconds, ament):
    folder = tmp_path / "killed"
    code = _WRITER.format(path=sys.path, folder=str(folder), data=text_message("y" * 2000))
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert writer.stdout.readline()
    time.sleep(seconds)
    killed_at = time.time_ns()
    writer.send_signal(signal.SIGKILL)
    told = writer.stdout.read()
    # The last line may have been cut.
    lines = told[: told.rfind("\n") + 1].splitlines()
    writer.wait()
    sent_before = [
        int(line.split()[0]) for line in lines if int(line.split()[1]) < killed_at - 10**9
    ]
    with AnyReader([folder]) as reader:
        stamps = [stamp for _, stamp, _ in reader.messages()]
    assert len(stamps) >= (sent_before[-1] if sent_before else 0)
    assert killed_at - stamps[-1] < 10**9
    (file,) = folder.glob("*.mcap")
    assert streamed(file) == stamps


@pytest.fixture
def ament(monkeypatch):
    """The prefixes that message definitions are found in, as scripts/env.sh sets them."""
    if not os.environ.get("AMENT_PREFIX_PATH"):
        install = Path(__file__).resolve().parents[2] / "install"
        if not install.exists():
            pytest.skip("the workspace is not built")
        monkeypatch.setenv("AMENT_PREFIX_PATH", f"{install}{os.pathsep}{sys.prefix}")
    message_definitions.find.cache_clear()


def wait_for(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_full_disk_is_reported_and_recording_goes_on_when_there_is_room(
    tmp_path, monkeypatch, ament
):
    room = {"left": 300_000}
    real = os.pwrite

    def pwrite(fd, data, offset):
        if room["left"] < len(data):
            raise OSError(28, "No space left on device")
        room["left"] -= len(data)
        return real(fd, data, offset)

    monkeypatch.setattr(mcap_file.os, "pwrite", pwrite)
    config = RecorderConfig(
        directory=str(tmp_path / "bag"), keep_free_mb=0.0, flush_s=0.02, retry_s=0.1
    )
    recorder = Recorder(config)
    name, data = JOINT_STATES.name, bytes(8) + bytes(5000)
    sent = 0
    while not recorder.problem:
        recorder.put(name, sent, data)
        sent += 1
        time.sleep(0.002)
        assert sent < 2000
    assert "No space left" in recorder.problem
    recorder.put(name, 10**6, data)
    assert recorder.dropped[name] == 1
    with Reader(tmp_path / "bag") as reader:
        before = sum(1 for _ in reader.messages(reader.connections))
    # The disk may fill up behind a chunk, before the summary tells of it.
    assert 0 < before <= recorder.written[name]

    room["left"] = 10**8
    assert wait_for(lambda: not recorder.problem)
    recorder.put(name, 2 * 10**6, data)
    recorder.close()
    with Reader(tmp_path / "bag") as reader:
        stamps = [stamp for _, stamp, _ in reader.messages(reader.connections)]
    # All that was taken is there; what came while the disk was full was counted as lost.
    assert stamps == [*range(sent), 2 * 10**6]


def test_real_limit_on_the_file_size(tmp_path, ament):
    """The kernel refuses to let the file grow: the bag stays valid, the process lives."""
    code = f"""
import resource, sys, time
sys.path[:0] = {sys.path!r}
from manip_bringup.recorder import Recorder, RecorderConfig
resource.setrlimit(resource.RLIMIT_FSIZE, (18 << 20, 18 << 20))
config = RecorderConfig(directory={str(tmp_path / "bag")!r}, keep_free_mb=0.0, flush_s=0.05)
recorder = Recorder(config)
for i in range(400):
    recorder.put("/joint_states", i, bytes(100_000))
    time.sleep(0.005)
assert recorder.problem, "no problem reported"
print(recorder.written["/joint_states"], recorder.dropped["/joint_states"])
print(recorder.problem, file=sys.stderr)
recorder.close()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stderr
    written, dropped = map(int, done.stdout.split())
    with Reader(tmp_path / "bag") as reader:
        stamps = [stamp for _, stamp, _ in reader.messages(reader.connections)]
    assert stamps == list(range(len(stamps)))
    assert len(stamps) >= written > 50
    assert dropped > 50


def test_leaves_space_to_others(tmp_path, ament):
    recorder = Recorder(
        RecorderConfig(directory=str(tmp_path / "bag"), keep_free_mb=1e9, flush_s=0.02)
    )
    assert wait_for(lambda: recorder.problem)
    assert "left to others" in recorder.problem
    recorder.close()


def test_pictures_become_jpeg_and_come_back(tmp_path, ament):
    picture = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8), (0, 0), 5
    )
    recorder = Recorder(
        RecorderConfig(directory=str(tmp_path / "bag"), keep_free_mb=0.0, flush_s=0.05)
    )
    recorder.put(IMAGE.name, 7, image_message(picture, 1_500_000_000))
    odd = image_message(np.zeros((4, 4, 4), np.uint8), encoding="bgra8")
    recorder.put(IMAGE.name, 8, odd)
    recorder.close()
    assert recorder.written[COMPRESSED_IMAGE.name] == recorder.written[IMAGE.name] == 1
    with AnyReader([tmp_path / "bag"]) as reader:
        by_topic = {c.topic: data for c, _, data in reader.messages()}
        compressed = reader.deserialize(by_topic[COMPRESSED_IMAGE.name], COMPRESSED_IMAGE.type)
    assert by_topic[IMAGE.name] == odd
    assert compressed.header.stamp.sec == 1 and compressed.format.startswith("bgr8; jpeg")
    back = STORE.deserialize_cdr(
        cdr.decompress_image(by_topic[COMPRESSED_IMAGE.name]), "sensor_msgs/msg/Image"
    )
    assert (back.encoding, back.header.frame_id) == ("bgr8", "camera_optical_frame")
    difference = back.data.reshape(picture.shape).astype(int) - picture
    assert np.abs(difference).mean() < 3.0


@pytest.mark.parametrize("encoding, channels", [("bgr8", 3), ("rgb8", 3), ("mono8", 1)])
def test_cdr_agrees_with_rosbags(encoding, channels):
    picture = np.arange(5 * 7 * channels, dtype=np.uint8).reshape(5, 7, channels)
    message = image_message(picture, 12_345_678_901, encoding)
    read, found, frame = cdr.read_image(message)
    assert (read == picture).all() and (found, frame) == (encoding, "camera_optical_frame")
    assert cdr.write_image(picture, encoding, frame, 12_345_678_901) == message
    assert cdr.stamp_ns(message) == 12_345_678_901
    assert cdr.stamp_ns(cdr.restamped(message, 99)) == 99


@pytest.mark.parametrize("cut", [3, 20, 60])
def test_cdr_rejects_what_is_cut_short(cut):
    message = image_message(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises((ValueError, struct.error)):
        cdr.read_image(message[:cut])


def test_definitions_agree_with_rosbags(ament):
    for name in ("sensor_msgs/msg/Image", "diagnostic_msgs/msg/DiagnosticArray", FLOATS):
        definition = message_definitions.find(name)
        assert definition.hash == STORE.hash_rihs01(name)
        store = get_typestore(Stores.EMPTY)
        from rosbags.typesys import get_types_from_msg

        store.register(get_types_from_msg(definition.text.split("=" * 80)[0], name))
    with pytest.raises(FileNotFoundError, match="no msg file of nowhere"):
        message_definitions.find("nowhere/msg/Nothing")


def test_our_own_messages_are_decoded_from_the_bag_alone(tmp_path, ament):
    """Both libraries must understand manip_msgs from the definition in the bag."""
    try:
        definition = message_definitions.find(TARGET.type)
    except FileNotFoundError:
        pytest.skip("manip_msgs is not built")
    bag = BagWriter(tmp_path / "bag")
    channel = bag.add_topic(TARGET.name, TARGET.type, TARGET.qos, definition.text, definition.hash)
    data = b"\0\1\0\0" + struct.pack("<iI", 3, 4) + struct.pack("<I", 1) + b"\0" * 4
    # Lengths are aligned to four bytes, numbers of eight to eight.
    data += struct.pack("<II", 1, 5) + b"ffj0\0" + b"\0" * 3
    data += struct.pack("<I4xdf", 1, 0.5, 0.25)
    bag.write(channel, 10, data)
    bag.close()
    with AnyReader([tmp_path / "bag"]) as reader:
        ((connection, _, raw),) = reader.messages()
        target = reader.deserialize(raw, connection.msgtype)
    assert (target.header.stamp.sec, target.names, target.confidence) == (3, ["ffj0"], 0.25)
    assert target.positions.tolist() == [0.5]
    with (tmp_path / "bag" / "bag_0.mcap").open("rb") as stream:
        reader = mcap.reader.make_reader(stream, decoder_factories=[DecoderFactory()])
        ((*_, target),) = reader.iter_decoded_messages()
    assert (list(target.names), list(target.positions), target.confidence) == (
        ["ffj0"],
        [0.5],
        0.25,
    )


def test_what_the_operator_marks_is_recorded():
    assert EPISODE_MARK in topics("none")
    assert {topic.name for topic in TOPICS} - {ROBOT_IMAGE.name} <= {t.name for t in topics("raw")}


def test_metadata_keeps_what_is_said_about_a_bag(tmp_path):
    about = {"task": "put it: 'here', \"there\"\n# and #there", "outcome": "success"}
    BagWriter(tmp_path / "bag", custom=about).close()
    described = yaml.safe_load((tmp_path / "bag/metadata.yaml").read_text())
    assert described["rosbag2_bagfile_information"]["custom_data"] == about
    with Reader(tmp_path / "bag"):
        pass


def test_never_writes_over_another_bag(tmp_path):
    assert free_folder(tmp_path / "run") == tmp_path / "run"
    for expected in ("run", "run_2", "run_3"):
        bag, _ = make_bag(free_folder(tmp_path / "run"))
        bag.close()
        assert bag.folder == tmp_path / expected


@pytest.mark.parametrize(
    "wrong", [{"directory": ""}, {"images": "png"}, {"quality": 0}, {"flush_s": 0.0}]
)
def test_config_checks_itself(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RecorderConfig(**{"directory": "x", **wrong})
