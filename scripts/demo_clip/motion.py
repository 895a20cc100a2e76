"""The clip's script: what the hand does when, as smooth periodic curves."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from demo_clip.gestures import Gestures
from manip_core.hand_skeleton import CONTACT_FINGERS
from manip_training.synthetic.poses import NUM_ANGLES

FPS = 30.0
HOME = np.array([-0.012, 0.078, 0.475])  # [m], wrist in camera_optical_frame at rest
REACH = {"x": 0.09, "y": 0.08, "z": 0.085}  # [m], each way
TURN = np.radians(33.0)  # each way, about each axis
# Palm to the camera, fingers up: the frame of the hand at rest has them along -y and -x.
PALM_TO_CAMERA = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
# How far the forearm follows the hand's yaw (all: it twists), pitch and roll.
FOREARM_FOLLOWS = np.array([1.0, 0.45, 0.5])
# The elbow is further out than the wrist: on the image's left.
OUTWARDS = Rotation.from_euler("y", 9.0, degrees=True).as_matrix()


@dataclass(frozen=True, kw_only=True)
class Motion:
    """One row a frame.

    Attributes:
        pose: ``(N, 21)`` finger angles [rad].
        wrist: ``(N, 3)`` wrist keypoint [m], camera_optical_frame.
        rotation: ``(N, 3, 3)`` frame of the hand at rest to camera_optical_frame.
        forearm: ``(N, 3, 3)`` forearm about the wrist, against the hand, frame of the hand at rest.
        labels: ``(N,)`` what is shown.
    """

    pose: np.ndarray
    wrist: np.ndarray
    rotation: np.ndarray
    forearm: np.ndarray
    labels: np.ndarray


def _script(gestures: Gestures) -> list[tuple[float, str, np.ndarray, tuple, tuple, float]]:
    """Key states: seconds to get there, label, fingers, wrist offset, yaw-pitch-roll, stillness."""
    g, none = gestures, (0.0, 0.0, 0.0)
    keys = [(0.7, "open", g.open, none, none, 0.0)]
    for finger in CONTACT_FINGERS:
        closed = g.pinch[finger]
        keys += [
            (0.55, f"pinch_{finger}", closed, none, none, 1.0),
            (0.5, f"pinch_{finger}", closed, none, none, 1.0),
            (0.5, "open", g.open, none, none, 0.0),
        ]
    # Thumb last in and first out, or it would go through the fingers.
    for seconds, label, pose, calm in (
        (0.50, "fist", g.fist_aside, 0.8),
        (0.35, "fist", g.fist, 0.8),
        (0.40, "fist", g.fist, 0.8),
        (0.30, "fist", g.fist_aside, 0.8),
        (0.40, "point", g.point_aside, 0.8),
        (0.30, "point", g.point, 0.8),
        (0.45, "point", g.point, 0.8),
        (0.30, "point", g.point_aside, 0.8),
        (0.50, "open", g.open, 0.0),
    ):
        keys.append((seconds, label, pose, none, none, calm))
    for axis, name in enumerate("xyz"):
        far = np.eye(3)[axis] * REACH[name]
        # First to the image's left, up, and nearer.
        for seconds, offset in ((0.55, -far), (0.95, far), (0.6, none)):
            keys.append((seconds, "translate", g.open, tuple(offset), none, 0.0))
    for axis in range(3):
        turn = np.eye(3)[axis] * TURN
        for seconds, angles in ((0.65, turn), (1.15, -turn), (0.7, none)):
            keys.append((seconds, "turn", g.open, none, tuple(angles), 0.0))
    keys.append((0.4, "open", g.open, none, none, 0.0))
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


def make(gestures: Gestures, seed: int) -> Motion:
    """All frames of the clip; the frame after the last would be the first."""
    keys = _script(gestures)
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
    pose, offset, turn, calm = np.split(
        frames, (NUM_ANGLES, NUM_ANGLES + 3, NUM_ANGLES + 6), axis=1
    )
    pose = pose + np.radians(1.8) * (1 - calm) * _idle(rng, stamps, ends[-1], NUM_ANGLES)
    offset = offset + 0.004 * _idle(rng, stamps, ends[-1], 3)
    turn = turn + np.radians(2.0) * _idle(rng, stamps, ends[-1], 3)
    rotation = camera_rotation(turn) @ PALM_TO_CAMERA
    arm = camera_rotation(turn * FOREARM_FOLLOWS) @ PALM_TO_CAMERA @ OUTWARDS
    return Motion(
        pose=pose,
        wrist=HOME + offset,
        rotation=rotation,
        forearm=rotation.swapaxes(1, 2) @ arm,
        labels=labels,
    )


def camera_rotation(yaw_pitch_roll: np.ndarray) -> np.ndarray:
    """``(N, 3, 3)`` turns about camera y (yaw), then x (pitch), then z (roll), fixed, [rad]."""
    return Rotation.from_euler("yxz", yaw_pitch_roll).as_matrix()
