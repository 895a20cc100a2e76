"""Right hands of many people from the ``anny`` body model, laid flat in MANO's rest pose.

MANO's axes: fingers along -x, palm facing -y, thumb side +z; lengths in [m].
"""

from dataclasses import dataclass

import anny
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import FINGERS, Keypoint
from manip_model.hand_regions import MESH_CHAINS, MESH_FINGERS, NUM_MESH_JOINTS
from open_hand.anny_hand import CHAINS, HAND, PHENOTYPE, WRIST_SHIFT

# Palm frame of manip_core.hand.palm_rotation to MANO's axes.
PALM_TO_MANO = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
# Where the wrist joint lies, about as in MANO: the origin is then near the middle knuckle.
WRIST = np.array([0.095, 0.006, 0.006])

# anny's knuckles of these fingers lie too far from the wrist by this much [m], in a grown hand:
# once moved, proximal phalanges measure 40, 45, 41 and 33 parts, as in Buryanov and Kotiuk,
# "Proportions of Hand Segments", Int. J. Morphol. 2010.
KNUCKLE_SHIFT = {"index": 0.0045, "ring": 0.0015, "little": 0.0036}
# Its thumb's proximal phalanx is longer than the metacarpal, where bones measure 32 and 46 parts:
# the thumb's knuckle is moved towards the tip, as far as the skin weights still bend well.
THUMB_SHIFT = 0.0045
# Its thumb's base lies near the back of the hand: this moves it halfway to the palm [m].
BASE_SHIFT = np.array([0.0, -0.006, 0.0])

# Directions of the straight fingers in the flat hand [deg]: towards the thumb's side, and towards
# the palm. Fingers fan out a little from the middle one; the thumb's metacarpal stands at 45
# degrees and its phalanges lie closer to the index finger.
FAN = {
    "index": ((4, 0),) * 3,
    "middle": ((-2, 0),) * 3,
    "ring": ((-9, 0),) * 3,
    "little": ((-17, 0),) * 3,
    "thumb": ((45, 18), (38, 10), (32, 6)),
}


@dataclass
class Hands:
    """N hands: ``vertices (N, V, 3)``, ``joints (N, 16, 3)`` in the order of MANO [m]."""

    vertices: np.ndarray
    joints: np.ndarray


