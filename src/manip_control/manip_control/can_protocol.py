"""Frames of the Allegro Hand V4 on its CAN bus: identifiers, payloads, units.

Read from Wonik's own sources, which agree: ``canDef.h`` and ``canAPI.cpp`` of
simlabrobotics/allegro_hand_linux_v4, ``v4_spec.hpp`` of Wonikrobotics-git/allegro_hand_ros2.
The number that these call a message's id is not what is on the wire: standard 11-bit identifiers
are the message shifted left by two, with the hand's device id in the lowest two bits. Payloads are
little-endian. A request is a remote frame without data; the answer comes under the same identifier.
1 Mbit/s.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

BITRATE = 1_000_000
NUM_FINGERS, JOINTS_PER_FINGER = 4, 4
# 16-bit counts of the position sensors: 333.3 degrees are 65536.
RADIANS_PER_COUNT = np.deg2rad(333.3 / 65536.0)
# Full duty of the motors' PWM, which the drivers equate with a torque command of 1.
FULL_DUTY = 1200
_COUNTS = 32767


class Message(IntEnum):
    """Messages; those of a finger are the first finger's, plus its number."""

    FINGER_POSE = 0x20
    IMU = 0x30
    TEMPERATURE = 0x38
    SYSTEM_ON = 0x40
    SYSTEM_OFF = 0x41
    SET_TORQUE = 0x60
    HAND_INFO = 0x80
    SET_PERIOD = 0x81
    SERIAL = 0x88
    SET_POSE = 0xE0


@dataclass(frozen=True)
class Frame:
    """A CAN frame: 11-bit identifier, payload of up to 8 bytes, remote request or not."""

    id: int
    data: bytes = b""
    remote: bool = False


@dataclass(frozen=True)
class HandInfo:
    """What the hand says of itself.

    Attributes:
        hardware, firmware: Versions, major and minor.
        left: It is a left hand.
        temperature: Of its board [degrees C].
        servo_on: The motors are powered.
        fault: What is wrong with it, in words; empty for nothing.
    """

    hardware: tuple[int, int]
    firmware: tuple[int, int]
    left: bool
    temperature: int
    servo_on: bool
    fault: str


def identifier(message: int, device: int = 0) -> int:
    """11-bit identifier of a message to or from the hand with that device id, 0 to 3."""
    if not 0 <= device <= 3:
        raise ValueError(f"device must be within 0 and 3, got {device}")
    return message << 2 | device


def message_of(frame_id: int) -> tuple[int, int]:
    """Message and device id of an identifier."""
    return frame_id >> 2, frame_id & 3


def command(message: int, device: int = 0, data: bytes = b"") -> Frame:
    """A command frame."""
    return Frame(identifier(message, device), data)


def request(message: int, device: int = 0) -> Frame:
    """A frame that asks for data."""
    return Frame(identifier(message, device), remote=True)


def set_period(position: int, imu: int = 0, temperature: int = 0, device: int = 0) -> Frame:
    """Ask for data every so many [ms]; 0 for never."""
    return command(Message.SET_PERIOD, device, struct.pack("<3H", position, imu, temperature))


def encode_duty(duty: np.ndarray) -> bytes:
    """Motor duties ``(4,)`` of a finger, within plus and minus 1, as a payload.

    Raises:
        ValueError: They are not four numbers within these bounds.
    """
    duty = np.asarray(duty, dtype=float)
    if duty.shape != (JOINTS_PER_FINGER,) or not (np.abs(duty) <= 1.0).all():
        raise ValueError(f"duty must be {JOINTS_PER_FINGER} numbers within -1 and 1, got {duty}")
    return struct.pack("<4h", *np.trunc(duty * FULL_DUTY).astype(int))


def decode_duty(data: bytes) -> np.ndarray:
    """Motor duties ``(4,)`` within plus and minus 1."""
    return np.array(struct.unpack("<4h", data)) / FULL_DUTY


def encode_positions(positions: np.ndarray) -> bytes:
    """Joint positions ``(4,)`` [rad] of a finger as a payload; rounded to a count."""
    counts = np.rint(np.asarray(positions) / RADIANS_PER_COUNT)
    return struct.pack("<4h", *np.clip(counts, -_COUNTS - 1, _COUNTS).astype(int))


def decode_positions(data: bytes) -> np.ndarray:
    """Joint positions ``(4,)`` [rad] of a finger.

    Raises:
        ValueError: The payload has another length than 8 bytes.
    """
    if len(data) != 8:
        raise ValueError(f"positions must be 8 bytes, got {len(data)}")
    return np.array(struct.unpack("<4h", data)) * RADIANS_PER_COUNT


def encode_info(info: HandInfo) -> bytes:
    """The payload of a hand's information."""
    bits = info.servo_on | ("hot" in info.fault) << 1 | ("communication" in info.fault) << 2
    (major, minor), (release, fix) = info.hardware, info.firmware
    return struct.pack("<7B", minor, major, fix, release, info.left, info.temperature, bits)


def decode_info(data: bytes) -> HandInfo:
    """A hand's information.

    Raises:
        ValueError: The payload is shorter than 7 bytes.
    """
    if len(data) < 7:
        raise ValueError(f"hand information must be 7 bytes or more, got {len(data)}")
    minor, major, fix, release, kind, temperature, bits = data[:7]
    faults = [
        text
        for mask, text in ((2, "the hand is too hot"), (4, "fault of its inner communication"))
        if bits & mask
    ]
    return HandInfo(
        hardware=(major, minor),
        firmware=(release, fix),
        left=bool(kind),
        temperature=temperature,
        servo_on=bool(bits & 1),
        fault=", ".join(faults),
    )
