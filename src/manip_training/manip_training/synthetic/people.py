"""People: the shape of a hand, and the colours of its skin, back and palm, knuckles and nails."""

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand_skeleton import FINGERS
from manip_model.hand_model import NUM_SHAPE, HandModel
from manip_model.hand_regions import MESH_CHAINS
from manip_training.synthetic.draw import Draw

SHAPE_LIMIT = 2.5
# Skin of the back of the hand from light to dark, RGB as pictures store it.
TONES = (
    (0.96, 0.84, 0.79),
    (0.92, 0.76, 0.68),
    (0.86, 0.67, 0.58),
    (0.76, 0.57, 0.47),
    (0.62, 0.45, 0.37),
    (0.46, 0.33, 0.27),
    (0.31, 0.23, 0.19),
)
# What palms come near to, the more so the darker the skin is.
PALM = (0.86, 0.66, 0.59)
NAIL = (0.90, 0.68, 0.63)
GLOVES = ((0.15, 0.35, 0.75), (0.9, 0.9, 0.92), (0.05, 0.05, 0.06), (0.45, 0.3, 0.6),
          (0.9, 0.5, 0.1), (0.25, 0.6, 0.3))  # fmt: skip
VAL_PEOPLE = 64


def linear(colour: Tensor) -> Tensor:
    """Linear light of display colours, 0 to 1 (gamma 2.2)."""
    return colour.clamp(0, 1) ** 2.2


class People:
    """Draws hands' shapes and colours; constants on one device.

    Validation sees ``VAL_PEOPLE`` fixed shapes, training any.
    """

    def __init__(self, model: HandModel, variant: str, gloves: float, device: torch.device | str):
        self._gloves = gloves
        self._tones = torch.tensor(TONES, device=device)
        self._palm = torch.tensor(PALM, device=device)
        self._nail = torch.tensor(NAIL, device=device)
        self._glove_colours = torch.tensor(GLOVES, device=device)
        self._hue = torch.tensor((0.022, 0.016, 0.026), device=device)
        self._redder = torch.tensor((0.25, 1.1, 1.0), device=device)
        self._shapes = None
        if variant == "val":
            shapes = torch.randn(
                (VAL_PEOPLE, NUM_SHAPE), generator=torch.Generator().manual_seed(7)
            )
            self._shapes = shapes.clamp(-SHAPE_LIMIT, SHAPE_LIMIT).to(device)
        self._fields = torch.stack(_fields(model)).to(device)

    def shapes(self, draw: Draw) -> Tensor:
        """``(B, 10)`` shape values."""
        if self._shapes is not None:
            return draw.pick_value(self._shapes)
        return draw.normal(NUM_SHAPE).clamp(-SHAPE_LIMIT, SHAPE_LIMIT)

    def tones(self, draw: Draw) -> Tensor:
        """``(B, 3)`` display colours of skin, dark ones as often as light ones."""
        place = draw.uniform(0, len(TONES) - 1.001)
        low = place.long()
        tone = torch.lerp(self._tones[low], self._tones[low + 1], (place - low)[:, None])
        hue = draw.normal(3) * self._hue
        return (tone + hue + 0.03 * draw.normal(1)).clamp(0.05, 0.98)

    def skin(self, draw: Draw, tone: Tensor) -> tuple[Tensor, Tensor]:
        """Linear colours ``(B, 778, 3)`` of hands of skin ``(B, 3)``, and who wears gloves."""
        palm, tip, knuckle, nail, mottle = self._fields[:, None, :, None]
        dark = 1 - tone.mean(-1, keepdim=True)
        lighter = (0.12 + 0.75 * dark * draw.uniform(0.4, 1.0, 1)).clamp(max=0.75)
        palms = torch.lerp(tone, self._palm * (0.8 + 0.25 * tone.mean(-1, keepdim=True)), lighter)
        colour = torch.lerp(tone[:, None], palms[:, None], palm)
        red = draw.uniform(0.0, 0.16, 1, 1) * tip + draw.uniform(-0.02, 0.16, 1, 1) * knuckle
        red = red + draw.normal(1, 1) * 0.02 * mottle
        colour = colour * (1 - red * self._redder)
        nails = torch.lerp(self._nail * (0.45 + 0.6 * tone.mean(-1, keepdim=True)), tone, 0.35)
        polish = draw.chance(0.05, 1)
        nails = torch.where(polish, draw.uniform(0.02, 0.9, 3), nails)
        colour = torch.lerp(colour, nails[:, None], nail)
        gloved = draw.chance(self._gloves)
        glove = draw.pick_value(self._glove_colours) * draw.uniform(0.7, 1.1, 1)
        colour = torch.where(gloved[:, None, None], glove[:, None].expand_as(colour), colour)
        return linear(colour), gloved


def _fields(model: HandModel) -> tuple[Tensor, ...]:
    """Shares ``(778,)`` 0 to 1: palm side, fingertip, knuckle, nail, and a smooth mottle of ±1."""
    template, rest, weights = (x.cpu() for x in (model.template, model.joint_template,
                                                 model.weights))  # fmt: skip
    faces = model.faces.cpu()
    corners = template[faces]
    across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.zeros_like(template)
    for k in range(3):
        normals.index_add_(0, faces[:, k], across)
    normals = F.normalize(normals, dim=1)
    # The thumb's pad looks half aside.
    inward = torch.tensor((0.0, -1.0, 0.0))
    thumb = F.normalize(torch.tensor((-0.45, -0.75, -0.45)), dim=0)
    thumbness = weights[:, MESH_CHAINS[FINGERS.index("thumb")]].sum(1, keepdim=True)
    facing = F.normalize(torch.lerp(inward.expand_as(normals), thumb.expand_as(normals), thumbness))
    towards = (normals * facing).sum(1)
    palm = torch.sigmoid(5 * (towards + 0.05))

    tip, knuckle, nail = (torch.zeros(len(template)) for _ in range(3))
    tips = template[model.tips.cpu()]
    for finger, ends in zip(range(len(FINGERS)), MESH_CHAINS, strict=True):
        last = rest[ends[2]]
        along = F.normalize(tips[finger] - last, dim=0)
        length = (tips[finger] - last).norm()
        share = ((template - last) @ along) / length
        own = weights[:, ends[2]]
        tip += own * torch.sigmoid(8 * (share - 0.45))
        # The nail covers the outer half of the back.
        nail += own * torch.sigmoid(25 * (share - 0.5)) * torch.sigmoid(12 * (-towards - 0.72))
        for joint in ends[: 2 if finger else 3]:
            near = torch.exp(-(((template - rest[joint]).norm(dim=1) / 0.013) ** 2))
            knuckle += near * torch.sigmoid(6 * (-towards - 0.1))
    mottle = torch.sin(template @ torch.tensor((90.0, 40.0, 120.0))) * torch.sin(
        template @ torch.tensor((-50.0, 110.0, 70.0)) + 1
    )
    return palm, tip.clamp(0, 1), knuckle.clamp(0, 1), nail.clamp(0, 1), mottle
