"""What a bag holds of a demonstration, as arrays on one clock: seconds since the bag began."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rosbags.highlevel import AnyReader, AnyReaderError

from manip_bringup.cdr import compressed_picture, read_image, stamp_ns
from manip_bringup.episodes import Mark
from manip_bringup.recorder import COMPRESSED_IMAGE
from manip_control.allegro_drivers import HAND_DRIVERS, our_names
from manip_core import interfaces as topics
from manip_core.hand import LEFT, RIGHT, SIDES
from manip_core.interfaces import EPISODE_MARK
from manip_core.robot_model import ARM_JOINTS, HAND_JOINTS, JOINT_NAMES, NUM_JOINTS

_ARM_TRAJECTORIES = (topics.SCALED_TRAJECTORY.name, topics.TRAJECTORY.name)
_STATES = (topics.JOINT_STATES.name, topics.HAND_STATES.name)
_OURS = {**{name: name for name in JOINT_NAMES}, **our_names()}


@dataclass(frozen=True)
class Series:
    """Values ``(n, ...)`` at times ``(n,)`` [s], in order."""

    times: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class Hands:
    """The operator's hand, one row for each picture it was looked for in.

    Attributes:
        times: ``(n,)`` exposures [s].
        keypoints: ``(n, 21, 3)`` [m] in ``camera_optical_frame``; zero where none is tracked.
        keypoints_px: ``(n, 21, 2)`` [px].
        confidence: ``(n,)``, 0 to 1.
        tracked: ``(n,)`` bool.
        side: ``left`` or ``right``: which hand most of them are.
    """

    times: np.ndarray
    keypoints: np.ndarray
    keypoints_px: np.ndarray
    confidence: np.ndarray
    tracked: np.ndarray
    side: str = RIGHT


@dataclass(frozen=True)
class BagArrays:
    """A recorded demonstration; times in seconds since ``origin``.

    Attributes:
        origin: Receive time of the bag's first message [ns since the epoch].
        end: Receive time of its last one [s].
        states: Measured joint positions [rad] by joint, each a `Series` at the time of measuring.
        commands: ``(n, 22)`` [rad] in the order of `JOINT_NAMES`: what the drivers have been told,
            from the time on that it was received. NaN for joints that nobody has told anything yet.
        hands: The operator's hand.
        exposures: ``(n,)`` of the pictures [s], or of what stands for them: the camera's clock.
        pictures: Topic of the pictures; empty where the bag has none.
        marks: When each was set [s], and what it said.
        problems: What could not be read, in words.
    """

    path: Path
    origin: int
    end: float
    states: dict[str, Series]
    commands: Series
    hands: Hands
    exposures: np.ndarray
    pictures: str
    marks: list[tuple[float, Mark]]
    problems: list[str]


@contextmanager
def open_bag(path: str | Path) -> Iterator[AnyReader]:
    """A reader of a bag's folder or ``.mcap`` file.

    Raises:
        FileNotFoundError: There is no such bag.
        ValueError: It cannot be read.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no bag at {path}")
    try:
        reader = AnyReader([path])
        reader.open()
    except (AnyReaderError, OSError) as error:
        raise ValueError(f"cannot read the bag {path}: {error}") from error
    with closing(reader):
        yield reader


def read_bag(path: str | Path) -> BagArrays:
    """All of a bag but the pixels of its pictures.

    Raises:
        FileNotFoundError: There is no such bag.
        ValueError: It cannot be read, or has neither joint states nor commands.
    """
    with open_bag(path) as reader:
        return _Collector(reader, Path(path).expanduser()).collect()


def pictures(bag: BagArrays, start: float, end: float) -> Iterator[tuple[float, np.ndarray]]:
    """Exposure [s] and pixels ``(H, W, 3)`` uint8, blue first, of the bag's pictures in order.

    Args:
        bag: What `read_bag` gave.
        start, end: First and last exposure asked for [s].

    Raises:
        ValueError: A picture cannot be decoded.
    """
    for exposure, topic, data in _serialised_pictures(bag, start, end):
        yield exposure, _pixels(topic, data)


