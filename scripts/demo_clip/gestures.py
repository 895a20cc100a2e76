"""The clip's gestures as finger angles: pads that truly meet, fists that stop at the skin."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from demo_clip.skin_gap import PadGauge, SkinPatch, on_faces
from manip_core.hand import RIGHT, SIDES
from manip_core.hand_skeleton import CONTACT_FINGERS, FINGERS
from manip_model.hand_model import NUM_SHAPE, HandMesh, HandModel
from manip_model.hand_regions import MESH_CHAINS
from manip_training.synthetic.poses import NUM_ANGLES, TOUCHES, PoseSpace
from manip_training.synthetic.touching import SelfContact

# The first shape direction is size: wrist to middle fingertip 0.188 m, the mean of adults.
SHAPE = (-0.2, *(0.0,) * (NUM_SHAPE - 1))
PRESS = -0.0004  # [m], gap at which skin meets skin: flesh gives way a little
HOVER = 0.0035  # [m], of the thumb over a fist's fingers: a fist is no pinch

# Rows of a pose: the four fingers, then the thumb.
DOF = {f: slice(4 * k, 4 * k + 4) for k, f in enumerate(CONTACT_FINGERS)} | {
    "thumb": slice(16, NUM_ANGLES)
}


def degrees(**fingers: Sequence[float]) -> np.ndarray:
    """Pose ``(21,)`` [rad] in the order of ``PoseSpace``; fingers that are not named rest."""
    pose = np.zeros(NUM_ANGLES)
    for finger, values in fingers.items():
        pose[DOF[finger]] = np.radians(values)
    return pose


OPEN = degrees(
    thumb=(10, -6, 6, 6, 8),
    index=(4, 8, 6, 0),
    middle=(4, 8, 6, 0),
    ring=(4, 8, 6, 0),
    little=(4, 8, 6, 0),
)
# Before each pinch; the touch is solved for from here.
REACHING = {
    "index": degrees(
        thumb=(30, 0, 22, 14, 14),
        index=(46, 42, 18, 0),
        middle=(16, 18, 10, 0),
        ring=(14, 16, 9, 0),
        little=(12, 14, 8, 2),
    ),
    "middle": degrees(
        thumb=(40, 8, 24, 18, 16),
        index=(6, 9, 6, 0),
        middle=(54, 48, 24, 0),
        ring=(24, 22, 12, 2),
        little=(14, 14, 8, 4),
    ),
    "ring": degrees(
        thumb=(48, 18, 28, 26, 18),
        index=(4, 8, 5, 0),
        middle=(16, 16, 9, 0),
        ring=(58, 50, 12, 6),
        little=(32, 28, 15, 8),
    ),
    "little": degrees(
        thumb=(58, 28, 34, 32, 18),
        index=(4, 8, 5, 0),
        middle=(12, 14, 8, 0),
        ring=(38, 30, 16, 6),
        little=(62, 52, 16, 14),
    ),
}
# A closing hand, further than skin lets it.
CURL = degrees(
    index=(84, 104, 70, -5),
    middle=(84, 104, 70, 0),
    ring=(84, 104, 70, 6),
    little=(84, 104, 70, 12),
)
THUMB_ASIDE = degrees(thumb=(20, -4, 12, 8, 8))
THUMB_OVER = degrees(thumb=(40, 30, 30, 30, 50))


class Gestures:
    """Solves the clip's gestures on one hand.

    Attributes:
        open, fist_aside, fist, point_aside, point: ``(21,)`` [rad]; ``aside`` is the thumb, which
            goes in last and out first, or it would pass through the fingers.
        pinch: The same by finger.
        gauge: Of the pads' gaps.
    """

    def __init__(self, model: HandModel):
        self._model, self._space = model, PoseSpace(model, "cpu")
        self._contact = SelfContact(model, self._space, "cpu")
        self.gauge = PadGauge(model, self._space)
        self._faces, self._weights = model.faces.numpy(), model.weights.numpy()
        self.open = OPEN
        self.pinch = {finger: self._pinch(finger) for finger in CONTACT_FINGERS}
        aside = THUMB_ASIDE.copy()
        for finger in CONTACT_FINGERS:
            aside = self._fold(aside, finger)
        pointing = aside.copy()
        pointing[DOF["index"]] = OPEN[DOF["index"]]
        self.fist_aside, self.fist = aside, self._thumb_over(aside, CONTACT_FINGERS)
        self.point_aside = pointing
        self.point = self._thumb_over(pointing, CONTACT_FINGERS[1:])

    def pose(self, poses: np.ndarray) -> HandMesh:
        """Hands of poses ``(N, 21)``, at rest in space, the wrist unturned."""
        count = len(poses)
        fingers = self._space.rotations(torch.as_tensor(poses, dtype=torch.float32))
        still = torch.eye(3).expand(count, 1, 3, 3)
        side = torch.full((count,), SIDES.index(RIGHT))
        shape = torch.tensor(SHAPE).expand(count, -1)
        with torch.no_grad():
            return self._model(torch.cat((still, fingers), 1), shape, torch.zeros(count, 3), side)

    def _skin(self, pose: np.ndarray) -> np.ndarray:
        return self.pose(pose[None]).vertices[0].double().numpy()

    def _touch(self, pose: np.ndarray, touch: str) -> np.ndarray:
        """The pose from which the thumb's pad lies on what ``touch`` names."""
        angles = torch.as_tensor(pose, dtype=torch.float32)[None, None]
        shape = torch.tensor(SHAPE)[None]
        met, _ = self._contact.touch(angles, torch.tensor([TOUCHES.index(touch)]), shape)
        return met[0, 0].double().numpy()

    def _pinch(self, finger: str) -> np.ndarray:
        start = REACHING[finger]
        return first_touch(
            start, self._touch(start, finger), lambda p: self.gauge.gap(self._skin(p), finger)
        )

    def _fold(self, pose: np.ndarray, finger: str) -> np.ndarray:
        """The pose with one finger bent until it meets the palm."""
        start, end = pose.copy(), pose.copy()
        start[DOF[finger]], end[DOF[finger]] = 0.5 * CURL[DOF[finger]], CURL[DOF[finger]]
        chain = MESH_CHAINS[FINGERS.index(finger)]
        thumb = MESH_CHAINS[0]
        return self._close(start, end, chain[2:], (0, thumb[0]), PRESS)

    def _thumb_over(self, pose: np.ndarray, closed: Sequence[str]) -> np.ndarray:
        over = pose.copy()
        over[DOF["thumb"]] = THUMB_OVER[DOF["thumb"]]
        wall = [joint for f in closed for joint in MESH_CHAINS[FINGERS.index(f)]]
        return self._close(pose, over, MESH_CHAINS[0][2:], wall, HOVER)

    def _close(self, start, end, mover: Sequence[int], wall: Sequence[int], until: float):
        """Between two poses, where the skin of joints ``mover`` comes near that of ``wall``."""
        moving = self._of(mover)
        patch = SkinPatch(self._of(wall))

        def gap(pose: np.ndarray) -> float:
            hand = self._skin(pose)
            return float(patch.gap(on_faces(hand[moving]), hand).min())

        return first_touch(start, end, gap, until)

    def _of(self, joints: Sequence[int]) -> np.ndarray:
        """Faces ``(F, 3)`` that ride mostly on some joints."""
        weight = self._weights[:, list(joints)].sum(axis=1)
        return self._faces[weight[self._faces].mean(axis=1) > 0.6]


def first_touch(
    start: np.ndarray,
    end: np.ndarray,
    gap: Callable[[np.ndarray], float],
    until: float = PRESS,
) -> np.ndarray:
    """The first pose ``(21,)`` on the straight way between two at which the gap is ``until`` [m].

    Raises:
        RuntimeError: The way starts nearer than that, or never comes as near.
    """
    shares = np.linspace(0.0, 1.0, 21)
    gaps = np.array([gap(start + share * (end - start)) for share in shares])
    through = np.flatnonzero(gaps < until)
    if not len(through) or through[0] == 0:
        raise RuntimeError(
            f"no first touch: gaps of {1e3 * gaps[0]:.1f} to {1e3 * gaps.min():.1f} mm on the way "
            f"to {1e3 * gaps[-1]:.1f} mm, looking for {1e3 * until:.1f} mm"
        )
    low, high = shares[through[0] - 1], shares[through[0]]
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (low, middle) if gap(start + middle * (end - start)) < until else (middle, high)
    return start + low * (end - start)
