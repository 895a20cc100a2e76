"""The clip's script: what the hand does when, as smooth periodic curves."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from demo_clip.hand_model import CHAINS, FOREARM, HAND, HandModel
from demo_clip.pose import DOF, NUM_ANGLES, PadGauge, angles_deg, close_until_touch, solve_pinch
from manip_core.hand_skeleton import CONTACT_FINGERS

FPS = 30.0
HOME = np.array([-0.012, 0.078, 0.475])  # [m], wrist in camera_optical_frame at rest
REACH = {"x": 0.09, "y": 0.08, "z": 0.085}  # [m], each way
TURN = np.radians(33.0)  # each way, about each axis
# Palm to the camera, fingers up: palm x, y, z are camera -z, x (the index side), -y.
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
# A closing hand, further than skin lets it: each finger stops where it meets the palm.
CURL = angles_deg(
    index=(70, 0, 92, 50), middle=(74, 0, 95, 52), ring=(76, 0, 95, 52), little=(74, 0, 92, 52)
)
THUMB_ASIDE = angles_deg(thumb=(0, 0, 0, 0, 10))
THUMB_HOVERS = 0.0035  # [m], over the fist's fingers: a fist is no pinch
THUMB_ACROSS = angles_deg(thumb=(60, 0, 0, 45, 60))
# How the other fingers lie while one of them meets the thumb.
REACHING = {
    "index": angles_deg(
        thumb=(12, 0, 0, 8, 12),
        index=(30, 0, 35, 20),
        middle=(5, 0, 5, 2),
        ring=(3, 0, 4, 2),
        little=(2, 0, 2, 2),
    ),
    "middle": angles_deg(
        thumb=(20, 0, 0, 10, 12),
        index=(0, 3, 0, 0),
        middle=(38, 0, 40, 24),
        ring=(12, 0, 10, 5),
        little=(5, 0, 5, 2),
    ),
    "ring": angles_deg(
        thumb=(28, 0, 0, 12, 15),
        index=(-2, 2, -2, 0),
        middle=(5, 2, 5, 3),
        ring=(45, 0, 45, 28),
        little=(20, 0, 15, 8),
    ),
    "little": angles_deg(
        thumb=(35, 0, 0, 15, 15),
        index=(-4, 2, -4, 0),
        middle=(2, 2, 2, 2),
        ring=(15, 0, 10, 8),
        little=(45, 0, 45, 30),
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


def _fists(model: HandModel) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fist with the thumb aside, fist, pointing with the thumb aside, pointing: skin on skin."""
    palm = [
        FOREARM,
        HAND,
        *(b for b in range(2, 21) if all(b not in CHAINS[f] for f in CONTACT_FINGERS)),
    ]
    palm = [b for b in palm if b not in CHAINS["thumb"][1:]]
    aside = THUMB_ASIDE.copy()
    for finger in CONTACT_FINGERS:
        start, end = aside.copy(), aside.copy()
        start[DOF[finger]], end[DOF[finger]] = 0.6 * CURL[DOF[finger]], 1.25 * CURL[DOF[finger]]
        aside = close_until_touch(model, start, end, CHAINS[finger][2:], palm)
    pointing = aside.copy()
    pointing[DOF["index"]] = np.radians((-8, 0, -6, -3))
    out = []
    for pose, closed in ((aside, CONTACT_FINGERS), (pointing, CONTACT_FINGERS[1:])):
        across = pose.copy()
        across[DOF["thumb"]] = THUMB_ACROSS[DOF["thumb"]]
        wall = [bone for finger in closed for bone in CHAINS[finger]]
        out += [pose, close_until_touch(model, pose, across, CHAINS["thumb"], wall, THUMB_HOVERS)]
    return tuple(out)


def _script(
    model: HandModel, gauge: PadGauge
) -> list[tuple[float, str, np.ndarray, tuple, tuple, float]]:
    """Key states: seconds to get there, label, fingers, wrist offset, yaw-pitch-roll, stillness."""
    still, none = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    keys = [(0.7, "open", OPEN, none, still, 0.0)]
    for finger in CONTACT_FINGERS:
        closed = solve_pinch(model, gauge, finger, REACHING[finger])
        keys += [
            (0.55, f"pinch_{finger}", closed, none, still, 1.0),
            (0.5, f"pinch_{finger}", closed, none, still, 1.0),
            (0.5, "open", OPEN, none, still, 0.0),
        ]
    fist_aside, fist, point_aside, point = _fists(model)
    # Thumb last in and first out, or it would go through the fingers.
    for seconds, label, pose, calm in (
        (0.50, "fist", fist_aside, 0.8),
        (0.35, "fist", fist, 0.8),
        (0.40, "fist", fist, 0.8),
        (0.30, "fist", fist_aside, 0.8),
        (0.40, "point", point_aside, 0.8),
        (0.30, "point", point, 0.8),
        (0.45, "point", point, 0.8),
        (0.30, "point", point_aside, 0.8),
        (0.50, "open", OPEN, 0.0),
    ):
        keys.append((seconds, label, pose, none, still, calm))
    for axis, name in enumerate("xyz"):
        far = np.eye(3)[axis] * REACH[name]
        # First to the image's left, up, and nearer.
        for seconds, offset in ((0.55, -far), (0.95, far), (0.6, none)):
            keys.append((seconds, "translate", OPEN, tuple(offset), still, 0.0))
    for axis in range(3):
        turn = np.eye(3)[axis] * TURN
        for seconds, angles in ((0.65, turn), (1.15, -turn), (0.7, still)):
            keys.append((seconds, "turn", OPEN, none, tuple(angles), 0.0))
    keys.append((0.4, "open", OPEN, none, still, 0.0))
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
    pose, offset, turn, calm = np.split(
        frames, (NUM_ANGLES, NUM_ANGLES + 3, NUM_ANGLES + 6), axis=1
    )
    pose = pose + np.radians(1.8) * (1 - calm) * _idle(rng, stamps, ends[-1], NUM_ANGLES)
    offset = offset + 0.004 * _idle(rng, stamps, ends[-1], 3)
    turn = turn + np.radians(2.0) * _idle(rng, stamps, ends[-1], 3)

    rotation, forearm = np.zeros((2, count, 3, 3))
    # The elbow is further out than the wrist: on the image's left.
    outwards = Rotation.from_euler("x", -9.0, degrees=True).as_matrix()
    for i, angles in enumerate(turn):
        hand = camera_rotation(angles)
        rotation[i] = hand @ PALM_TO_CAMERA
        forearm[i] = (
            rotation[i].T @ camera_rotation(angles * FOREARM_FOLLOWS) @ PALM_TO_CAMERA @ outwards
        )
    return Motion(pose=pose, wrist=HOME + offset, rotation=rotation, forearm=forearm, labels=labels)


def camera_rotation(yaw_pitch_roll: np.ndarray) -> np.ndarray:
    """``(3, 3)`` turn about camera y (yaw), then x (pitch), then z (roll), fixed axes, [rad]."""
    return Rotation.from_euler("yxz", yaw_pitch_roll).as_matrix()