def jpegs(bag: BagArrays, start: float, end: float) -> Iterator[tuple[float, bytes]]:
    """Exposure [s] and JPEG file of the bag's pictures in order; recorded JPEG is kept as it is."""
    for exposure, topic, data in _serialised_pictures(bag, start, end):
        if topic == COMPRESSED_IMAGE.name:
            yield exposure, compressed_picture(data)
        else:
            yield exposure, cv2.imencode(".jpg", _pixels(topic, data))[1].tobytes()


def _serialised_pictures(bag: BagArrays, start: float, end: float):
    if not bag.pictures:
        return
    with open_bag(bag.path) as reader:
        chosen = [c for c in reader.connections if c.topic == bag.pictures]
        # Received after its exposure, though a clock may be off by some milliseconds.
        first = bag.origin + round((start - 0.1) * 1e9)
        for connection, _, data in reader.messages(chosen, start=max(first, 0)):
            exposure = (stamp_ns(data) - bag.origin) * 1e-9
            if exposure > end:
                return
            if exposure >= start:
                yield exposure, connection.topic, bytes(data)


def _pixels(topic: str, data: bytes) -> np.ndarray:
    if topic == COMPRESSED_IMAGE.name:
        jpeg = np.frombuffer(compressed_picture(data), np.uint8)
        pixels = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError(f"a picture on {topic} cannot be decoded ({jpeg.size} bytes)")
        return pixels
    picture, encoding, _ = read_image(data)
    if picture.shape[2] == 1:
        return np.repeat(picture, 3, axis=2)
    return picture[:, :, ::-1] if encoding == "rgb8" else picture


def our_joint(name: str) -> str | None:
    """Our name of a joint, from any driver's name or from a UR's with a prefix; None: no joint."""
    if name in _OURS:
        return _OURS[name]
    return next((ours for ours in ARM_JOINTS if name.endswith(ours)), None)


