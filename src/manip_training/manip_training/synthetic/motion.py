"""Hands that move: from gesture to gesture, along a path before the camera, at any frame rate.

People reach from posture to posture with bell-shaped speed (the minimum-jerk profile of Flash and
Hogan 1985, "The coordination of arm movements"), rest there for a while, and no two fingers begin
at quite the same time. The wrist meanwhile wanders and turns: slow sways are wide, quick ones
small.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from manip_core.hand import RIGHT, SIDES
from manip_model.hand_model import HandModel
from manip_model.rotations import matrix_from_rotvec
from manip_training.synthetic.cameras import Cameras
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.hands import HandDraw
from manip_training.synthetic.poses import NUM_ANGLES

# From one gesture to the next, and at rest in it [s]; share of gestures that are held.
_WAY, _REST, _HELD = (0.18, 0.9), (0.1, 1.2), 0.6
# How much later than the first finger another may begin [s].
_LATE = 0.08
# Tremor and small corrections of each angle [rad].
_RESTLESS = 0.015
# Sways of the wrist: frequencies [Hz], and how wide those of 1 Hz are [m] and [rad]; the others in
# inverse proportion, down to the slowest.
_SWAYS = (0.12, 0.3, 0.7, 1.5)
WIDE, TURNED = 0.03, 0.11
# Nearest the hand's middle comes to the camera [m].
_NEAREST = 0.25


@dataclass(frozen=True)
class Motion:
    """Right hands over time, B sequences of T frames.

    Attributes:
        times: ``(T,)`` [s].
        joints: ``(B, T, 21, 3)`` keypoints [m], ``camera_optical_frame``.
        rotation: ``(B, T, 3, 3)`` frame of the hand at rest to the camera's.
        fingers: ``(B, T, 15, 3, 3)`` turns of the joints but the wrist.
        shape: ``(B, 10)``.
        touch: ``(B, T)`` int64 row of ``TOUCHES``: what the thumb's pad touches in this frame.
    """

    times: Tensor
    joints: Tensor
    rotation: Tensor
    fingers: Tensor
    shape: Tensor
    touch: Tensor


class Motions:
    """Draws motions; constants on one device.

    Args:
        hands: Draws shapes and gestures.
        cameras: Draw where the hand is.
        model: Of the hand.
    """

    def __init__(self, hands: HandDraw, cameras: Cameras, model: HandModel):
        self._hands, self._cameras, self._model = hands, cameras, model

    @torch.no_grad()
    def draw(self, size: int, frames: int, rate: float, generator: torch.Generator) -> Motion:
        """So many sequences.

        Args:
            size: Sequences B.
            frames: Of each, T.
            rate: Frames a second.
            generator: Where the numbers come from.

        Raises:
            ValueError: No frame, or a rate that is not positive.
        """
        if frames < 1 or not rate > 0:
            raise ValueError(f"frames must be 1 or more at a positive rate, got {frames} at {rate}")
        draw = Draw(size, generator)
        times = torch.arange(frames, device=draw.device) / rate
        # Enough gestures for the shortest ways without a rest.
        count = 2 + math.ceil(frames / rate / _WAY[0])
        shape = self._hands.shapes(draw)
        many = Draw(size * count, generator)
        gestures = self._hands.gestures(many, shape.repeat_interleave(count, 0))
        keys = gestures.angles.unflatten(0, (size, count))
        touches = gestures.touch.unflatten(0, (size, count))
        angles, touch = self._between(draw, keys, touches, times)
        fingers = self._hands.rotations(angles)

        still = self._pose(fingers[:, :1], shape)
        view = self._cameras.view(draw, still.mean((1, 2)), gestures.upright[::count])
        turn, move = self._sway(draw, times)
        # Sways are about the hand's middle, so that they are no larger for turning.
        rotation = turn @ view.rotation[:, None]
        middle = still.mean((1, 2))[:, None, None]
        joints = (self._pose(fingers, shape) - middle) @ rotation.mT
        place = view.middle[:, None] + move
        ahead = place[..., 2:].clamp(min=_NEAREST)
        place = torch.cat((place[..., :2], ahead), -1)
        return Motion(times, joints + place[:, :, None], rotation, fingers, shape, touch)

    def _between(self, draw: Draw, keys: Tensor, touches: Tensor, times: Tensor):
        """Angles ``(B, T, 21)`` on the way through ``keys`` ``(B, K, 21)``, and the touch."""
        count = keys.shape[1]
        way = draw.log_uniform(*_WAY, count)
        rest = draw.uniform(*_REST, count) * draw.chance(_HELD, count)
        ends = (way + rest).cumsum(1)
        begins = ends - way - rest
        # Sequences begin anywhere in the first gesture's time.
        start = draw.uniform(0, 1, 1) * ends[:, :1]
        at = times + start  # (B, T)
        late = draw.uniform(0, _LATE, 5)
        late = torch.cat((late[:, 1:].repeat_interleave(4, 1), late[:, :1].expand(-1, 5)), 1)
        now = (at[..., None] - late[:, None]).clamp(min=0)  # (B, T, 21)
        row = torch.searchsorted(ends, now.flatten(1).contiguous()).view_as(now)
        row = row.clamp(max=count - 2)
        begun = begins.gather(1, row.flatten(1)).view_as(now)
        phase = (now - begun) / way.gather(1, row.flatten(1)).view_as(now)
        share = minimum_jerk(phase)
        angle = torch.arange(NUM_ANGLES, device=keys.device)
        image = torch.arange(len(keys), device=keys.device)[:, None, None]
        first, then = keys[image, row, angle], keys[image, row + 1, angle]
        restless = _RESTLESS * waves(draw, times, NUM_ANGLES)
        whole = torch.searchsorted(ends, (at - _LATE).clamp(min=0).contiguous())
        whole = whole.clamp(max=count - 2)
        begun, lasts = begins.gather(1, whole), way.gather(1, whole)
        arrived = at - _LATE >= begun + lasts
        touch = torch.where(arrived, touches.gather(1, whole + 1), 0)
        # What is touched is held: tremor would part it.
        quiet = torch.where(touch > 0, 0.0, 1.0)[..., None]
        return torch.lerp(first, then, share) + quiet * restless, touch

    def _sway(self, draw: Draw, times: Tensor) -> tuple[Tensor, Tensor]:
        """Turns ``(B, T, 3, 3)`` and moves ``(B, T, 3)`` [m] of the wrist."""
        lively = draw.log_uniform(0.15, 1.5, 1, 1)
        move = lively * WIDE * waves(draw, times, 3)
        turn = lively.sqrt() * TURNED * waves(draw, times, 3)
        return matrix_from_rotvec(turn), move

    def _pose(self, fingers: Tensor, shape: Tensor) -> Tensor:
        """Joints ``(B, T, 21, 3)`` of hands at rest in space."""
        size, frames = fingers.shape[:2]
        fingers = fingers.flatten(0, 1)
        turns = torch.cat(
            (torch.eye(3, device=shape.device).expand(len(fingers), 1, 3, 3), fingers), 1
        )
        side = torch.full((len(fingers),), SIDES.index(RIGHT), device=shape.device)
        shapes = shape.repeat_interleave(frames, 0)
        mesh = self._model(turns, shapes, torch.zeros_like(shapes[:, :3]), side)
        return mesh.joints.unflatten(0, (size, frames))


def minimum_jerk(phase: Tensor) -> Tensor:
    """Share of the way after a share of the time, 0 before and 1 after (Flash and Hogan 1985)."""
    x = phase.clamp(0, 1)
    return x**3 * (10 - 15 * x + 6 * x * x)


def waves(draw: Draw, times: Tensor, count: int) -> Tensor:
    """``(B, T, count)`` sums of sines, that of 1 Hz with a deviation of 1."""
    total = 0.0
    for frequency in _SWAYS:
        pace = frequency * draw.log_uniform(0.7, 1.4, 1, count)
        phase = draw.uniform(0, 2 * math.pi, 1, count)
        size = draw.normal(1, count) / pace.clamp(min=_SWAYS[1])
        total = total + size * torch.sin(2 * math.pi * pace * times[:, None] + phase)
    return total
