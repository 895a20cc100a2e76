"""Sequences for the action decoder: hands that handle things and hands that gesture, with labels.

A third of the sequences has no grasp in it: hands that only seem to grasp, and gestures, before
things that lie about.
"""

from dataclasses import dataclass

import numpy as np
import torch

from manip_core.grasp_types import NUM_GRASP_TYPES
from manip_core.manipulation import NUM_STEPS, STEP
from manip_model.config import YCB_CLASSES
from manip_model.rotations import matrix_from_rotvec
from manip_training.action.grasp_rule import Shape, grasp_types
from manip_training.action.labels import Grasped, find_grasps
from manip_training.data.primitives import PRIMITIVES
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.grasps import BANK, PRECISION_BANK, TRAINING_BANKS, GraspBank, Stored
from manip_training.synthetic.handling import Handlings
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

SHAPES = tuple(Shape.of(PRIMITIVES[name]) for name in YCB_CLASSES)
# Share of gestures among the sequences, and of these, that have a thing beside them; how far from
# the hand's middle that lies [m].
_GESTURES, _BESIDE, _APART = 0.15, 0.7, (0.2, 0.5)
# Frames beyond those that are seen: what is foretold, and what the rule needs to know a grasp [s].
AHEAD = NUM_STEPS * STEP + 0.4
# What a stored grasp is shaken by, how often, and how often it must stay of its type to be drawn.
_SHAKEN, _TIMES, _STEADY = 0.003, 16, 0.75
# Deviation of the logarithm of the scale of scenes that are varied.
_SCALED = 0.03


@dataclass(frozen=True)
class Scenes:
    """Right hands and things, B sequences of T frames, ``camera_optical_frame``.

    Attributes:
        times: ``(T,)`` [s].
        joints: ``(B, T, 21, 3)`` [m].
        index: ``(B,)`` class of the thing; -1 for none.
        rotation, position: ``(B, T, 3, 3)`` and ``(B, T, 3)`` [m] of it.
        grasps: Of each sequence, by the rule.
        must_show: ``(B,)`` bool: that this is no grasp can be seen of the thing alone.
        scale: ``(B,)`` of the things against those of their classes.
    """

    times: np.ndarray
    joints: np.ndarray
    index: np.ndarray
    rotation: np.ndarray
    position: np.ndarray
    grasps: list[list[Grasped]]
    must_show: np.ndarray
    scale: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """``(B, 3)`` [m] of the things along their axes."""
        sizes = np.stack([SHAPES[index].size for index in np.maximum(self.index, 0)])
        return sizes * self.scale[:, None]


