"""Real grasp motion for the grasp benchmark: DexYCB's sequences, upright and about an object.

The data is in camera frames, and knows neither gravity nor where a primitive lies in an object's
frame. Both are read off the data, once its rotations are put right (`true_rotation`):

* **Up** is the normal of the plane on which a person's objects lie at the start (one camera a
  person), then the mean of the objects' own axes that are near it: most stand on a face.
* **A primitive** has the size that is published; its turn about z and its offset are those with
  which fingertips that hold the object lie on its surface, and it rests on the table.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from grasp_objects import CAPSULE, OBJECTS, Shape

from manip_core.grasp_types import GraspType
from manip_core.hand_skeleton import TIPS, Keypoint
from manip_core.rotation import exponential, matrix_from_quaternion

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MANIP_DATA", ROOT / ".." / "shared" / "data"))
DEXYCB = DATA / "dexycb_motion" / "dexycb_right_subjects_01_07.npz"
RATE = 30.0
# Keypoints of fingertips lie so deep in the finger [m] (as `contact_from_distance` has it).
PAD = 0.009
# A tip nearer than this to the surface touches it [m]: both labels are some millimetres off.
_TOUCH = 0.022
# A wrist this near to where it takes the object is there [m].
_THERE = 0.02
# Over so many frames from when it is taken, a tip as near as this is one that holds it [m].
_HOLDING, _HOLDS = 10, 0.03
# An object that moved by more than this has been moved [m], and is held at this height [m].
_MOVED, _HELD = 0.01, 0.03
# Axes within this of the vertical are taken to be vertical: the object stands on a face.
_UPRIGHT = np.cos(np.radians(20.0))
_LEAST_FRAMES = 30


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One recorded grasp, in the camera's frame.

    Attributes:
        name, subject, thing: Of the sequence, the person and the object.
        times: ``(T,)`` [s].
        keypoints: ``(T, 21, 3)`` of the hand [m].
        rotation, position: ``(T, 3, 3)`` and ``(T, 3)`` [m] of the object's own frame.
        rest: Rotation ``(3, 3)`` and position ``(3,)`` of it before anybody came.
    """

    name: str
    subject: str
    thing: str
    times: np.ndarray
    keypoints: np.ndarray
    rotation: np.ndarray
    position: np.ndarray
    rest: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Grasp:
    """A sequence stood upright: z is up, the table is z = 0, the object rests about the origin.

    Attributes:
        name, thing: Of the sequence and the object.
        shape: The primitive that stands for it.
        times: ``(T,)`` [s].
        keypoints: ``(T, 21, 3)`` of the hand [m].
        rest: ``(3, 3)`` orientation of the primitive before it is touched.
        height: Of its centre then [m].
        moved: ``(T,)`` how far its centre has come from there [m].
        lift: ``(T,)`` how much higher it is than there [m].
        distances: ``(T, 5)`` of the human fingertips' skin from its surface [m].
        kind: How it is held, as far as the number of fingers goes.
        touched, taken: Frames from which thumb and fingers touch it with the wrist where it will
            take it, and at which it moves.
    """

    name: str
    thing: str
    shape: Shape
    times: np.ndarray
    keypoints: np.ndarray
    rest: np.ndarray
    height: float
    moved: np.ndarray
    lift: np.ndarray
    distances: np.ndarray
    kind: GraspType
    touched: int
    taken: int


def true_rotation(vector: np.ndarray) -> np.ndarray:
    """Rotation ``(3, 3)`` of an object, from the rotation vector ``(3,)`` [rad] that the file has.

    DexYCB writes quaternions as x, y, z, w; the file's vectors are those of the same four numbers
    read as w, x, y, z. As they stand, an axis of a fifth of the objects is upright at the start;
    put right, of three quarters, as of things on a table.
    """
    angle = np.linalg.norm(vector)
    axis = vector / max(angle, 1e-12)
    y, z, w = axis * np.sin(angle / 2)
    return matrix_from_quaternion(np.array([np.cos(angle / 2), y, z, w]))


