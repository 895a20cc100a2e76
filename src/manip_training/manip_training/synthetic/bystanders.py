"""People behind a hand: a head with hair and a face, and shoulders in a shirt."""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_training.synthetic.draw import Draw, about_axis

ROWS, COLUMNS = 18, 22
BODY_ROWS, BODY_COLUMNS = 9, 16


@dataclass(frozen=True)
class Bystander:
    """Vertices in the camera's frame [m], places in their own, linear colours of the head.

    Attributes:
        head, head_place, head_colour: ``(B, 396, 3)``.
        body, body_place: ``(B, 144, 3)``.
    """

    head: Tensor
    head_place: Tensor
    head_colour: Tensor
    body: Tensor
    body_place: Tensor


class Bystanders:
    """Draws heads and shoulders; constants on one device.

    Their own frame has x to the person's left, y up and z out of the face.

    Attributes:
        head_faces, body_faces: ``(F, 3)`` int64, counter-clockwise seen from outside.
    """

    _level = torch.tensor((1.0, 0.0, 1.0))

    def __init__(self, device: torch.device | str):
        self.head_faces = _sphere_faces(ROWS, COLUMNS).to(device)
        self.body_faces = _sphere_faces(BODY_ROWS, BODY_COLUMNS).to(device)
        ball = _sphere(ROWS, COLUMNS)
        x, y, z = ball.unbind(-1)
        front = z > 0.2
        # A face on the unit ball: a jaw, a nose, hollows at the eyes.
        nose = torch.exp(-((x / 0.16) ** 2) - ((y + 0.08) / 0.28) ** 2) * front
        hollow = torch.exp(-(((x.abs() - 0.3) / 0.18) ** 2) - ((y - 0.18) / 0.13) ** 2) * front
        jaw = 1 + 0.16 * torch.exp(-(((y + 0.55) / 0.3) ** 2))
        shape = torch.stack((x * jaw, y, z * jaw + 0.2 * nose - 0.07 * hollow), -1)
        shape = shape.unflatten(0, (ROWS, COLUMNS))
        # The lowest rows are the neck.
        for row, height, width in ((0, -2.0, 0.75), (1, -1.5, 0.62), (2, -0.9, 0.6)):
            shape[row] = F.normalize(ball.unflatten(0, (ROWS, COLUMNS))[2] * self._level, dim=-1)
            shape[row] = shape[row] * width + height * (1 - self._level)
            shape[row, :, 2] -= 0.15
        self._head = (shape.flatten(0, 1) * torch.tensor((0.078, 0.115, 0.095))).to(device)
        hair = torch.sigmoid(14 * (y - 0.55 * z - 0.05)) * (y > -0.6)
        brow = torch.exp(-(((x.abs() - 0.3) / 0.2) ** 2) - ((y - 0.42) / 0.09) ** 2) * front
        eye = torch.exp(-(((x.abs() - 0.3) / 0.13) ** 2) - ((y - 0.22) / 0.09) ** 2) * front
        mouth = torch.exp(-((x / 0.26) ** 2) - ((y + 0.45) / 0.09) ** 2) * front
        beard = torch.sigmoid(10 * (-y - 0.35)) * torch.sigmoid(6 * (z + 0.1))
        fields = torch.stack((hair, brow, 1.4 * eye, 1.3 * mouth, beard)).clamp(0, 1)
        self._fields = fields[:, None, :, None].to(device)
        body = _sphere(BODY_ROWS, BODY_COLUMNS)
        body = body.sign() * body.abs() ** 0.6
        self._body = (body * torch.tensor((0.21, 0.32, 0.12))).to(device)
        self._below = torch.tensor((0.0, -0.47, -0.02), device=device)
        self._brown = torch.tensor((1.4, 0.9, 0.6), device=device)
        self._fair = torch.tensor((1.0, 0.65, 0.3), device=device)
        self._lip = torch.tensor((0.62, 0.30, 0.28), device=device)
        self._down = torch.tensor((0.0, 1.0, 0.0), device=device)
        self._ahead = torch.tensor((0.0, 0.0, -1.0), device=device)

    def draw(self, draw: Draw, middle: Tensor, up: Tensor, tone: Tensor) -> Bystander:
        """Someone behind the middle ``(B, 3)`` of each hand, upright, of skin ``(B, 3)`` linear."""
        ahead = self._ahead - (up @ self._ahead)[:, None] * up
        ahead = F.normalize(ahead, dim=-1)
        frame = torch.stack((torch.linalg.cross(up, ahead), up, ahead), -1)
        turned = about_axis(1, 0.5 * draw.normal()) @ about_axis(0, 0.2 * draw.normal())
        facing = frame @ turned @ about_axis(2, 0.12 * draw.normal())
        # Behind the hand by so much, and beside it by about a head.
        behind = draw.log_uniform(0.12, 0.6, 1)
        ray = F.normalize(middle, dim=-1)
        aside = draw.normal(2) * 0.14
        place = middle + ray * behind + frame[..., 0] * aside[:, :1]
        place = place + up * (aside[:, 1:] + draw.uniform(-0.05, 0.35, 1) * draw.chance(0.6, 1))
        size = draw.uniform(0.9, 1.12, 1, 1)
        head = size * self._head * (1 + 0.06 * draw.normal(1, 3))
        body = self._body * draw.uniform(0.85, 1.2, 1, 3) + self._below
        return Bystander(
            head=head @ facing.mT + place[:, None],
            head_place=head,
            head_colour=self._colours(draw, tone),
            body=body @ frame.mT + place[:, None],
            body_place=body,
        )

    def _colours(self, draw: Draw, tone: Tensor) -> Tensor:
        hair, brow, eye, mouth, beard = self._fields
        # Black to brown; some fair, red or grey.
        dark = draw.uniform(0.008, 0.06, 1, 1) * self._brown
        fair = draw.uniform(0.15, 0.6, 1, 1) * torch.lerp(
            self._fair, torch.ones_like(self._fair), draw.uniform(0, 1, 1, 1)
        )
        strands = torch.where(draw.chance(0.3, 1, 1), fair, dark)
        colour = torch.lerp(tone[:, None], strands, beard * (0.8 * draw.chance(0.3, 1, 1)))
        colour = torch.lerp(colour, self._lip * tone[:, None] * 1.3, 0.7 * mouth)
        colour = torch.lerp(colour, strands, 0.8 * brow)
        colour = colour * (1 - 0.85 * eye)
        bald = draw.chance(0.1, 1, 1)
        return torch.lerp(colour, strands.expand_as(colour), hair * ~bald)


def _sphere(rows: int, columns: int) -> Tensor:
    """Unit ball ``(rows * columns, 3)``: rows from below, columns around y, the first at +z."""
    height = torch.linspace(-0.5 * pi, 0.5 * pi, rows)[:, None]
    around = (2 * pi / columns * torch.arange(columns))[None]
    x, z = height.cos() * around.sin(), height.cos() * around.cos()
    return torch.stack((x, height.sin().expand_as(x), z), -1).flatten(0, 1)


def _sphere_faces(rows: int, columns: int) -> Tensor:
    row, k = torch.meshgrid(torch.arange(rows - 1), torch.arange(columns), indexing="ij")
    here = (row * columns + k).flatten()
    there = (row * columns + (k + 1) % columns).flatten()
    one = torch.stack((here, there, there + columns), -1)
    two = torch.stack((here, there + columns, here + columns), -1)
    return torch.cat((one, two))
