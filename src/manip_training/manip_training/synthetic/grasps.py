"""Hands that hold something: a bank of grasps, of which each picture takes one and changes it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manip_core.resources import find
from manip_model.rotations import matrix_from_rotvec
from manip_training.synthetic.draw import Draw

BANK = "assets/hand/grasps.npz"
# Grasps with the fingertips, of which pictures show none yet.
PRECISION_BANK = "assets/hand/precision_grasps.npz"
# More of those, and of both kinds, to learn from alone.
TRAINING_BANKS = ("assets/hand/training_grasps.npz", "assets/hand/training_grasps_mixed.npz")
# One grasp in so many is kept for validation.
HELD_OUT = 5
# Small changes of a stored grasp: shape values, joint angles [rad], place [m].
SHAPE_NOISE, POSE_NOISE, PLACE_NOISE = 0.1, 0.02, 0.0007
# The farthest that an open hand's object lies from where the grasp has it [m].
STANDOFF = 0.06


@dataclass(frozen=True)
class Held:
    """What each hand of a batch would hold, in the frame of the right hand at rest.

    Attributes:
        index: ``(B,)`` class of the object.
        shape: ``(B, 10)`` of the hand that the grasp was made for.
        fingers: ``(B, 15, 3, 3)`` turns of the joints but the wrist.
        rotation, position: ``(B, 3, 3)`` and ``(B, 3)`` [m] of the object.
        closed: ``(B,)`` bool, the hand has closed; else it still comes near.
    """

    index: Tensor
    shape: Tensor
    fingers: Tensor
    rotation: Tensor
    position: Tensor
    closed: Tensor


@dataclass(frozen=True)
class Stored:
    """Grasps as they are stored, in the frame of the right hand at rest.

    Attributes:
        index: ``(B,)`` class of the object.
        shape: ``(B, 10)`` of the hand.
        opened, closed: ``(B, 15, 3)`` rotation vectors [rad] of the joints but the wrist.
        rotation, position: ``(B, 3, 3)`` and ``(B, 3)`` [m] of the object.
    """

    index: Tensor
    shape: Tensor
    opened: Tensor
    closed: Tensor
    rotation: Tensor
    position: Tensor


class GraspBank:
    """The stored grasps of one variant, on one device.

    Args:
        variant: ``"train"`` or ``"val"``.
        device: Of all tensors.
        files: Where they are stored, in the suite's share.
    """

    def __init__(self, variant: str, device: torch.device | str, files: tuple[str, ...] = (BANK,)):
        columns = [_read(file, variant) for file in files]
        stored = {
            name: torch.tensor(np.concatenate([part[name] for part in columns]), device=device)
            for name in columns[0]
        }
        self._object, self._shape = stored["object"].long(), stored["shape"]
        self._opened, self._closed = stored["opened"], stored["closed"]
        self._rotation = matrix_from_rotvec(stored["rotation"])
        self._position = stored["position"]
        away = torch.tensor((0.0, -1.0, 0.0), device=device)
        self._away = STANDOFF * away

    def __len__(self) -> int:
        return len(self._object)

    def rows(self, rows: Tensor) -> Stored:
        """Those of rows ``(B,)``, unchanged."""
        return Stored(
            self._object[rows],
            self._shape[rows],
            self._opened[rows],
            self._closed[rows],
            self._rotation[rows],
            self._position[rows],
        )

    def draw(self, draw: Draw, closed: float) -> Held:
        """A grasp for each image.

        Args:
            draw: Random numbers.
            closed: Probability that the hand has closed.
        """
        rows = draw.index(len(self))
        done = draw.chance(closed)
        way = torch.where(done, 1.0, draw.uniform(0, 0.95))[:, None, None]
        turns = torch.lerp(self._opened[rows], self._closed[rows], way)
        turns = turns + POSE_NOISE * draw.normal(15, 3) * draw.uniform(0, 1, 1, 1)
        nudge = PLACE_NOISE * draw.normal(3)
        nudge = nudge + self._away * (draw.uniform(0, 1, 1) ** 2 * (1 - way[:, 0]))
        return Held(
            index=self._object[rows],
            shape=self._shape[rows] + SHAPE_NOISE * draw.normal(10),
            fingers=matrix_from_rotvec(turns),
            rotation=self._rotation[rows] @ matrix_from_rotvec(0.01 * draw.normal(3)),
            position=self._position[rows] + nudge,
            closed=done,
        )


def _read(file: str, variant: str) -> dict[str, np.ndarray]:
    """Columns of a file, float32, but the rows that are another variant's."""
    with np.load(find(file)) as stored:
        count = len(stored["object"])
        held_out = (np.arange(count) % HELD_OUT == 0) & (file not in TRAINING_BANKS)
        rows = held_out if variant == "val" else ~held_out
        return {name: stored[name][rows].astype(np.float32) for name in stored.files}