def subject_of(name: str) -> str:
    """``subject-01`` of a sequence's name ``20200709-subject-01/…``."""
    return name.split("/")[0].split("-", 1)[1]


def read_sequences() -> list[Sequence]:
    """All sequences that show a hand for a second and more."""
    if not DEXYCB.exists():
        raise FileNotFoundError(f"{DEXYCB} is not there; MANIP_DATA names the folder with the data")
    data = dict(np.load(DEXYCB))
    order = np.lexsort((data["frame"], data["seq"]))
    data = {key: value[order] for key, value in data.items()}
    names, starts = np.unique(data["seq"], return_index=True)
    found = []
    for name, start, end in zip(names, starts, [*starts[1:], len(order)], strict=True):
        seen = start + np.flatnonzero(data["valid"][start:end])
        if len(seen) < _LEAST_FRAMES:
            continue
        turns = np.array([true_rotation(row) for row in data["obj_rotvec"][seen].astype(float)])
        first = true_rotation(data["obj_rotvec"][start].astype(float))
        found.append(
            Sequence(
                name=str(name),
                subject=subject_of(str(name)),
                thing=str(data["obj"][start]),
                times=(data["frame"][seen] - data["frame"][seen[0]]) / RATE,
                keypoints=data["joints_mp21"][seen].astype(float),
                rotation=turns,
                position=data["obj_trans"][seen].astype(float),
                rest=(first, data["obj_trans"][start].astype(float)),
            )
        )
    return found


def up_directions(sequences: list[Sequence]) -> dict[str, np.ndarray]:
    """The unit vector ``(3,)`` against gravity in each person's camera frame."""
    found = {}
    for subject in sorted({sequence.subject for sequence in sequences}):
        rests = [sequence.rest for sequence in sequences if sequence.subject == subject]
        places = np.array([place for _, place in rests])
        turns = np.array([turn for turn, _ in rests])
        up = np.linalg.svd(places - places.mean(axis=0))[2][2]
        # The camera looks down on the table.
        up = -up if up @ places.mean(axis=0) > 0 else up
        for _ in range(10):
            along = np.einsum("nij,i->nj", turns, up)
            axis = np.abs(along).argmax(axis=1)
            rows = np.arange(len(turns))
            signed = turns[rows, :, axis] * np.sign(along[rows, axis])[:, None]
            upright = np.abs(along[rows, axis]) > _UPRIGHT
            if upright.sum() < 3:
                break
            up = signed[upright].mean(axis=0)
            up /= np.linalg.norm(up)
        found[subject] = up
    return found


