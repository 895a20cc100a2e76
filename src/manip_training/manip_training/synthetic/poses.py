"""Hand poses as people make them: angles of the joints, families of gestures, and their turns.

Fingers bend in their own plane, the outer joint along with the middle one; the thumb opposes, nears
the palm and turns about itself together. All angles are of a right hand at rest as
:class:`manip_model.hand_model.HandModel` has it; positive angles bend towards the palm.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand_skeleton import FINGERS
from manip_model.hand_model import HandModel
from manip_model.hand_regions import MESH_CHAINS
from manip_model.rotations import matrix_from_rotvec
from manip_training.synthetic.draw import Draw, about_axis

# Angles of a finger and of the thumb, in the order of ``Angles``: ``spread`` is towards the thumb;
# ``oppose`` takes the thumb out of the palm's plane, ``adduct`` towards the fingers, ``twist``
# turns its pad to them.
FINGER_ANGLES = ("base", "middle", "end", "spread")
THUMB_ANGLES = ("oppose", "adduct", "twist", "base", "end")
NUM_ANGLES = 4 * len(FINGER_ANGLES) + len(THUMB_ANGLES)

# Least and most [degrees]; ordinary active ranges of motion (Norkin and White, "Measurement of
# Joint Motion"), the thumb's as its axes are defined here.
FINGER_LIMITS = ((-30, 90), (-8, 105), (-10, 75), (-25, 25))
# Beyond that, how far the bases of ring and little finger bend: their metacarpals give way when the
# palm is cupped, which the hand model has no joint for.
CUPPED = (0, 0, 10, 25)
THUMB_LIMITS = ((-25, 75), (-40, 60), (-15, 45), (-15, 70), (-30, 80))

# The outer joint's share of the middle one's bend: they hang on common tendons (Rijpkema and
# Girard 1991, "Computer animation of knowledge-based human grasping").
END_SHARE = 0.67
# Closing fingers come together: share of their spread at rest that a full bend takes away.
CONVERGE = 0.8

# What the thumb's pad may be made to touch: the pad of a finger, or the back of the middle phalanx
# of a closed one.
TOUCHES = ("nothing", *FINGERS[1:], "over_index", "over_middle", "over_ring")

# What a finger does: base, middle [degrees], spread of both between people and moments.
_BENDS = {
    "straight": (-2, 3, 9, 6),
    "easy": (20, 28, 13, 14),
    "arched": (42, 42, 12, 12),
    "round": (45, 62, 12, 12),
    "hooked": (8, 88, 14, 12),
    "flat": (68, 12, 12, 10),
    "closed": (80, 98, 8, 6),
    "pinch": (48, 44, 12, 10),
    "pinch_far": (68, 56, 10, 10),
    "any": (35, 45, 32, 34),
}
# What the thumb does: its five angles [degrees], then their spreads.
_THUMBS = {
    "out": (-4, -22, 0, 0, -4, 9, 9, 5, 8, 10),
    "beside": (0, 14, 0, 8, 6, 6, 8, 5, 10, 12),
    "easy": (12, 0, 8, 12, 14, 10, 9, 6, 9, 12),
    "opposed": (42, 2, 22, 16, 16, 9, 9, 7, 10, 14),
    "over": (34, 26, 24, 34, 44, 7, 7, 6, 10, 14),
    "along": (14, 26, 8, 16, 18, 6, 6, 6, 10, 14),
    "tucked": (44, 32, 26, 36, 40, 7, 7, 6, 12, 18),
    "up": (-8, -26, -4, -2, -10, 7, 8, 5, 7, 9),
    "any": (18, 0, 10, 18, 18, 22, 18, 12, 18, 26),
}


@dataclass(frozen=True)
class Family:
    """A gesture: what each finger does, and how often it is drawn.

    Attributes:
        share: Weight among the families.
        thumb: A row of ``_THUMBS``.
        fingers: Rows of ``_BENDS``, index to little finger; one for all four.
        spread: Mean of how far the fingers fan out: 1 as at rest, 0 side by side.
        touch: A row of ``TOUCHES``: what the thumb's pad is made to touch.
        upright: What usually points up: ``"fingers"`` or ``"thumb"``.
    """

    share: float
    thumb: str
    fingers: str
    spread: float = 0.6
    touch: str = "nothing"
    upright: str = "fingers"

    @property
    def bends(self) -> list[str]:
        """What each of the four fingers does."""
        names = self.fingers.split()
        return names * 4 if len(names) == 1 else names


FAMILIES = {
    "open": Family(8, "out", "straight", 1.3),
    "relaxed": Family(10, "easy", "easy", 0.8),
    "flat": Family(5, "beside", "straight", 0.0),
    "curved": Family(3, "easy", "arched", 0.4),
    "fist": Family(6, "over", "closed", 0.3, touch="over_middle"),
    "fist_index": Family(4, "over", "closed", 0.3, touch="over_index"),
    "fist_beside": Family(5, "along", "closed", 0.3),
    "point": Family(5, "over", "straight closed closed closed", 0.3, touch="over_middle"),
    "point_out": Family(3, "out", "straight closed closed closed", 0.3),
    "two": Family(5, "over", "straight straight closed closed", 2.2, touch="over_ring"),
    "rock": Family(5, "over", "straight closed closed straight", 0.5, touch="over_middle"),
    "horns": Family(2, "up", "straight closed closed straight", 0.5),
    "three": Family(3, "tucked", "straight straight straight closed", 0.9),
    "three_out": Family(3, "out", "straight straight closed closed", 1.0),
    "four": Family(5, "tucked", "straight", 1.0),
    "ok": Family(4, "opposed", "pinch straight straight straight", 1.0, touch="index"),
    "pinch_index": Family(6, "opposed", "pinch easy easy easy", 0.6, touch="index"),
    "pinch_middle": Family(3, "opposed", "easy pinch easy easy", 0.6, touch="middle"),
    "pinch_ring": Family(2, "opposed", "easy easy pinch_far easy", 0.6, touch="ring"),
    "pinch_little": Family(2, "opposed", "easy easy easy pinch_far", 0.6, touch="little"),
    "pinch_bent": Family(3, "opposed", "pinch round closed closed", 0.4, touch="index"),
    "thumb_up": Family(6, "up", "closed", 0.2, upright="thumb"),
    "call": Family(4, "up", "closed closed closed straight", 0.5),
    "hook": Family(3, "easy", "hooked", 0.3),
    "flat_bent": Family(2, "along", "flat", 0.1),
    "cylinder": Family(4, "opposed", "round", 0.4),
    "sphere": Family(3, "opposed", "arched", 1.1),
    "little": Family(1, "over", "closed closed closed straight", 0.3, touch="over_middle"),
    "any": Family(10, "any", "any", 0.6),
}


class PoseSpace:
    """Draws the 21 angles and makes turns of them; constants on one device.

    Attributes:
        low, high: ``(21,)`` [rad] the joints' limits.
        touch: ``(families,)`` int64 rows of ``TOUCHES``.
        frames: ``(4, 3, 3)`` of the fingers, index first: along -x, bending about z.
        thumb_axes: ``(4, 3)`` unit: oppose, adduct, twist, and that of both bends.
        upright: ``(families,)`` bool, the thumb points up instead of the fingers.
    """

    def __init__(self, model: HandModel, device: torch.device | str):
        table = [_row(family) for family in FAMILIES.values()]
        self._mean = torch.deg2rad(torch.tensor([row[0] for row in table])).to(device)
        self._std = torch.deg2rad(torch.tensor([row[1] for row in table])).to(device)
        self._fan = torch.tensor([f.spread for f in FAMILIES.values()], device=device)
        shares = torch.tensor([f.share for f in FAMILIES.values()])
        self._cumulative = (shares.cumsum(0) / shares.sum()).to(device)
        limits = torch.tensor([*FINGER_LIMITS * 4, *THUMB_LIMITS], dtype=torch.float32)
        limits[:16:4, 1] += torch.tensor(CUPPED)
        self.low, self.high = torch.deg2rad(limits).to(device).unbind(-1)
        self.touch = torch.tensor([TOUCHES.index(f.touch) for f in FAMILIES.values()]).to(device)
        thumbs = [f.upright == "thumb" for f in FAMILIES.values()]
        self.upright = torch.tensor(thumbs, device=device)
        self._axes(model, device)

    def _axes(self, model: HandModel, device: torch.device | str) -> None:
        rest = model.joint_template.cpu()
        tips = model.template[model.tips].cpu()
        chains = torch.as_tensor(MESH_CHAINS)
        heads = rest[chains]  # (5, 3, 3)
        # Angle of each finger's first two joints against -x, about y.
        along = heads[1:, 2] - heads[1:, 0]
        aside = torch.atan2(along[:, 2], -along[:, 0])
        frames = about_axis(1, aside)
        self.frames = frames.to(device)  # (4, 3, 3)
        # The middle finger's neighbours lie at their own angles against it.
        self._aside = (aside - aside[1]).to(device)
        thumb = F.normalize(tips[0] - heads[0, 0], dim=0)
        inward = torch.tensor((0.0, -1.0, 0.0))
        oppose = F.normalize(torch.linalg.cross(thumb, inward), dim=0)
        bend = F.normalize(0.8 * oppose + inward, dim=0)
        bend = F.normalize(bend - (bend @ thumb) * thumb, dim=0)
        self.thumb_axes = torch.stack((oppose, inward, -thumb, bend)).to(device)

    def families(self, draw: Draw) -> Tensor:
        """``(B,)`` rows of ``FAMILIES``, as often as their shares say."""
        return draw.pick(self._cumulative)

    def angles(self, draw: Draw, first: Tensor, other: Tensor, way: Tensor, count: int) -> Tensor:
        """``(B, count, 21)`` angles within the limits: candidates for each image.

        Args:
            draw: Random numbers.
            first, other: ``(B,)`` rows of ``FAMILIES``.
            way: ``(B,)`` 0 to 1, how far the pose lies from the first to the other.
            count: Candidates.
        """
        way = way[:, None]
        mean = torch.lerp(self._mean[first], self._mean[other], way)
        std = torch.lerp(self._std[first], self._std[other], way)
        fan = torch.lerp(self._fan[first], self._fan[other], way[:, 0])
        noise = draw.normal(count, NUM_ANGLES)
        fingers, thumb = noise[..., :16].unflatten(-1, (4, 4)), noise[..., 16:]
        # Fingers bend together as much as each on its own.
        fingers = 0.6 * draw.normal(count, 1, 4) + 0.8 * fingers
        angles = torch.cat((fingers.flatten(-2), thumb), -1) * std[:, None] + mean[:, None]
        angles = angles.clamp(self.low, self.high)
        base, middle, end, spread = angles[..., :16].unflatten(-1, (4, 4)).unbind(-1)
        end = end + END_SHARE * middle.clamp(min=0)
        fan = (fan[:, None] * (1 + 0.35 * draw.normal(count)))[..., None]
        spread = spread + self._aside * (fan * (1 - CONVERGE * base.clamp(min=0) / 1.57) - 1)
        fingers = torch.stack((base, middle, end, spread), -1).flatten(-2)
        return torch.cat((fingers, angles[..., 16:]), -1).clamp(self.low, self.high)

    def rotations(self, angles: Tensor) -> Tensor:
        """Turns ``(…, 15, 3, 3)`` of all joints but the wrist, in the order of the mesh's joints.

        Args:
            angles: ``(…, 21)`` [rad].
        """
        base, middle, end, spread = angles[..., :16].unflatten(-1, (4, 4)).unbind(-1)
        frames = self.frames
        bends = (
            frames[:, None]
            @ about_axis(2, torch.stack((base, middle, end), -1))
            @ (frames.mT[:, None])
        )
        # (…, 4, 3, 3, 3): the finger first bends, then its plane turns.
        first = about_axis(1, spread) @ bends[..., 0, :, :]
        bends = torch.cat((first[..., None, :, :], bends[..., 1:, :, :]), -3)
        thumb = self._thumb_turns(angles[..., 16:])
        index, middle, ring, little = bends.unbind(-4)
        return torch.cat((index, middle, little, ring, thumb), -3)

    def _thumb_turns(self, angles: Tensor) -> Tensor:
        oppose, adduct, twist, base, end = angles[..., None].unbind(-2)
        axes = self.thumb_axes
        first = (
            matrix_from_rotvec(oppose * axes[0] + adduct * axes[1])
            @ matrix_from_rotvec(twist * axes[2])
        )  # fmt: skip
        others = matrix_from_rotvec(torch.stack((base, end), -2) * axes[3])
        return torch.cat((first[..., None, :, :], others), -3)


def _row(family: Family) -> tuple[list[float], list[float]]:
    """Means and spreads of the 21 angles [degrees]; the outer joint's are beyond its share."""
    mean, std = [], []
    for name in family.bends:
        base, middle, base_std, middle_std = _BENDS[name]
        less = -12.0 if name.startswith("pinch") else 0.0
        # Towards the thumb that comes from afar.
        aside = 8.0 if name == "pinch_far" else 0.0
        mean += (base, middle, less, aside)
        std += (base_std, middle_std, 5.0, 3.5)
    thumb = _THUMBS[family.thumb]
    return [float(x) for x in (*mean, *thumb[:5])], [float(x) for x in (*std, *thumb[5:])]
