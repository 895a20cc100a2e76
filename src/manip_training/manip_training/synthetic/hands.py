"""Hands at rest in space: gestures, or what holds an object."""

from dataclasses import dataclass

import torch
from torch import Tensor

from manip_core.hand import RIGHT, SIDES
from manip_model.hand_model import HandMesh, HandModel
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.grasps import GraspBank, Held
from manip_training.synthetic.people import People
from manip_training.synthetic.poses import PoseSpace
from manip_training.synthetic.touching import SelfContact
from manip_training.synthetic.world_config import WorldConfig


@dataclass(frozen=True)
class Hands:
    """Right hands, untranslated, wrist unturned.

    Attributes:
        fingers: ``(B, 15, 3, 3)`` turns of the joints but the wrist.
        shape: ``(B, 10)``.
        mesh: As :class:`~manip_model.hand_model.HandModel` poses them.
        holds: ``(B,)`` bool, there is an object in or before the hand.
        held: What is held; where nothing is, what would be.
        thumb_up: ``(B,)`` bool, the gesture points with its thumb.
    """

    fingers: Tensor
    shape: Tensor
    mesh: HandMesh
    holds: Tensor
    held: Held
    thumb_up: Tensor


@dataclass(frozen=True)
class Gestures:
    """Poses of the fingers.

    Attributes:
        angles: ``(B, 21)`` [rad], as of :mod:`manip_training.synthetic.poses`.
        touch: ``(B,)`` int64 row of ``TOUCHES``: what the thumb's pad touches.
        upright: ``(B,)`` bool, the thumb points up instead of the fingers.
    """

    angles: Tensor
    touch: Tensor
    upright: Tensor


class HandDraw:
    """Draws hands; constants on one device."""

    def __init__(
        self, config: WorldConfig, model: HandModel, people: People, device: torch.device | str
    ):
        self._config, self._model, self._people = config, model, people
        self._space = PoseSpace(model, device)
        self._contact = SelfContact(model, self._space, device)
        self._grasps = GraspBank(config.variant, device)

    def draw(self, draw: Draw) -> Hands:
        """One for each image: of several poses the one that passes least through itself."""
        config = self._config
        held = self._grasps.draw(draw, config.closed)
        holds = draw.chance(config.holding)
        shape = torch.where(holds[:, None], held.shape, self.shapes(draw))
        gestures = self.gestures(draw, shape)
        fingers = self.rotations(gestures.angles)
        fingers = torch.where(holds[:, None, None, None], held.fingers, fingers)
        return Hands(
            fingers=fingers,
            shape=shape,
            mesh=self._pose(fingers, shape),
            holds=holds,
            held=held,
            thumb_up=gestures.upright & ~holds,
        )

    def posed(self, draw: Draw, fingers: Tensor, shape: Tensor) -> Hands:
        """Empty hands of fingers ``(B, 15, 3, 3)`` and shapes ``(B, 10)``."""
        nothing = torch.zeros(len(shape), dtype=torch.bool, device=shape.device)
        held = self._grasps.draw(draw, self._config.closed)
        return Hands(fingers, shape, self._pose(fingers, shape), nothing, held, nothing)

    def shapes(self, draw: Draw) -> Tensor:
        """``(B, 10)`` shape values."""
        return self._people.shapes(draw)

    def gestures(self, draw: Draw, shape: Tensor) -> Gestures:
        """Gestures, and poses between two, of hands of a shape ``(B, 10)``."""
        config = self._config
        first, other = self._space.families(draw), self._space.families(draw)
        blended = draw.chance(config.blend)
        way = draw.uniform(0, 1) * blended
        angles = self._space.angles(draw, first, other, way, config.candidates)
        # Between two gestures a thumb touches nothing in particular.
        touch = self._space.touch[first] * ~blended
        angles, gaps = self._contact.touch(angles, touch, shape)
        angles = self._contact.best(angles, gaps, shape)
        return Gestures(angles, touch, self._space.upright[first] & ~blended)

    def rotations(self, angles: Tensor) -> Tensor:
        """Turns ``(…, 15, 3, 3)`` of the joints but the wrist, of angles ``(…, 21)`` [rad]."""
        return self._space.rotations(angles)

    def _pose(self, fingers: Tensor, shape: Tensor) -> HandMesh:
        size, device = len(shape), shape.device
        still = torch.eye(3, device=device).expand(size, 1, 3, 3)
        side = torch.full((size,), SIDES.index(RIGHT), device=device)
        nowhere = torch.zeros(size, 3, device=device)
        return self._model(torch.cat((still, fingers), 1), shape, nowhere, side)
