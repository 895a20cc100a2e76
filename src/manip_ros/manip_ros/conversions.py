"""ROS messages to plain arrays and back."""

import numpy as np
from builtin_interfaces.msg import Time
from manip_msgs.msg import HandObservation
from sensor_msgs.msg import CameraInfo, Image

from manip_core.camera import CameraIntrinsics
from manip_core.hand import LEFT, RIGHT, Hand, palm_rotation
from manip_core.hand_skeleton import NUM_KEYPOINTS, Keypoint
from manip_core.interfaces import CAMERA_OPTICAL_FRAME
from manip_core.rotation import quaternion_from_matrix

# Channels of the encodings that are read; all have 8 bits a channel.
_CHANNELS = {"bgr8": 3, "rgb8": 3, "mono8": 1, "bgra8": 4, "rgba8": 4, "8UC1": 1, "8UC3": 3}


def to_seconds(stamp: Time) -> float:
    """Stamp in [s]."""
    return stamp.sec + stamp.nanosec * 1e-9


def to_stamp(seconds: float) -> Time:
    """Stamp of a time in [s]; raises ``ValueError`` for one that no stamp can hold."""
    if not 0.0 <= seconds < 2**31:
        raise ValueError(f"a stamp must lie within 0 and 2^31 s, got {seconds}")
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def age_problem(stamp: float, now: float, oldest: float = 1.0, future: float = 0.1) -> str | None:
    """Why a stamp cannot be that of a picture just taken, or ``None`` where it can. All in [s]."""
    if now - stamp > oldest:
        return f"stamp is {now - stamp:.2f} s old, over {oldest:g} s: is the sender's clock right?"
    if stamp - now > future:
        return f"stamp lies {stamp - now:.2f} s in the future: is the sender's clock right?"
    return None


def image_from_msg(msg: Image) -> np.ndarray:
    """Picture ``(H, W, 3)`` uint8 BGR of an Image message; a view where the encoding allows.

    Raises:
        ValueError: Unknown encoding, or data of another size than the message states.
    """
    channels = _CHANNELS.get(msg.encoding)
    if channels is None:
        raise ValueError(
            f"image encoding must be one of {', '.join(_CHANNELS)}, got {msg.encoding!r}"
        )
    row = msg.width * channels
    if not msg.width or not msg.height or msg.step < row or len(msg.data) != msg.step * msg.height:
        raise ValueError(
            f"image of {msg.width}x{msg.height} {msg.encoding} with step {msg.step} needs "
            f"{max(msg.step, row) * msg.height} bytes and at least one pixel, got {len(msg.data)}"
        )
    pixels = np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.step)[:, :row]
    pixels = pixels.reshape(msg.height, msg.width, channels)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    if msg.encoding.startswith("rgb"):
        return np.ascontiguousarray(pixels[:, :, 2::-1])
    return pixels if channels == 3 else np.ascontiguousarray(pixels[:, :, :3])


def image_to_msg(image: np.ndarray, stamp: Time, frame_id: str = CAMERA_OPTICAL_FRAME) -> Image:
    """Image message (bgr8) of a picture ``(H, W, 3)`` uint8 BGR."""
    msg = Image(
        height=image.shape[0], width=image.shape[1], encoding="bgr8", step=image.shape[1] * 3
    )
    msg.header.stamp = stamp
    msg.header.frame_id = frame_id
    # Bytes are taken as they are; an ndarray would be copied element by element.
    msg.data = image.tobytes()
    return msg


def hand_to_msg(hand: Hand, stamp: Time) -> HandObservation:
    """HandObservation of a hand; ``stamp`` is passed on untouched, to the nanosecond."""
    msg = HandObservation(
        handedness=HandObservation.RIGHT if hand.side == RIGHT else HandObservation.LEFT,
        tracked=bool(hand.tracked),
        bridged=bool(hand.bridged),
        confidence=float(hand.confidence),
    )
    msg.header.stamp = stamp
    msg.header.frame_id = CAMERA_OPTICAL_FRAME
    if not hand.tracked:
        return msg
    msg.keypoints = hand.keypoints.astype(np.float32).ravel()
    msg.keypoints_std = hand.keypoints_std.astype(np.float32).ravel()
    msg.keypoints_px = hand.keypoints_px.astype(np.float32).ravel()
    msg.contact = hand.contact.astype(np.float32)
    position = hand.keypoints[Keypoint.WRIST]
    msg.wrist.position.x, msg.wrist.position.y, msg.wrist.position.z = map(float, position)
    quaternion = quaternion_from_matrix(palm_rotation(hand.keypoints, hand.side))
    orientation = msg.wrist.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = map(float, quaternion)
    if hand.mano_pose is not None:
        msg.mano_pose = hand.mano_pose.astype(np.float32)
        msg.mano_shape = hand.mano_shape.astype(np.float32)
    return msg


def hand_from_msg(msg: HandObservation) -> Hand:
    """Hand of a HandObservation.

    Raises:
        ValueError: The message says that a hand is tracked, but its content is unsound.
    """
    hand = Hand(
        stamp=to_seconds(msg.header.stamp),
        side=RIGHT if msg.handedness == HandObservation.RIGHT else LEFT,
        keypoints=np.asarray(msg.keypoints, dtype=float).reshape(NUM_KEYPOINTS, 3),
        keypoints_std=np.asarray(msg.keypoints_std, dtype=float).reshape(NUM_KEYPOINTS, 3),
        keypoints_px=np.asarray(msg.keypoints_px, dtype=float).reshape(NUM_KEYPOINTS, 2),
        contact=np.asarray(msg.contact, dtype=float),
        confidence=float(msg.confidence),
        tracked=msg.tracked,
        bridged=msg.bridged,
        mano_pose=np.asarray(msg.mano_pose, dtype=float) if len(msg.mano_pose) else None,
        mano_shape=np.asarray(msg.mano_shape, dtype=float) if len(msg.mano_shape) else None,
    )
    problem = hand.problem() if hand.tracked else None
    if problem:
        raise ValueError(problem)
    return hand


def camera_from_msg(msg: CameraInfo) -> CameraIntrinsics:
    """Intrinsics of a CameraInfo; raises ``ValueError`` where it holds none."""
    return CameraIntrinsics(
        width=msg.width,
        height=msg.height,
        fx=msg.k[0],
        fy=msg.k[4],
        cx=msg.k[2],
        cy=msg.k[5],
        distortion=tuple(msg.d),
    )


def camera_info_to_msg(camera: CameraIntrinsics, stamp: Time) -> CameraInfo:
    """CameraInfo of a camera's intrinsics."""
    msg = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    msg.header.stamp = stamp
    msg.header.frame_id = CAMERA_OPTICAL_FRAME
    fx, fy, cx, cy = map(float, (camera.fx, camera.fy, camera.cx, camera.cy))
    msg.d = [float(d) for d in camera.distortion]
    msg.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    msg.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return msg
