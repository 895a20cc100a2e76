"""Where the hand is, how it is turned, and the crop through which a camera sees it.

All is in the frame of the camera: x right, y down, z ahead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.preprocessing import BOX_SCALE
from manip_training.synthetic.draw import Draw, about_axis

# Ranges of a variant's cameras: field of view along the picture's longer side [degrees]; distance
# [m] of the hand, from arm's length before a webcam to across a room; and how far off the picture's
# middle the hand may be, as a share of its longer side.
RANGES = {
    "train": {"view": (40.0, 80.0), "near": (0.25, 1.2), "far": (1.0, 3.0), "aside": 0.45},
    "val": {"view": (48.0, 70.0), "near": (0.3, 1.0), "far": (0.9, 2.2), "aside": 0.4},
}
FAR_SHARE = 0.35
# Side of a film's picture against what the hand needs of it.
_ROOM = (1.1, 1.8)


@dataclass(frozen=True)
class View:
    """How a camera stands to each hand.

    Attributes:
        rotation: ``(B, 3, 3)`` frame of the hand at rest to the camera's.
        middle: ``(B, 3)`` [m] where the hand's middle lies.
        offset: ``(B, 3)`` [m] where the origin of the hand's frame lies.
        up: ``(B, 3)`` unit, against gravity.
    """

    rotation: Tensor
    middle: Tensor
    offset: Tensor
    up: Tensor

    def seen(self, points: Tensor) -> Tensor:
        """Points ``(B, N, 3)`` [m] of the frame of the hand at rest, in the camera's."""
        return points @ self.rotation.mT + self.offset[:, None]

    def pose(self, rotation: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """The same of an object's rotation ``(B, 3, 3)`` and position ``(B, 3)``."""
        return self.rotation @ rotation, self.seen(position[:, None])[:, 0]


class Cameras:
    """Draws views and crops; constants on one device.

    Args:
        variant: ``"train"`` or ``"val"``.
        size: Pixels along each side of the crop.
        scale, shift: The crop is larger by ``exp(±scale)``, and off by ``±shift`` of its side.
        side, free: Shares of hands seen from the side, and turned in any way at all; the others
            show palm or back.
        device: Of all tensors.
    """

    def __init__(
        self, variant: str, size: int, scale: float, shift: float, side: float, free: float, device
    ):
        self._ranges = RANGES[variant]
        self._side, self._free = side, free
        self._size, self._scale, self._shift = size, scale, shift
        # Palm to the camera and fingers up, then the thumb up.
        palm = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
        thumb = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
        self._fronts = torch.tensor((palm, thumb), device=device)
        self._down = torch.tensor((0.0, 1.0, 0.0), device=device)

    def view(self, draw: Draw, middle: Tensor, thumb_up: Tensor) -> View:
        """A turn, a place and a direction of gravity for each image.

        Args:
            draw: Random numbers.
            middle: ``(B, 3)`` [m] of the hand, in its frame at rest.
            thumb_up: ``(B,)`` bool: the thumb usually points up or down, else the fingers.
        """
        kind = draw.uniform(0, 1)
        front = self._fronts[thumb_up.long()]
        # The back shows after half a turn about the vertical; thumbs also point down.
        half = torch.pi * draw.chance(0.5)
        quarter = 0.5 * torch.pi * (1 - 2 * draw.chance(0.5).float())
        aside = (
            torch.where(kind >= self._free + self._side, half, half + quarter)
            + 0.45 * draw.normal()
        )
        roll = 0.5 * draw.normal() + torch.pi * (draw.chance(0.08) | (thumb_up & draw.chance(0.3)))
        tilt = 0.4 * draw.normal()
        posed = about_axis(2, roll) @ about_axis(0, tilt) @ about_axis(1, aside) @ front
        free = (kind < self._free)[:, None, None]
        rotation = torch.where(free, draw.rotation(), posed)

        view = torch.deg2rad(draw.uniform(*self._ranges["view"]))
        # The picture is upright or lies: its shorter side is three quarters, or 9/16, of the other.
        shape = torch.where(draw.chance(0.5)[:, None], draw.uniform(0.56, 0.75, 1), 1.0)
        shape = torch.cat((shape, torch.where(shape < 1, 1.0, draw.uniform(0.56, 0.75, 1))), -1)
        where = draw.uniform(-1, 1, 2) * self._ranges["aside"] * shape
        slopes = where * 2 * torch.tan(0.5 * view)[:, None]
        ray = F.normalize(torch.cat((slopes, torch.ones_like(slopes[:, :1])), -1), dim=-1)
        far = draw.chance(FAR_SHARE)
        distance = torch.where(
            far, draw.log_uniform(*self._ranges["far"]), draw.log_uniform(*self._ranges["near"])
        )
        level = about_axis(2, 0.1 * draw.normal()) @ about_axis(0, 0.2 * draw.normal())
        rotation = _towards(ray) @ rotation
        place = ray * distance[:, None]
        return View(
            rotation=rotation,
            middle=place,
            offset=place - (rotation @ middle[..., None])[..., 0],
            up=-(level @ self._down),
        )

    def crop(self, draw: Draw, joints: Tensor) -> Tensor:
        """``(B, 4)`` fx, fy, cx, cy [px] of the crop about keypoints ``(B, 21, 3)``.

        As ``manip_core.preprocessing`` cuts it out: a square ``BOX_SCALE`` times the keypoints'
        spread, give or take.
        """
        slopes = joints[..., :2] / joints[..., 2:].clamp(min=0.02)
        low, high = slopes.amin(1), slopes.amax(1)
        side = BOX_SCALE * (high - low).amax(-1) * torch.exp(draw.uniform(-1, 1) * self._scale)
        middle = 0.5 * (low + high) + side[:, None] * draw.uniform(-1, 1, 2) * self._shift
        focal = (self._size / side)[:, None]
        return torch.cat((focal, focal, 0.5 * (self._size - 1) - focal * middle), -1)

    def still(self, draw: Draw, joints: Tensor, films: int = 1) -> Tensor:
        """``(B, 4)`` fx, fy, cx, cy [px] of cameras that see keypoints ``(B, 21, 3)`` of all images
        of a film: the square of its picture that they need, and some more.

        Args:
            draw: Random numbers, the same for all images of a film.
            joints: Of one film after the other.
            films: Of equally many images.
        """
        slopes = joints[..., :2] / joints[..., 2:].clamp(min=0.02)
        slopes = slopes.unflatten(0, (films, -1))
        low, high = slopes.amin((1, 2)), slopes.amax((1, 2))
        low, high = (end.repeat_interleave(slopes.shape[1], 0) for end in (low, high))
        side = (high - low).amax(-1, keepdim=True) * draw.uniform(*_ROOM, 1)
        middle = 0.5 * (low + high) + 0.5 * (side - (high - low)) * draw.uniform(-0.9, 0.9, 2)
        focal = self._size / side
        return torch.cat((focal, focal, 0.5 * (self._size - 1) - focal * middle), -1)


def _towards(ray: Tensor) -> Tensor:
    """Turns ``(B, 3, 3)`` that take the optical axis to unit rays ``(B, 3)`` the shortest way."""
    x, y, z = ray.unbind(-1)
    k = 1 / (1 + z)
    rows = (1 - k * x * x, -k * x * y, x, -k * x * y, 1 - k * y * y, y, -x, -y, z)
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
