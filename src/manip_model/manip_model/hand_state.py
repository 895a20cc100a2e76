"""A hand as angles: where its wrist is, how the palm is turned, how each bone bends. Without torch.

Read off the 21 keypoints alone, so that any estimator's hands, recorded ones and labels without a
hand model can be told this way. Each bone beyond the palm turns against the one before it by the
shortest turn there is: two angles, as keypoints say nothing of how a bone turns about itself. All
of right hands: left ones are seen in the mirror.
"""

from dataclasses import dataclass

import numpy as np

from manip_core.hand_skeleton import FINGER_CHAINS, NUM_KEYPOINTS, Keypoint

NUM_BENDS = 15
# Width of a palm over its length below which it has no plane.
_NO_PLANE = 1e-6


@dataclass(frozen=True)
class HandState:
    """Right hands ``(…)``.

    Attributes:
        wrist: ``(…, 3)`` [m], in the keypoints' own frame.
        turn: ``(…, 3, 3)`` palm frame to that frame, as :func:`manip_core.hand.palm_rotation`.
        bends: ``(…, 15, 2)`` [rad] of the bones beyond the palm, thumb first, base to tip: the
            rotation vector's parts across the bone before.
        palm: ``(…, 5, 3)`` from the wrist to each finger's base [m], palm frame.
        lengths: ``(…, 15)`` of the bones [m].
    """

    wrist: np.ndarray
    turn: np.ndarray
    bends: np.ndarray
    palm: np.ndarray
    lengths: np.ndarray


def state_of(joints: np.ndarray) -> HandState:
    """The state of hands ``(…, 21, 3)`` [m].

    Raises:
        ValueError: They are none of that shape, or a palm has no plane.
    """
    if joints.shape[-2:] != (NUM_KEYPOINTS, 3):
        raise ValueError(f"joints must be (…, {NUM_KEYPOINTS}, 3), got {joints.shape}")
    joints = np.asarray(joints, dtype=np.float64)
    wrist = joints[..., Keypoint.WRIST, :]
    turn = palm_rotations(joints)
    # A row vector times R is R^T times the vector.
    local = (joints - wrist[..., None, :]) @ turn
    chains = local[..., FINGER_CHAINS, :]
    palm, bones = chains[..., 0, :], np.diff(chains, axis=-2)
    lengths = np.linalg.norm(bones, axis=-1)
    along = bones / np.maximum(lengths, 1e-9)[..., None]
    frame, bends = along_palm(palm), []
    for level in range(3):
        direction = np.einsum("...ji,...j->...i", frame, along[..., level, :])
        bends.append(_bend(direction))
        frame = frame @ turned(bends[-1])
    bends = np.stack(bends, -2)  # (…, 5, 3, 2)
    return HandState(
        wrist=wrist,
        turn=turn,
        bends=bends.reshape(*bends.shape[:-3], NUM_BENDS, 2),
        palm=palm,
        lengths=lengths.reshape(*lengths.shape[:-2], NUM_BENDS),
    )


def joints_of(state: HandState) -> np.ndarray:
    """Joints ``(…, 21, 3)`` [m]: the inverse of :func:`state_of`."""
    fingers = state.bends.shape[:-2]
    bends = state.bends.reshape(*fingers, 5, 3, 2)
    lengths = state.lengths.reshape(*fingers, 5, 3, 1)
    frame, at = along_palm(state.palm), state.palm
    points = [at]
    for level in range(3):
        frame = frame @ turned(bends[..., level, :])
        at = at + lengths[..., level, :] * frame[..., 0]
        points.append(at)
    local = np.stack(points, -2).reshape(*fingers, NUM_KEYPOINTS - 1, 3)
    local = np.concatenate((np.zeros_like(local[..., :1, :]), local), -2)
    return local @ np.swapaxes(state.turn, -1, -2) + state.wrist[..., None, :]


def palm_rotations(joints: np.ndarray) -> np.ndarray:
    """:func:`manip_core.hand.palm_rotation` of many right hands ``(…, 21, 3)`` at once.

    Raises:
        ValueError: Wrist and knuckles of one lie on a line.
    """
    z = joints[..., Keypoint.MIDDLE_MCP, :] - joints[..., Keypoint.WRIST, :]
    across = joints[..., Keypoint.INDEX_MCP, :] - joints[..., Keypoint.RING_MCP, :]
    x = np.cross(across, z)
    width = np.linalg.norm(x, axis=-1)
    length = np.linalg.norm(z, axis=-1)
    if not (width > _NO_PLANE * np.maximum(length, 1e-12) ** 2).all():
        raise ValueError("wrist and knuckles lie on one line: the palm has no orientation")
    x, z = x / width[..., None], z / length[..., None]
    return np.stack((x, np.cross(z, x), z), -1)


def along_palm(palm: np.ndarray) -> np.ndarray:
    """Frames ``(…, 5, 3, 3)`` whose x runs from the wrist to each finger's base."""
    length = np.maximum(np.linalg.norm(palm, axis=-1, keepdims=True), 1e-9)
    return turned(_bend(palm / length))


def turned(bends: np.ndarray) -> np.ndarray:
    """Rotations ``(…, 3, 3)`` by rotation vectors ``(0, a, b)`` of ``(…, 2)`` [rad] (Rodrigues)."""
    a, b = bends[..., 0], bends[..., 1]
    angle = np.hypot(a, b)
    sine = np.sinc(angle / np.pi)
    half = 0.5 * np.sinc(0.5 * angle / np.pi) ** 2
    one = np.ones_like(a)
    rows = (
        (one - half * angle**2, -sine * b, sine * a),
        (sine * b, one - half * b * b, half * a * b),
        (-sine * a, half * a * b, one - half * a * a),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _bend(direction: np.ndarray) -> np.ndarray:
    """``(…, 2)`` [rad]: the shortest turn that takes x to unit vectors ``(…, 3)``."""
    x, y, z = np.moveaxis(direction, -1, 0)
    across = np.hypot(y, z)
    rate = np.where(across > 1e-9, np.arctan2(across, x) / np.maximum(across, 1e-9), 1.0)
    return np.stack((-z * rate, y * rate), -1)