class SceneDraw:
    """Draws scenes of one variant of the synthetic world.

    Attributes:
        handlings: What it draws hands that handle things from.
        kinds, steady: Of its grasps, see :func:`stored_types`.

    Args:
        variant: ``"train"`` or ``"val"``: other people, grasps and cameras.
        balanced: Draw each type of grasp alike, and none that is not steady: of those nobody could
            say what they are. Else all of the bank's grasps alike.
    """

    def __init__(self, variant: str, balanced: bool = True):
        world = SyntheticWorld(WorldConfig(variant=variant, free=0.15), size=64)
        self._motions = world.motions
        files = (BANK, PRECISION_BANK) + TRAINING_BANKS * (variant == "train")
        self.handlings = world.handlings(GraspBank(variant, "cpu", files))
        self.kinds, self.steady = stored_types(self.handlings)
        if balanced:
            counts = np.bincount(self.kinds[self.steady], minlength=NUM_GRASP_TYPES)
            weights = self.steady / np.maximum(counts, 1)[self.kinds]
            self.handlings.weigh(torch.tensor(weights))

    def handled(
        self,
        size: int,
        frames: int,
        rate: float,
        seed: int,
        whole: bool = False,
        varied: bool = False,
    ) -> Scenes:
        """Hands that handle things, or seem to; see :meth:`Handlings.draw`. Where they are varied,
        hand and thing are smaller or larger as well."""
        generator = torch.Generator().manual_seed(seed)
        same = self._same if varied else None
        drawn = self.handlings.draw(size, frames, rate, generator, whole, same)
        scale = np.exp(varied * _SCALED * np.random.default_rng(seed).normal(size=size))
        motion = drawn.motion
        return _labelled(
            motion.times.double().numpy(),
            motion.joints.double().numpy() * scale[:, None, None, None],
            drawn.index.numpy(),
            drawn.rotation.double().numpy(),
            drawn.position.double().numpy() * scale[:, None, None],
            ~drawn.grasped.numpy(),
            scale,
        )

    def _same(self, rows: torch.Tensor, changed: Stored) -> torch.Tensor:
        kinds = _types(self.handlings, changed)
        return torch.from_numpy(kinds == self.kinds[rows.numpy()])

    def gestures(self, size: int, frames: int, rate: float, seed: int) -> Scenes:
        """Hands that gesture, most of them with a thing beside them."""
        generator = torch.Generator().manual_seed(seed)
        motion = self._motions.draw(size, frames, rate, generator)
        draw = Draw(size, generator)
        index = torch.where(draw.chance(_BESIDE), draw.index(len(SHAPES)), -1)
        way = torch.nn.functional.normalize(draw.normal(3), dim=-1)
        place = motion.joints.mean((1, 2)) + way * draw.uniform(*_APART, 1)
        rotation = draw.rotation()[:, None].expand(-1, frames, 3, 3)
        return _labelled(
            motion.times.double().numpy(),
            motion.joints.double().numpy(),
            index.numpy(),
            rotation.double().numpy(),
            place[:, None].expand(-1, frames, 3).double().numpy(),
            np.zeros(size, dtype=bool),
            np.ones(size),
        )

    def mixed(self, size: int, frames: int, rate: float, seed: int) -> Scenes:
        """Of both, varied: what is learnt from."""
        few = round(_GESTURES * size)
        parts = (
            self.handled(size - few, frames, rate, seed, varied=True),
            self.gestures(max(few, 1), frames, rate, seed + 1),
        )
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("joints", "index", "rotation", "position", "must_show", "scale")
        }
        return Scenes(times=parts[0].times, grasps=parts[0].grasps + parts[1].grasps, **joined)


def _labelled(times, joints, index, rotation, position, must_show, scale) -> Scenes:
    grasps = [
        find_grasps(
            times, joints[row], rotation[row], position[row], SHAPES[kind].scaled(scale[row])
        )
        if kind >= 0
        else []
        for row, kind in enumerate(index.tolist())
    ]
    return Scenes(times, joints, index, rotation, position, grasps, must_show, scale)


def stored_types(handlings: Handlings, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Type ``(N,)`` of each grasp of the bank by the rule, and whether it is steady: the same in
    most cases when keypoints and object are 3 mm off."""
    every = handlings.bank.rows(torch.arange(len(handlings.bank)))
    joints, rotation, position = _closed(handlings, every)
    rng = np.random.default_rng(seed)
    kinds, steady = np.empty(len(joints), dtype=int), np.empty(len(joints), dtype=bool)
    for row, index in enumerate(every.index.tolist()):
        hands = joints[row] + _SHAKEN * rng.normal(size=(_TIMES + 1, 21, 3)) / np.sqrt(3)
        places = position[row] + _SHAKEN * rng.normal(size=(_TIMES + 1, 3)) / np.sqrt(3)
        hands[0], places[0] = joints[row], position[row]
        turns = np.broadcast_to(rotation[row], (_TIMES + 1, 3, 3))
        found = grasp_types(hands, turns, places, SHAPES[index])
        kinds[row] = found[0]
        steady[row] = (found[1:] == found[0]).mean() >= _STEADY
    return kinds, steady


def _closed(handlings: Handlings, stored: Stored) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keypoints ``(B, 21, 3)`` [m] of closed hands, turn and place of the things."""
    with torch.no_grad():
        closed = matrix_from_rotvec(stored.closed)[:, None]
        joints = handlings.keypoints(closed, stored.shape)[:, 0]
    return tuple(x.double().numpy() for x in (joints, stored.rotation, stored.position))


def _types(handlings: Handlings, stored: Stored) -> np.ndarray:
    """``(B,)`` by the rule."""
    joints, rotation, position = _closed(handlings, stored)
    kinds = np.empty(len(joints), dtype=int)
    index = stored.index.numpy()
    for one in np.unique(index):
        rows = index == one
        kinds[rows] = grasp_types(joints[rows], rotation[rows], position[rows], SHAPES[one])
    return kinds
