"""The clip's script: what the hand does when, as smooth periodic curves."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from demo_clip.hand_model import HandModel
from demo_clip.pose import NUM_ANGLES, PadGauge, angles_deg, solve_pinch
from manip_core.hand_skeleton import CONTACT_FINGERS

FPS = 30.0
HOME = np.array([-0.012, 0.078, 0.475])  # [m], wrist in camera_optical_frame at rest
REACH = {"x": 0.09, "y": 0.08, "z": 0.085}  # [m], each way
TURN = np.radians(33.0)  # each way, about each axis
# Palm to the camera, fingers up: palm x is camera -z, palm y (index side) camera x, palm z camera -y.
PALM_TO_CAMERA = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
# How far the forearm follows the hand's yaw (all: it twists), pitch and roll.
FOREARM_FOLLOWS = np.array([1.0, 0.45, 0.5])

OPEN = angles_deg(
    thumb=(0, 0, 0, 0, 0),
    index=(-7, 0, -8, -4),
    middle=(-7, 0, -8, -4),
    ring=(-7, 0, -8, -4),
    little=(-5, 0, -8, -4),
)
FIST = angles_deg(
    thumb=(25, -5, 20, 30, 45),
    index=(65, 0, 85, 45),
    middle=(68, 0, 88, 48),
    ring=(68, 0, 88, 50),
    little=(65, 0, 88, 50),
)
POINT = FIST.copy()
POINT[5:9] = np.radians((-8, 0, -6, -3))
# How the other fingers lie while one of them meets the thumb.
REACHING = {
    "index": angles_deg(
        thumb=(10, 5, 5, 5, 10), index=(30, 0, 35, 20), middle=(5, 0, 5, 2), ring=(3, 0, 4, 2), little=(2, 0, 2, 2)
    ),
    "middle": angles_deg(
        thumb=(12, 5, 10, 8, 10), index=(0, 3, 0, 0), middle=(38, 0, 40, 24), ring=(12, 0, 10, 5), little=(5, 0, 5, 2)
    ),
    "ring": angles_deg(
        thumb=(18, 5, 15, 10, 15), index=(-2, 2, -2, 0), middle=(5, 2, 5, 3), ring=(45, 0, 45, 28), little=(20, 0, 15, 8)
    ),
    "little": angles_deg(
        thumb=(22, 8, 20, 15, 15), index=(-4, 2, -4, 0), middle=(2, 2, 2, 2), ring=(15, 0, 10, 8), little=(45, 0, 45, 30)
    ),
}


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One row a frame.

    Attributes:
        pose: ``(N, 21)`` finger angles [rad].
        wrist: ``(N, 3)`` wrist keypoint [m], camera_optical_frame.
        rotation: ``(N, 3, 3)`` palm frame to camera_optical_frame.
        forearm: ``(N, 3, 3)`` forearm about the wrist, against the hand, palm frame.
        labels: ``(N,)`` what is shown.
    """

    pose: np.ndarray
    wrist: np.ndarray
    rotation: np.ndarray
    forearm: np.ndarray
    labels: np.ndarray


def _script(model: HandModel, gauge: PadGauge) -> list[tuple[float, str, np.ndarray, tuple, tuple, float]]:
    """Key states: seconds to get there, label, finger pose, wrist offset, (yaw, pitch, roll), stillness."""
    still, none = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    keys = [(0.9, "open", OPEN, none, still, 0.0)]
    for finger in CONTACT_FINGERS:
        closed = solve_pinch(model, gauge, finger, REACHING[finger])
        keys += [
            (0.6, f"pinch_{finger}", closed, none, still, 1.0),
            (0.55, f"pinch_{finger}", closed, none, still, 1.0),
            (0.55, "open", OPEN, none, still, 0.0),
        ]
    keys += [
        (0.65, "fist", FIST, none, still, 0.5),
        (0.5, "fist", FIST, none, still, 0.5),
        (0.5, "point", POINT, none, still, 0.5),
        (0.55, "point", POINT, none, still, 0.5),
        (0.65, "open", OPEN, none, still, 0.0),
    ]
    for axis, name in enumerate("xyz"):
        far = np.eye(3)[axis] * REACH[name]
        # First to the image's left, up, and nearer.
        for seconds, offset in ((0.55, -far), (0.95, far), (0.6, none)):
            keys.append((seconds, "translate", OPEN, tuple(offset), still, 0.0))
    for axis in range(3):
        turn = np.eye(3)[axis] * TURN
        for seconds, angles in ((0.65, turn), (1.15, -turn), (0.7, still)):
            keys.append((seconds, "turn", OPEN, none, tuple(angles), 0.0))
    keys.append((0.6, "open", OPEN, none, still, 0.0))
    return keys