def placements(
    sequences: list[Sequence], ups: dict[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rotation ``(3, 3)`` and offset ``(3,)`` [m] of each thing's primitive in its own frame."""
    found = {}
    for thing in sorted({sequence.thing for sequence in sequences}):
        points = [
            np.einsum(
                "tji,tkj->tki",
                sequence.rotation,
                sequence.keypoints[:, TIPS] - sequence.position[:, None],
            )[(sequence.position - sequence.rest[1]) @ ups[sequence.subject] > _HELD]
            for sequence in sequences
            if sequence.thing == thing
        ]
        found[thing] = _fit(OBJECTS[thing], np.concatenate(points).reshape(-1, 3))
    return found


def _fit(shape: Shape, points: np.ndarray, most: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Turn about z and offset with which tips ``points`` ``(n, 3)`` [m] lie on the surface."""
    points = points[:: max(1, len(points) // most)]
    best = (np.inf, np.eye(3), np.zeros(3))
    shifts = np.arange(-0.02, 0.021, 0.005)
    for turn in np.radians([0.0] if shape.turns else np.arange(0.0, 180.0, 7.5)):
        rotation = exponential(np.array([0.0, 0.0, turn]))
        turned = points @ rotation
        for x in shifts:
            for y in shifts:
                offset = np.array([x, y, 0.0])
                away = np.abs(shape.distance(turned - offset) - PAD)
                # Tips that hold are near; others say nothing. An offset needs a reason.
                cost = np.minimum(away, 0.02).mean() + 0.02 * np.hypot(x, y)
                if cost < best[0]:
                    best = (cost, rotation, rotation @ offset)
    return best[1], best[2]


def stand_up(
    sequence: Sequence,
    shape: Shape,
    up: np.ndarray,
    placement: tuple[np.ndarray, np.ndarray],
) -> Grasp | None:
    """The sequence about an object that rests on z = 0; None where it is not picked up.

    Args:
        sequence: As recorded.
        shape: The primitive that stands for the object.
        up: ``(3,)`` unit vector against gravity, in the sequence's frame.
        placement: Rotation ``(3, 3)`` and offset ``(3,)`` [m] of the primitive in the object's.
    """
    turn, offset = placement
    side = np.cross(up, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    world = np.stack((side, np.cross(up, side), up))
    rest_turn, rest_place = sequence.rest
    rest = _snap(world @ rest_turn @ turn, shape)
    height = shape.height(rest)
    origin = world @ (rest_place + rest_turn @ offset) - [0.0, 0.0, height]
    keypoints = sequence.keypoints @ world.T - origin
    places = (sequence.position + sequence.rotation @ offset) @ world.T - origin
    apart = places - [0.0, 0.0, height]
    tips = sequence.keypoints[:, TIPS] - (sequence.position + sequence.rotation @ offset)[:, None]
    tips = np.einsum("tji,tkj->tki", sequence.rotation @ turn, tips)
    distances = shape.distance(tips) - PAD
    moved = np.linalg.norm(apart, axis=-1)
    if apart[:, 2].max() < 2 * _HELD:
        return None
    # The last time that it lay still before it was up.
    up_at = int(np.argmax(apart[:, 2] > _HELD))
    still = np.flatnonzero(moved[:up_at] < _MOVED)
    taken = int(still[-1]) + 1 if len(still) else 0
    touching = (distances[:, 0] < _TOUCH) & (distances[:, 1:].min(axis=1) < _TOUCH)
    wrist = sequence.keypoints[:, Keypoint.WRIST]
    there = np.linalg.norm(wrist - wrist[taken], axis=-1) < _THERE
    touched = taken
    while touched > 0 and touching[touched - 1] and there[touched - 1]:
        touched -= 1
    return Grasp(
        name=sequence.name,
        thing=sequence.thing,
        shape=shape,
        times=sequence.times,
        keypoints=keypoints,
        rest=rest,
        height=height,
        moved=moved,
        lift=apart[:, 2],
        distances=distances,
        kind=_kind(distances[taken : taken + _HOLDING]),
        touched=touched,
        taken=taken,
    )


def _kind(distances: np.ndarray) -> GraspType:
    """Of a grasp with fingertips at these ``distances`` ``(T, 5)`` [m]."""
    index, middle, ring = distances[:, 1:4].mean(axis=0) < _HOLDS
    if ring or not (index or middle):
        return GraspType.PRISMATIC_4_FINGER
    return GraspType.TRIPOD if middle else GraspType.PALMAR_PINCH


def _snap(rotation: np.ndarray, shape: Shape) -> np.ndarray:
    """The nearest rotation in which it can stand or lie by itself: an axis of its own upright.

    What leant on something else in the recording lies here, for there is nothing else.
    """
    upright = np.abs(rotation[2]) * (shape.kind != CAPSULE or np.array([0.0, 1.0, 1.0]))
    axis = int(upright.argmax())
    column = np.sign(rotation[2, axis]) * rotation[:, axis]
    turn = np.cross(column, [0.0, 0.0, 1.0])
    sine = np.linalg.norm(turn)
    if sine < 1e-9:
        return rotation
    return exponential(turn / sine * np.arctan2(sine, column[2])) @ rotation
