"""What a hand hangs on: a forearm from the open wrist on, and a sleeve or a bracelet about it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from manip_model.hand_model import HandModel
from manip_training.synthetic.draw import Draw, about_axis

BARE, SLEEVE, BRACELET = range(3)
LENGTH = 0.27  # [m]
# The hand's rim, then rings of the arm; the last one closes the end.
ARM_RINGS = 9
# A cuff: from the skin out, over its edge, then on, as shares of length and thickness.
CUFF_ALONG = (0.0, 0.0, 0.02, 0.05, 0.2, 0.4, 0.7, 1.0, 1.0)
CUFF_OUT = (-0.3, 0.6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, -0.3)
# Over how much of its length behind the wrist an arm bends [m].
BEND_LENGTH = 0.035
# Thickness in the middle of the forearm, as a share of the wrist's.
SWELL = (1.3, 1.75)


@dataclass(frozen=True)
class Arm:
    """Vertices in the frame of the hand at rest, wrist unturned [m].

    Attributes:
        arm, arm_texture: ``(B, 144, 3)`` rings behind the hand's rim, and where they lie unbent.
        sleeve, sleeve_texture: ``(B, 144, 3)``, and its places unrolled.
    """

    arm: Tensor
    arm_texture: Tensor
    sleeve: Tensor
    sleeve_texture: Tensor


class Arms:
    """Draws forearms for hands; constants on one device.

    Attributes:
        rim: ``(16,)`` int64 vertices of the hand around its open wrist.
        faces: ``(F, 3)`` int64: the rim's 16 vertices are the first, the arm's own follow.
        sleeve_faces: ``(F, 3)`` int64 of the sleeve's vertices.
    """

    def __init__(self, model: HandModel, device: torch.device | str):
        loop = rim_of(model.faces.cpu().tolist())
        self.rim = torch.tensor(loop, device=device)
        self.faces = _tube(len(loop), ARM_RINGS + 1).to(device)
        self.sleeve_faces = _tube(len(loop), len(CUFF_ALONG)).to(device)
        along = LENGTH * torch.linspace(0, 1, ARM_RINGS) ** 1.4
        self._along = torch.cat((along[1:], along[-1:])).to(device)
        fold = torch.ones(ARM_RINGS, 1, 3)
        fold[-1, :, 1:] = 0
        self._fold = fold.to(device)
        self._cuff_along = torch.tensor(CUFF_ALONG, device=device)
        self._cuff_out = torch.tensor(CUFF_OUT, device=device)
        self._around = (0.028 * 2 * torch.pi / len(loop) * torch.arange(len(loop))).to(device)
        self._ahead = torch.tensor((1.0, 0.0, 0.0), device=device)
        self._across = 1 - self._ahead

    def build(self, draw: Draw, hand: Tensor, wrist: Tensor, cover: Tensor) -> Arm:
        """An arm for each hand, bent at the wrist.

        Args:
            draw: Random numbers.
            hand: ``(B, 778, 3)`` [m], wrist unturned.
            wrist: ``(B, 3)`` about which the arm bends.
            cover: ``(B,)`` int64: ``BARE``, ``SLEEVE`` or ``BRACELET``.
        """
        rim = hand[:, self.rim]
        centre = rim.mean(1)[:, None, None]
        offset = (rim[:, None] - centre) * torch.ones_like(self._fold[:1])
        swell = draw.uniform(*SWELL, 1, 1, 1)
        along = self._along.expand(len(hand), -1)
        arm = centre + self._fold * self._rings(offset, along, torch.zeros_like(along), swell)

        sleeve = cover == SLEEVE
        rolled_up = draw.uniform(0, 0.15) * draw.chance(0.3)
        start = torch.where(
            sleeve, draw.uniform(-0.012, 0.035) + rolled_up, draw.uniform(0.002, 0.05)
        )
        length = torch.where(sleeve, draw.uniform(0.3, 0.34), draw.log_uniform(0.004, 0.035))
        thick = torch.where(sleeve, draw.uniform(0.003, 0.016), draw.uniform(0.0015, 0.006))
        # What is not there hides within the arm.
        thick = torch.where(cover == BARE, -0.004, thick)
        wide = draw.uniform(0.0, 0.12) * sleeve
        along = (start[:, None] + length[:, None] * self._cuff_along).clamp(max=LENGTH + 0.02)
        out = thick[:, None] * self._cuff_out
        rings = self._rings(offset, along, out, swell * (1 + wide[:, None, None, None]))
        unrolled = torch.stack(
            torch.broadcast_tensors(along[..., None], 0.4 * along[..., None], self._around), -1
        )
        flex, aside = (draw.normal(2) * draw.uniform(0.1, 1.0, 1)).unbind(-1)
        bend = (0.5 * flex).clamp(-1.0, 1.0), (0.18 * aside).clamp(-0.4, 0.4)
        pivot = wrist[:, None, None]
        return Arm(
            arm=self._bent(arm, pivot, bend).flatten(1, 2),
            arm_texture=arm.flatten(1, 2),
            sleeve=self._bent(centre + rings, pivot, bend).flatten(1, 2),
            sleeve_texture=unrolled.flatten(1, 2),
        )

    def _rings(self, rough: Tensor, along: Tensor, out: Tensor, swell: Tensor) -> Tensor:
        """``(B, rings, 16, 3)`` about the rim's centre.

        Args:
            rough: ``(B, 1, 16, 3)`` the rim, which is uneven along x; farther on rings are flat.
            along, out: ``(B, rings)`` [m] behind the rim, and beyond the skin.
            swell: ``(B, 1, 1, 1)`` thickness in the middle.
        """
        flat = rough * self._across
        share = (along / LENGTH).clamp(0, 1)[..., None, None]
        ring = torch.lerp(rough, flat, (along / 0.02).clamp(0, 1)[..., None, None])
        size = 1 + (swell - 1) * torch.sin(1.7 * share)
        size = size + out[..., None, None] / flat.norm(dim=-1, keepdim=True).clamp(min=1e-4)
        return ring * (self._ahead + size * self._across) + along[..., None, None] * self._ahead

    def _bent(self, rings: Tensor, pivot: Tensor, bend: tuple[Tensor, Tensor]) -> Tensor:
        """Rings turned about the wrist, the more the farther they are, up to the whole bend."""
        offset = rings - pivot
        share = (offset[..., 0].mean(-1, keepdim=True) / BEND_LENGTH - 0.15).clamp(0, 1)
        share = share * share * (3 - 2 * share)
        flex, aside = (angle[:, None, None] * share for angle in bend)
        turn = about_axis(1, aside) @ about_axis(2, flex)
        return pivot + (turn @ offset[..., None])[..., 0]


def rim_of(faces: list[list[int]]) -> list[int]:
    """Vertices around the open wrist, in the direction in which the faces run along it."""
    edges = {(face[k], face[(k + 1) % 3]) for face in faces for k in range(3)}
    following = {a: b for a, b in edges if (b, a) not in edges}
    loop = [min(following)]
    while following[loop[-1]] != loop[0]:
        loop.append(following[loop[-1]])
    return loop


def _tube(count: int, rings: int) -> Tensor:
    """Faces between rings of ``count`` vertices that run as the rim of the hand does."""
    ring, k = torch.meshgrid(torch.arange(rings - 1), torch.arange(count), indexing="ij")
    here, there = (ring * count + k).flatten(), (ring * count + (k + 1) % count).flatten()
    one = torch.stack((here, here + count, there + count), -1)
    two = torch.stack((here, there + count, there), -1)
    return torch.cat((one, two))