class Source:
    """The anny model of the right hand.

    Attributes:
        faces: ``(3196, 3)``.
        weights: ``(1609, 16)`` skinning weights of MANO's joints; forearm and metacarpals count as
            the wrist.
        tips: ``(5,)`` the vertex at the end of each finger, thumb first.
    """

    def __init__(self):
        self._model = anny.Anny(rig="anny-hand.R", topology="hand.R", phenotypes="all")
        self.faces = self._model.faces.numpy().astype(np.int64)
        rows = np.zeros(self._model.bone_count, dtype=int)
        for k, finger in enumerate(MESH_FINGERS):
            rows[list(CHAINS[finger])] = 1 + 3 * k + np.arange(3)
        bones = self._model.vertex_bone_indices.numpy()
        self.weights = np.zeros((len(bones), NUM_MESH_JOINTS))
        np.add.at(
            self.weights,
            (np.arange(len(bones))[:, None], rows[bones]),
            self._model.vertex_bone_weights.numpy(),
        )
        self.weights /= self.weights.sum(axis=1, keepdims=True)
        self._heads = np.array([HAND, *(b for f in MESH_FINGERS for b in CHAINS[f])])
        adult = self._raw({k: np.array([v]) for k, v in PHENOTYPE.items()})
        self._size = np.linalg.norm(adult.joints[0, 4] - adult.joints[0, 0])
        self.tips = self._ends(adult)

    def _raw(self, phenotypes: dict[str, np.ndarray]) -> Hands:
        size = len(next(iter(phenotypes.values())))
        identity = torch.eye(4, dtype=torch.float64).expand(size, self._model.bone_count, 4, 4)
        with torch.no_grad():
            found = self._model(
                pose_parameters=identity,
                phenotype_kwargs={k: torch.as_tensor(v) for k, v in phenotypes.items()},
            )
        heads = found["rest_bone_heads"].double().numpy()
        return Hands(found["rest_vertices"].double().numpy(), heads[:, self._heads])

    def _ends(self, hands: Hands) -> np.ndarray:
        ends = []
        for chain in MESH_CHAINS:
            joint, vertices = hands.joints[0, chain[2]], hands.vertices[0]
            own = np.flatnonzero(self.weights[:, chain[2]] > 0.6)
            away = vertices[own] - joint
            axis = away.mean(axis=0)
            for _ in range(3):
                along = away @ axis
                cap = away[along > np.quantile(along, 0.85)]
                axis = cap.mean(axis=0)
            ends.append(own[(away @ axis).argmax()])
        return np.array(ends)

    def flat(self, phenotypes: dict[str, np.ndarray]) -> Hands:
        """Hands of people with these phenotype values ``(N,)``, flat, their wrists at ``WRIST``."""
        hands = self._raw(phenotypes)
        joints, vertices = hands.joints, hands.vertices
        scale = np.linalg.norm(joints[:, 4] - joints[:, 0], axis=1) / self._size
        forward = joints[:, 4] - joints[:, 0]
        forward /= np.linalg.norm(forward, axis=1, keepdims=True)
        joints[:, 0] += WRIST_SHIFT * scale[:, None] * forward
        for n in range(len(joints)):
            turn = palm_rotation(_keypoints(joints[n])) @ PALM_TO_MANO.T
            origin = joints[n, 0].copy()
            vertices[n] = (vertices[n] - origin) @ turn + WRIST
            joints[n] = (joints[n] - origin) @ turn + WRIST
        for finger, shift in KNUCKLE_SHIFT.items():
            knuckle = MESH_CHAINS[FINGERS.index(finger), 0]
            back = WRIST - joints[:, knuckle]
            back /= np.linalg.norm(back, axis=1, keepdims=True)
            joints[:, knuckle] += shift * scale[:, None] * back
        base, knuckle, hinge = MESH_CHAINS[FINGERS.index("thumb")]
        joints[:, base] += BASE_SHIFT * scale[:, None]
        ahead = joints[:, hinge] - joints[:, knuckle]
        ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
        joints[:, knuckle] += THUMB_SHIFT * scale[:, None] * ahead
        return self._straighten(hands)

    def _straighten(self, hands: Hands) -> Hands:
        turns = np.tile(np.eye(3), (*hands.joints.shape[:2], 1, 1))
        joints = hands.joints.copy()
        for finger, chain, tip in zip(FINGERS, MESH_CHAINS, self.tips, strict=True):
            points = [hands.joints[:, j] for j in chain] + [hands.vertices[:, tip]]
            at = hands.joints[:, chain[0]]
            for k, joint in enumerate(chain):
                bone = points[k + 1] - points[k]
                turns[:, joint] = smallest_turn(bone, direction(finger, k))
                joints[:, joint] = at
                at = at + np.einsum("nij,nj->ni", turns[:, joint], bone)
        vertices = skin(self.weights, turns, hands.joints, joints, hands.vertices)
        return Hands(vertices, joints)


def direction(finger: str, bone: int) -> np.ndarray:
    """Unit vector ``(3,)`` of a finger's bone 0, 1 or 2 in the flat hand."""
    aside, down = np.radians(FAN[finger][bone])
    return np.array([-np.cos(aside) * np.cos(down), -np.sin(down), np.sin(aside) * np.cos(down)])


def smallest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The least rotations ``(N, 3, 3)`` that take directions ``(N, 3)`` to a direction ``(3,)``."""
    start = start / np.linalg.norm(start, axis=1, keepdims=True)
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sine, start @ end[:, None])
    return Rotation.from_rotvec(axis / np.maximum(sine, 1e-12) * angle).as_matrix()


def skin(
    weights: np.ndarray,
    turns: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    vertices: np.ndarray,
) -> np.ndarray:
    """Blended motion of ``vertices (N, V, 3)`` with joints that turn by ``(N, 16, 3, 3)``, from
    places ``before`` to ``after`` ``(N, 16, 3)``."""
    moves = after - np.einsum("njab,njb->nja", turns, before)
    blended = np.einsum("vj,njab->nvab", weights, turns)
    return np.einsum("nvab,nvb->nva", blended, vertices) + np.einsum("vj,nja->nva", weights, moves)


def _keypoints(joints: np.ndarray) -> np.ndarray:
    """The keypoints that the palm's orientation is read from, among zeros."""
    points = np.zeros((len(Keypoint), 3))
    points[Keypoint.WRIST] = joints[0]
    for finger, chain in zip(FINGERS, MESH_CHAINS, strict=True):
        if finger != "thumb":
            points[Keypoint[f"{finger.upper()}_MCP"]] = joints[chain[0]]
    return points
