"""Pictures in serialised ROS messages (CDR, little-endian), read and written without ROS."""

import struct

import cv2
import numpy as np

# Encodings that JPEG can hold as they are, by their number of channels.
JPEG_ENCODINGS = {"bgr8": 3, "rgb8": 3, "mono8": 1, "8UC1": 1, "8UC3": 3}
_LITTLE_ENDIAN = b"\x00\x01\x00\x00"


def stamp_ns(data: bytes) -> int:
    """Stamp [ns] of a serialised message that begins with a header."""
    seconds, nanoseconds = struct.unpack_from("<iI", data, 4)
    return seconds * 1_000_000_000 + nanoseconds


def restamped(data: bytes, stamp: int) -> bytes:
    """The same message with another header stamp [ns]."""
    return b"".join((data[:4], struct.pack("<iI", *divmod(stamp, 1_000_000_000)), data[12:]))


class _Reader:
    def __init__(self, data: bytes):
        if data[:4] != _LITTLE_ENDIAN:
            raise ValueError(f"CDR must be little-endian (00 01 00 00), got {data[:4].hex(' ')}")
        self.data, self.at = data, 4

    def number(self) -> int:
        self.at += -self.at % 4
        (value,) = struct.unpack_from("<I", self.data, self.at)
        self.at += 4
        return value

    def block(self) -> memoryview:
        size = self.number()
        block = memoryview(self.data)[self.at : self.at + size]
        if len(block) != size:
            raise ValueError(f"CDR ends early: {size} bytes announced, {len(block)} there")
        self.at += size
        return block

    def string(self) -> str:
        return bytes(self.block()[:-1]).decode()


def _string(text: str) -> bytes:
    data = text.encode() + b"\0"
    return struct.pack("<I", len(data)) + data


def _aligned(data: bytearray) -> bytearray:
    # Alignment counts from behind the four bytes of encapsulation, itself a multiple of four.
    data += bytes(-len(data) % 4)
    return data


def read_text(data: bytes) -> str:
    """The text of a serialised std_msgs/String."""
    return _Reader(data).string()


def write_text(text: str) -> bytes:
    """A serialised std_msgs/String."""
    return _LITTLE_ENDIAN + _string(text)


def read_image(data: bytes) -> tuple[np.ndarray, str, str]:
    """A serialised sensor_msgs/Image.

    Returns:
        The picture as stored, ``(H, W, C)`` uint8; its encoding; its frame.

    Raises:
        ValueError: An encoding other than `JPEG_ENCODINGS`, or sizes that do not agree.
    """
    reader = _Reader(data)
    reader.at += 8
    frame = reader.string()
    height, width, encoding = reader.number(), reader.number(), reader.string()
    reader.at += 1
    step, pixels = reader.number(), reader.block()
    channels = JPEG_ENCODINGS.get(encoding)
    if channels is None:
        raise ValueError(f"encoding must be one of {', '.join(JPEG_ENCODINGS)}, got {encoding!r}")
    if not height * width or step < width * channels or len(pixels) != step * height:
        raise ValueError(
            f"image of {width}x{height} {encoding}, step {step}, with {len(pixels)} bytes"
        )
    rows = np.frombuffer(pixels, np.uint8).reshape(height, step)[:, : width * channels]
    return rows.reshape(height, width, channels), encoding, frame


def write_image(picture: np.ndarray, encoding: str, frame: str, stamp: int) -> bytes:
    """A serialised sensor_msgs/Image of ``(H, W, C)`` uint8, stamped at ``stamp`` [ns]."""
    height, width, channels = picture.shape
    head = bytearray(_LITTLE_ENDIAN)
    head += struct.pack("<iI", *divmod(stamp, 1_000_000_000)) + _string(frame)
    head = _aligned(head) + struct.pack("<II", height, width) + _string(encoding) + b"\0"
    head = _aligned(head) + struct.pack("<II", width * channels, picture.size)
    return bytes(head) + picture.tobytes()


def compress_image(data: bytes, quality: int) -> bytes:
    """A serialised sensor_msgs/CompressedImage (JPEG) of a serialised sensor_msgs/Image."""
    picture, encoding, frame = read_image(data)
    colour = picture[:, :, ::-1] if encoding == "rgb8" else picture
    ok, jpeg = cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"cannot encode a picture of {picture.shape} as JPEG")
    grey = picture.shape[2] == 1
    head = bytearray(data[:12]) + _string(frame)
    text = f"{encoding}; jpeg compressed {'mono8' if grey else 'bgr8'}"
    head = _aligned(head) + _string(text)
    head = _aligned(head) + struct.pack("<I", jpeg.size)
    return bytes(head) + jpeg.tobytes()


def compressed_picture(data: bytes) -> bytes:
    """The picture file (JPEG) within a serialised sensor_msgs/CompressedImage."""
    reader = _Reader(data)
    reader.at += 8
    reader.string(), reader.string()
    return bytes(reader.block())


def decompress_image(data: bytes) -> bytes:
    """A serialised sensor_msgs/Image (bgr8) of a serialised sensor_msgs/CompressedImage.

    Raises:
        ValueError: The picture cannot be decoded.
    """
    reader = _Reader(data)
    reader.at += 8
    frame, text = reader.string(), reader.string()
    picture = cv2.imdecode(np.frombuffer(reader.block(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"cannot decode a picture of format {text!r}")
    return write_image(picture, "bgr8", frame, stamp_ns(data))
