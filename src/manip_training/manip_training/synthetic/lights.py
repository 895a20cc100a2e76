"""Lights, how the camera and the picture's format change what they show, and surfaces."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_training.synthetic.draw import Draw
from manip_training.synthetic.render_input import MATERIAL

# Patterns of cloth and objects, rows of the first material column's kinds.
PATTERNS = {"train": (0, 0, 1, 2, 4), "val": (0, 1, 3)}
# Mean linear brightness that automatic exposure brings the hand to.
GREY = 0.4


@dataclass(frozen=True)
class Lighting:
    """Columns as of :class:`~manip_training.synthetic.render_input.RenderInput`.

    Attributes:
        lights: ``(B, 3, 6)``.
        sky, ground: ``(B, 3)``.
        lens: ``(B, 8)``.
        background_gain: ``(B, 3)``.
    """

    lights: Tensor
    sky: Tensor
    ground: Tensor
    lens: Tensor
    background_gain: Tensor


class Lights:
    """Draws lighting and materials; constants on one device."""

    def __init__(self, variant: str, device: torch.device | str):
        self._patterns = torch.tensor(PATTERNS[variant], device=device).float()
        self._to_camera = torch.tensor((0.0, 0.0, -1.0), device=device)
        # Linear colours of warm and cool light, about equally bright.
        self._warm = torch.tensor((1.16, 0.99, 0.78), device=device)
        self._cool = torch.tensor((0.92, 1.0, 1.16), device=device)
        self._luma = torch.tensor((0.21, 0.72, 0.07), device=device)

    def _tint(self, draw: Draw, *shape: int) -> Tensor:
        """``(B, *shape, 3)`` colours from warm to cool, mostly near white."""
        share = (0.5 + 0.22 * draw.normal(*shape, 1)).clamp(0, 1)
        return torch.lerp(self._warm, self._cool, share)

    def lighting(self, draw: Draw, up: Tensor, size: int) -> Lighting:
        """For each image.

        Args:
            draw: Random numbers.
            up: ``(B, 3)`` unit, camera frame.
            size: Pixels along each side of the picture.
        """
        # Lamps and windows are above or beside; some stand behind the hand.
        towards = draw.normal(3, 3)
        above = draw.uniform(0.2, 1.4, 3, 1)
        front = draw.uniform(-0.6, 1.4, 3, 1)
        direction = towards + above * up[:, None] + front * self._to_camera
        direction = F.normalize(direction, dim=-1)
        level = torch.stack(
            (draw.uniform(0.2, 1.4), draw.uniform(0.0, 0.5), draw.uniform(0, 0.9)), -1
        )
        lit = torch.stack((draw.chance(0.9), draw.chance(0.6), draw.chance(0.3)), -1)
        colour = (level * lit)[..., None] * self._tint(draw, 3)
        ambient = draw.log_uniform(0.25, 1.1, 1)
        sky = ambient * self._tint(draw)
        ground = sky * draw.uniform(0.25, 0.9, 1) * (1 + 0.12 * draw.normal(3)).clamp(0.5, 1.5)

        # What a grey surface that faces the camera sends back.
        facing = (direction @ self._to_camera).clamp(min=0)
        bright = ((colour @ self._luma) * (0.25 + 0.6 * facing)).sum(-1)
        bright = bright + 0.5 * ((sky + ground) @ self._luma)
        exposure = (GREY / 0.4) / bright.clamp(min=0.05) * torch.exp(0.32 * draw.normal())
        exposure = exposure.clamp(0.15, 4.0)
        gain = torch.exp(0.45 * draw.normal(1)) * self._tint(draw) / exposure[:, None]
        return Lighting(
            lights=torch.cat((direction, colour), -1),
            sky=sky,
            ground=ground,
            lens=self._lens(draw, exposure, size),
            background_gain=gain,
        )

    def _lens(self, draw: Draw, exposure: Tensor, size: int) -> Tensor:
        pixel = size / 224
        blur = torch.where(draw.chance(0.25), draw.uniform(0.8, 2.4), draw.uniform(0.1, 0.9))
        length = draw.uniform(0, 9) * draw.uniform(0, 1) * draw.chance(0.3)
        angle = draw.uniform(0, torch.pi)
        noise = torch.where(draw.chance(0.25), draw.uniform(0.02, 0.06), draw.uniform(0, 0.02))
        columns = (
            exposure,
            draw.uniform(1.8, 2.6),
            (1 + 0.16 * draw.normal()).clamp(0.3, 1.5),
            blur * pixel,
            length * angle.cos() * pixel,
            length * angle.sin() * pixel,
            noise,
            draw.uniform(0, 0.35) * draw.chance(0.4),
        )
        return torch.stack(columns, -1)

    def skin(self, draw: Draw, tone: Tensor, gloved: Tensor) -> Tensor:
        """Materials ``(B, 10)`` of skin of linear colour ``(B, 3)``, or of gloves."""
        redder = torch.stack((tone[:, 0] * 0.86, tone[:, 1] * 0.64, tone[:, 2] * 0.62), -1)
        sweaty = draw.chance(0.2)
        return self._columns(
            pattern=torch.ones_like(tone[:, 0]),
            frequency=draw.log_uniform(35, 220),
            contrast=draw.uniform(0.0, 0.2) * ~gloved,
            second=redder * draw.uniform(0.85, 1.05, 1),
            specular=torch.where(sweaty, draw.uniform(0.2, 0.5), draw.uniform(0.02, 0.2)),
            shininess=draw.log_uniform(6, 45),
            wrap=draw.uniform(0.15, 0.45),
            bump=draw.uniform(0.0, 0.22),
        )

    def cloth(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Materials ``(B, 10)`` of sleeves and shirts, and their first linear colour ``(B, 3)``."""
        first, second = self._colours(draw)
        columns = self._columns(
            pattern=draw.pick_value(self._patterns),
            frequency=draw.log_uniform(15, 160),
            contrast=draw.uniform(0.15, 1.0),
            second=second,
            specular=draw.uniform(0, 0.08),
            shininess=draw.uniform(3, 12),
            wrap=draw.uniform(0, 0.3),
            bump=draw.uniform(0.1, 0.7),
        )
        return columns, first

    def thing(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """The same of objects: plain or printed, dull or shining."""
        first, second = self._colours(draw)
        columns = self._columns(
            pattern=draw.pick_value(self._patterns),
            frequency=draw.log_uniform(12, 120),
            contrast=draw.uniform(0.1, 1.0) * draw.chance(0.8),
            second=second,
            specular=draw.uniform(0, 0.7),
            shininess=draw.log_uniform(8, 90),
            wrap=draw.uniform(0, 0.2),
            bump=draw.uniform(0, 0.3),
        )
        return columns, first

    def _colours(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Two linear colours ``(B, 3)``: greys, muted and strong ones, then darker or lighter."""
        strength = draw.uniform(0, 1, 1) ** 1.5
        first = draw.uniform(0.02, 0.95, 1) * torch.lerp(
            torch.ones_like(strength), draw.uniform(0.05, 1.0, 3), strength
        )
        other = draw.uniform(0.02, 0.95, 3)
        alike = (first * draw.log_uniform(0.35, 2.2, 1)).clamp(0, 1)
        second = torch.where(draw.chance(0.6)[:, None], alike, other)
        return first**1.8, second**1.8

    def _columns(self, *, second: Tensor, **values: Tensor) -> Tensor:
        values |= dict(zip(("second_red", "second_green", "second_blue"), second.unbind(-1),
                           strict=True))  # fmt: skip
        return torch.stack([values[name] for name in MATERIAL], -1)