def _minimum_jerk(s: np.ndarray) -> np.ndarray:
    """Flash and Hogan (1985): the smoothest move between two rests; 0 to 1."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10 - 15 * s + 6 * s * s)


def _idle(rng: np.random.Generator, stamps: np.ndarray, period: float, size: int) -> np.ndarray:
    """Unit-size slow unrest ``(N, size)`` that repeats after ``period``."""
    total = np.zeros((len(stamps), size))
    for harmonic in range(3, 14):
        phase = rng.uniform(0, 2 * np.pi, size)
        wave = np.sin(2 * np.pi * harmonic * stamps[:, None] / period + phase)
        total += rng.normal(size=size) / harmonic * wave
    return total / np.abs(total).max(axis=0)


def make(model: HandModel, gauge: PadGauge, seed: int) -> Motion:
    """All frames of the clip; the frame after the last would be the first."""
    keys = _script(model, gauge)
    ends = np.cumsum([k[0] for k in keys])
    count = round(ends[-1] * FPS)
    stamps = np.arange(count) / FPS
    state = np.array([np.concatenate((k[2], k[3], k[4], [k[5]])) for k in keys])
    # Each state starts from the one before it; the first from the last: the clip loops.
    before = np.roll(state, 1, axis=0)
    now = np.searchsorted(ends, stamps, side="right")
    progress = (stamps - (ends - [k[0] for k in keys])[now]) / np.array([k[0] for k in keys])[now]
    blend = _minimum_jerk(progress)[:, None]
    frames = before[now] + blend * (state[now] - before[now])
    names = np.array([k[1] for k in keys])
    labels = np.where(blend[:, 0] < 0.5, np.roll(names, 1)[now], names[now])
    moving = np.isin(names, ("translate", "turn"))[now]
    labels = np.where(moving, names[now], labels)

    rng = np.random.default_rng(seed)
    pose, offset, turn, calm = np.split(frames, (NUM_ANGLES, NUM_ANGLES + 3, NUM_ANGLES + 6), axis=1)
    pose = pose + np.radians(1.8) * (1 - calm) * _idle(rng, stamps, ends[-1], NUM_ANGLES)
    offset = offset + 0.004 * _idle(rng, stamps, ends[-1], 3)
    turn = turn + np.radians(2.0) * _idle(rng, stamps, ends[-1], 3)

    rotation, forearm = np.zeros((2, count, 3, 3))
    # The elbow is further out than the wrist: on the image's left.
    outwards = Rotation.from_euler("x", -9.0, degrees=True).as_matrix()
    for i, angles in enumerate(turn):
        hand = camera_rotation(angles)
        rotation[i] = hand @ PALM_TO_CAMERA
        forearm[i] = rotation[i].T @ camera_rotation(angles * FOREARM_FOLLOWS) @ PALM_TO_CAMERA @ outwards
    return Motion(pose=pose, wrist=HOME + offset, rotation=rotation, forearm=forearm, labels=labels)


def camera_rotation(yaw_pitch_roll: np.ndarray) -> np.ndarray:
    """``(3, 3)`` turn about camera y (yaw), then x (pitch), then z (roll), fixed axes, [rad]."""
    return Rotation.from_euler("yxz", yaw_pitch_roll).as_matrix()