class _Collector:
    """Goes through a bag once and sorts what it finds."""

    def __init__(self, reader: AnyReader, path: Path):
        self._reader, self._path = reader, path
        self._origin = reader.start_time
        # By the names that a message has: a robot that sends arm and hand apart has two of them.
        self._measured: dict[tuple[str, ...], list[tuple[float, np.ndarray]]] = {}
        self._told = np.full(NUM_JOINTS, np.nan)
        self._commands: list[tuple[float, np.ndarray]] = []
        self._hands: list[tuple] = []
        self._stamps: dict[str, list[float]] = {}
        self._marks: list[tuple[float, Mark]] = []
        self._problems: list[str] = []
        counts = {c.topic: c.msgcount for c in reader.connections}
        images = (COMPRESSED_IMAGE.name, topics.IMAGE.name)
        self._pictures = next((name for name in images if counts.get(name)), "")
        # Hands as they were seen, or, where only those were kept, as they were smoothed.
        seen = counts.get(topics.OBSERVATION.name)
        self._hand_topic = topics.OBSERVATION.name if seen else topics.SMOOTHED.name
        merged = counts.get(topics.MERGED_STATES.name)
        self._state_topics = (topics.MERGED_STATES.name,) if merged else _STATES

    def collect(self) -> BagArrays:
        takers = {
            **dict.fromkeys(self._state_topics, self._take_state),
            **dict.fromkeys(_ARM_TRAJECTORIES, self._take_trajectory),
            topics.ARM_COMMAND.name: self._take_arm,
            topics.HAND_COMMAND.name: self._take_hand,
            topics.HAND_POSITIONS.name: self._take_hand_positions,
            self._hand_topic: self._take_observation,
            EPISODE_MARK.name: self._take_mark,
        }
        stamped = {self._pictures, topics.CAMERA_INFO.name}
        chosen = [c for c in self._reader.connections if c.topic in takers or c.topic in stamped]
        for connection, received, data in self._reader.messages(chosen):
            if connection.topic in stamped:
                exposure = (stamp_ns(data) - self._origin) * 1e-9
                self._stamps.setdefault(connection.topic, []).append(exposure)
                continue
            msg = self._reader.deserialize(data, connection.msgtype)
            takers[connection.topic](msg, (received - self._origin) * 1e-9)
        states = self._collected_states()
        missing = [name for name in JOINT_NAMES if name not in states]
        if missing:
            raise ValueError(f"{self._path} has no measured positions of {', '.join(missing)}")
        hands = self._collected_hands()
        clock = self._stamps.get(self._pictures) or self._stamps.get(topics.CAMERA_INFO.name)
        exposures = np.unique(clock if clock else hands.times)
        if len(exposures) < 2:
            raise ValueError(f"{self._path} has no pictures and no hands: no camera's clock")
        return BagArrays(
            path=self._path,
            origin=self._origin,
            end=(self._reader.end_time - self._origin) * 1e-9,
            states=states,
            commands=Series(
                np.array([t for t, _ in self._commands]),
                np.array([q for _, q in self._commands]).reshape(-1, NUM_JOINTS),
            ),
            hands=hands,
            exposures=exposures,
            pictures=self._pictures,
            marks=self._marks,
            problems=self._problems,
        )

    def _stamp(self, msg, received: float) -> float:
        stamp = msg.header.stamp
        if not stamp.sec:
            return received
        return (stamp.sec * 1_000_000_000 + stamp.nanosec - self._origin) * 1e-9

    def _take_state(self, msg, received: float) -> None:
        if len(msg.name) == len(msg.position):
            row = self._stamp(msg, received), np.asarray(msg.position, dtype=float)
            self._measured.setdefault(tuple(msg.name), []).append(row)

    def _collected_states(self) -> dict[str, Series]:
        states: dict[str, Series] = {}
        for names, rows in self._measured.items():
            times = np.array([stamp for stamp, _ in rows])
            order = np.argsort(times, kind="stable")
            positions = np.array([values for _, values in rows])[order]
            for name, column in zip(names, positions.T, strict=True):
                # Of two that tell the same joint, the one that tells it more often.
                if (ours := our_joint(name)) and len(states.get(ours, ())) < len(rows):
                    states[ours] = Series(times[order], column)
        return states

    def _take_arm(self, msg, received: float) -> None:
        self._tell(received, dict(zip(ARM_JOINTS, msg.data, strict=False)))

    def _take_trajectory(self, msg, received: float) -> None:
        if msg.points:
            names = (our_joint(name) for name in msg.joint_names)
            self._tell(received, dict(zip(names, msg.points[-1].positions, strict=False)))

    def _take_hand(self, msg, received: float) -> None:
        # Drivers that pass over the names expect their own order, which the names then are in.
        names = [our_joint(name) for name in msg.name] or HAND_JOINTS
        self._tell(received, dict(zip(names, msg.position, strict=False)))

    def _take_hand_positions(self, msg, received: float) -> None:
        joints = HAND_DRIVERS["ros2_control"].joints
        self._tell(received, dict(zip(joints, msg.data, strict=False)))

    def _tell(self, received: float, positions: dict) -> None:
        self._told = self._told.copy()
        for name, position in positions.items():
            if name in JOINT_NAMES and np.isfinite(position):
                self._told[JOINT_NAMES.index(name)] = position
        self._commands.append((received, self._told))

    def _take_observation(self, msg, received: float) -> None:
        self._hands.append(
            (
                self._stamp(msg, received),
                np.asarray(msg.keypoints, np.float32).reshape(21, 3),
                np.asarray(msg.keypoints_px, np.float32).reshape(21, 2),
                float(msg.confidence),
                bool(msg.tracked),
                bool(msg.tracked) and SIDES[msg.handedness] == LEFT,
            )
        )

    def _collected_hands(self) -> Hands:
        rows = sorted(self._hands, key=lambda row: row[0])
        columns = list(zip(*rows, strict=True)) or [[], [], [], [], [], []]
        return Hands(
            times=np.array(columns[0], float),
            keypoints=np.array(columns[1], np.float32).reshape(-1, 21, 3),
            keypoints_px=np.array(columns[2], np.float32).reshape(-1, 21, 2),
            confidence=np.array(columns[3], np.float32),
            tracked=np.array(columns[4], bool),
            side=LEFT if 2 * sum(columns[5]) > sum(columns[4]) else RIGHT,
        )

    def _take_mark(self, msg, received: float) -> None:
        try:
            self._marks.append((received, Mark.parse(msg.data)))
        except ValueError as error:
            self._problems.append(f"{self._path.name}: at {received:.1f} s {error}")
