"""A bag as a recording leaves it, of a motion that is known exactly."""

from pathlib import Path

import cv2
import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from manip_bringup.bag import BagWriter
from manip_bringup.cdr import compress_image, write_image, write_text
from manip_bringup.recorder import COMPRESSED_IMAGE
from manip_core import interfaces as topics
from manip_core.robot_model import ARM_JOINTS, HAND_JOINTS, JOINT_NAMES, NUM_JOINTS, home

STORE = get_typestore(Stores.ROS2_JAZZY)
_MESSAGES = Path(__file__).resolve().parents[1] / "src/manip_msgs/msg"
HAND = "manip_msgs/msg/HandObservation"
TARGET = "manip_msgs/msg/JointTarget"
for _name in (HAND, TARGET):
    _file = _MESSAGES / f"{_name.rsplit('/', 1)[-1]}.msg"
    STORE.register(get_types_from_msg(_file.read_text(), _name))

# Exposure of the first picture [ns]: some day in 2026.
EPOCH = 1_790_000_000_000_000_000
SIZE = (48, 64)
# Whether arm and hand tell their joints on topics of their own, by their drivers' names.
APART = False
COMMAND_HZ = 125
# From the exposure to when each was received [s].
DELAYS = {"camera": 0.004, "hand": 0.020, "smoothed": 0.021, "target": 0.024, "command": 0.030}


def motion(times: np.ndarray) -> np.ndarray:
    """Joint positions ``(n, 22)`` [rad] at times [s]: gentle, and different for every joint."""
    joints = np.arange(NUM_JOINTS)
    turn = 2.0 * np.pi * (0.3 + 0.05 * joints) * np.asarray(times)[:, None]
    return home() + 0.08 * (np.sin(turn + joints) - np.sin(joints))


def picture(number: int) -> np.ndarray:
    """A picture whose brightness says its number, modulo 16; a column is darker on the left."""
    pixels = np.full((*SIZE, 3), 10 + 15 * (number % 16), np.uint8)
    pixels[:, :8] = 0
    return pixels


def number_in(pixels: np.ndarray) -> int:
    """The number that a `picture` says, modulo 16, however it was compressed."""
    return round((float(np.median(pixels[:, 16:])) - 10.0) / 15.0)


class Recording:
    """Writes messages by topic and receive time; `close` leaves a bag."""

    def __init__(self, folder: Path):
        self._bag, self._channels, self._messages = BagWriter(folder), {}, []

    def add(self, topic: topics.Topic, received: float, data: bytes) -> None:
        self._messages.append((EPOCH + round(received * 1e9), topic, data))

    def close(self) -> None:
        for stamp, topic, data in sorted(self._messages, key=lambda m: m[0]):
            if topic not in self._channels:
                text, _ = STORE.generate_msgdef(topic.type, ros_version=2)
                digest = STORE.hash_rihs01(topic.type)
                self._channels[topic] = self._bag.add_topic(
                    topic.name, topic.type, topic.qos, text, digest
                )
            self._bag.write(self._channels[topic], stamp, data)
        self._bag.close()


def record(
    folder: Path,
    seconds: float = 3.0,
    *,
    marks: list[tuple[float, str]] = (),
    missing: tuple[int, ...] = (),
    fps: float = 30.0,
    jitter: float = 0.0,
) -> Path:
    """A recording of `motion`, with pictures, hands, commands and measured joints.

    Args:
        folder: The new bag.
        seconds: How long it is.
        marks: When, and what, the operator marked.
        missing: Numbers of pictures that were lost.
        fps: Pictures a second.
        jitter: Standard deviation of the exposures [s].
    """
    rng = np.random.default_rng(7)
    out = Recording(folder)
    exposures = np.arange(round(seconds * fps)) / fps
    exposures = np.sort(exposures + rng.normal(0.0, jitter, len(exposures)).clip(-0.01, 0.01))
    exposures -= exposures[0]
    for number, exposure in enumerate(exposures):
        if number in missing:
            continue
        image = write_image(picture(number), "bgr8", "camera_optical_frame", _ns(exposure))
        out.add(COMPRESSED_IMAGE, exposure + DELAYS["camera"], compress_image(image, 95))
        out.add(topics.CAMERA_INFO, exposure + DELAYS["camera"], _camera(exposure))
        hand = _hand(exposure, number)
        out.add(topics.OBSERVATION, exposure + DELAYS["hand"], hand)
        out.add(topics.SMOOTHED, exposure + DELAYS["smoothed"], hand)
        out.add(topics.TARGET, exposure + DELAYS["target"], _target(exposure))
    for number, time in enumerate(np.arange(0.0, seconds, 1.0 / COMMAND_HZ)):
        (position,) = motion([time])
        out.add(topics.ARM_COMMAND, time + 1e-4, _array(position[: len(ARM_JOINTS)]))
        newest = exposures[exposures <= time - DELAYS["command"] + 1e-9]
        cause = newest[-1] if len(newest) else -1.0
        names = tuple(f"joint_{i}_0" for i in range(16))
        hand_command = _joints(cause, names, position[len(ARM_JOINTS) :])
        out.add(topics.HAND_COMMAND, time + 2e-4, hand_command)
        for topic, told, order in _tellers():
            out.add(topic, time + 3e-4, _joints(time, told, position[order]))
        if number == 0:
            out.add(topics.ROBOT_DESCRIPTION, time, write_text("<robot/>"))
    for time, text in marks:
        out.add(topics.EPISODE_MARK, time, write_text(text))
    out.close()
    return folder


