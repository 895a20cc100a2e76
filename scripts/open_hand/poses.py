"""Poses that hands take: two for the mesh to keep, and a sample for the principal components."""

import numpy as np
from scipy.spatial.transform import Rotation

from manip_core.hand_skeleton import FINGERS
from manip_model.hand_regions import MESH_CHAINS, MESH_PARENTS, NUM_MESH_JOINTS
from open_hand.anny_hand import resting_thumb
from open_hand.source import PALM_TO_MANO, Hands, Source, direction, skin, smallest_turn

# (5, 3) turn [rad] of each joint between flat and closed, and to either side, thumb first.
CLOSED = np.radians([(30, 45, 60), *[(80, 95, 60)] * 4])
ASIDE = np.radians([(18, 4, 0), *[(10, 0, 0)] * 4])
RELAXED = 0.25  # of the way from flat to closed
SAMPLES = 20_000


class Articulation:
    """Axes of the joints of the flat hand.

    Attributes:
        flexion: ``(5, 3, 3)`` unit axis of each joint, thumb first; a positive turn closes.
        aside: ``(5, 3, 3)`` unit axis of the turn to the thumb's side.
    """

    def __init__(self):
        ends, hinges = resting_thumb()
        along = np.diff(ends @ PALM_TO_MANO.T, axis=0)
        self.flexion = np.zeros((5, 3, 3))
        self.aside = np.zeros((5, 3, 3))
        for f, finger in enumerate(FINGERS):
            for k in range(3):
                flat = direction(finger, k)
                axis = np.cross(flat, [0.0, -1.0, 0.0])
                if finger == "thumb":
                    # The thumb's nail looks aside: its hinges are those of anny's resting hand.
                    turn = smallest_turn(along[None, k], flat)[0]
                    axis = turn @ PALM_TO_MANO @ hinges[k]
                self.flexion[f, k] = axis / np.linalg.norm(axis)
                self.aside[f, k] = np.cross(flat, self.flexion[f, k])

    def turns(self, closed: np.ndarray, aside: np.ndarray) -> np.ndarray:
        """Local rotations ``(N, 16, 3, 3)``, the wrist's none.

        Args:
            closed: ``(N, 5, 3)`` how far each joint is closed, 1 in a fist.
            aside: ``(N, 5, 3)`` how far it is turned to the thumb's side, -1 to 1.
        """
        flexed = self.flexion * (closed * CLOSED)[..., None]
        turned = self.aside * (aside * ASIDE)[..., None]
        size = len(closed)
        both = Rotation.from_rotvec(turned.reshape(-1, 3)) * Rotation.from_rotvec(
            flexed.reshape(-1, 3)
        )
        out = np.tile(np.eye(3), (size, NUM_MESH_JOINTS, 1, 1))
        out[:, MESH_CHAINS] = both.as_matrix().reshape(size, 5, 3, 3, 3)
        return out


def half_and_full_fist(source: Source, hands: Hands) -> np.ndarray:
    """``(2, V, 3)`` vertices of one flat hand, half and nearly closed."""
    closed = np.array([0.5, 0.9])[:, None, None] * np.ones((1, 5, 3))
    local = Articulation().turns(closed, np.zeros_like(closed))
    turns, places = local.copy(), np.repeat(hands.joints, 2, axis=0)
    for joint, parent in enumerate(MESH_PARENTS):
        if parent < 0:
            continue
        turns[:, joint] = turns[:, parent] @ local[:, joint]
        bone = hands.joints[0, joint] - hands.joints[0, parent]
        places[:, joint] = places[:, parent] + turns[:, parent] @ bone
    before, vertices = (np.repeat(x, 2, axis=0) for x in (hands.joints, hands.vertices))
    return skin(source.weights, turns, before, places, vertices)


def principal_poses(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The relaxed hand ``(45,)`` and the directions ``(45, 45)``, a unit row each, of poses.

    In sampled poses fingers close together, neighbours more alike than others, and the last joint
    follows the one before: most of what hands do lies along a few directions (Santello et al. 1998,
    "Postural hand synergies for tool use").
    """
    articulation = Articulation()
    relaxed = np.full((1, 5, 3), RELAXED)
    mean = _rotvecs(articulation.turns(relaxed, np.zeros_like(relaxed)))[0]

    hand = rng.uniform(-0.05, 0.95, (SAMPLES, 1))
    walk = np.cumsum(rng.normal(0, 0.15, (SAMPLES, 4)), axis=1)
    finger = hand + walk - walk.mean(axis=1, keepdims=True)
    thumb = 0.5 * hand + rng.uniform(0, 0.5, (SAMPLES, 1))
    closed = np.repeat(np.concatenate((thumb, finger), axis=1)[..., None], 3, axis=2)
    closed[..., :2] += rng.normal(0, 0.15, (SAMPLES, 5, 2))
    closed[..., 2] = closed[..., 1] + rng.normal(0, 0.08, (SAMPLES, 5))
    closed = np.clip(closed, -0.15, 1.0)
    aside = np.clip(rng.normal(0, 0.5, closed.shape), -1, 1)
    # Closed fingers cannot be spread.
    aside[:, 1:] *= 1 - 0.8 * np.clip(closed[:, 1:, :1], 0, 1)

    away = _rotvecs(articulation.turns(closed, aside)) - mean
    _, directions = np.linalg.eigh(away.T @ away)
    directions = directions.T[::-1]
    # Closing counts as positive.
    closing = _rotvecs(articulation.turns(relaxed + 0.5, 0 * relaxed))[0] - mean
    return mean, directions * np.where(directions @ closing < 0, -1.0, 1.0)[:, None]


def _rotvecs(turns: np.ndarray) -> np.ndarray:
    vectors = Rotation.from_matrix(turns[:, 1:].reshape(-1, 3, 3)).as_rotvec()
    return vectors.reshape(len(turns), -1)
