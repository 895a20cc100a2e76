"""Hands that hold something: a bank of grasps, of which each picture takes one and changes it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manip_core.resources import find
from manip_model.rotations import matrix_from_rotvec
from manip_training.synthetic.draw import Draw

BANK = "assets/hand/grasps.npz"
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


class GraspBank:
    """The stored grasps of one variant, on one device."""

    def __init__(self, variant: str, device: torch.device | str):
        with np.load(find(BANK)) as stored:
            held_out = np.arange(len(stored["object"])) % HELD_OUT == 0
            rows = held_out if variant == "val" else ~held_out
            self._object = torch.tensor(stored["object"][rows].astype(np.int64), device=device)
            names = ("shape", "opened", "closed", "rotation", "position")
            self._shape, self._opened, self._closed, rotation, self._position = (
                torch.tensor(stored[name][rows].astype(np.float32), device=device) for name in names
            )
        self._rotation = matrix_from_rotvec(rotation)
        away = torch.tensor((0.0, -1.0, 0.0), device=device)
        self._away = STANDOFF * away

    def __len__(self) -> int:
        return len(self._object)

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