def _tellers() -> list[tuple[topics.Topic, list[str], np.ndarray]]:
    """Who tells which joints, by which names and in which order."""
    arm, hand = np.arange(len(ARM_JOINTS)), np.arange(len(ARM_JOINTS), NUM_JOINTS)
    if APART:
        names = [f"ur_{JOINT_NAMES[i]}" for i in arm[::-1]]
        fingers = [f"joint_{i}.0" for i in range(16)]
        return [(topics.JOINT_STATES, names, arm[::-1]), (topics.HAND_STATES, fingers, hand)]
    order = np.roll(np.arange(NUM_JOINTS), 5)
    return [(topics.JOINT_STATES, [JOINT_NAMES[i] for i in order], order)]


def read_jpeg(data: np.ndarray) -> np.ndarray:
    """Pixels of a JPEG file."""
    return cv2.imdecode(np.asarray(data), cv2.IMREAD_COLOR)


def _ns(time: float) -> int:
    return EPOCH + round(time * 1e9)


def _header(time: float, frame: str = ""):
    stamp = STORE.types["builtin_interfaces/msg/Time"](*divmod(_ns(time), 10**9))
    return STORE.types["std_msgs/msg/Header"](stamp, frame)


def _serialised(message, name: str) -> bytes:
    return bytes(STORE.serialize_cdr(message, name))


def _array(values: np.ndarray) -> bytes:
    name = "std_msgs/msg/Float64MultiArray"
    layout = STORE.types["std_msgs/msg/MultiArrayLayout"]([], 0)
    return _serialised(STORE.types[name](layout, np.asarray(values, float)), name)


def _joints(time: float, names, positions: np.ndarray) -> bytes:
    kind, none = "sensor_msgs/msg/JointState", np.zeros(0)
    message = STORE.types[kind](_header(time), list(names), np.array(positions), none, none)
    return _serialised(message, kind)


def _camera(time: float) -> bytes:
    types, kind = STORE.types, "sensor_msgs/msg/CameraInfo"
    whole = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    message = types[kind](
        _header(time),
        *SIZE,
        "plumb_bob",
        np.zeros(5),
        np.zeros(9),
        np.zeros(9),
        np.zeros(12),
        0,
        0,
        whole,
    )
    return _serialised(message, kind)


def _target(time: float) -> bytes:
    message = STORE.types[TARGET](_header(time), list(HAND_JOINTS), np.zeros(16), 1.0)
    return _serialised(message, TARGET)


def _hand(time: float, number: int) -> bytes:
    """A hand whose keypoints are all the picture's number, untracked in every tenth picture."""
    types = STORE.types
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](0.0, 0.0, 0.0),
        types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
    )
    points = np.full(63, number, np.float32)
    message = types[HAND](
        header=_header(time, "camera_optical_frame"),
        handedness=1,
        tracked=number % 10 != 9,
        bridged=False,
        confidence=0.9,
        keypoints=points,
        keypoints_std=np.zeros(63, np.float32),
        keypoints_px=np.full(42, 2 * number, np.float32),
        contact=np.zeros(4, np.float32),
        wrist=pose,
        mano_pose=np.zeros(0, np.float32),
        mano_shape=np.zeros(0, np.float32),
        LEFT=0,
        RIGHT=1,
    )
    return _serialised(message, HAND)
