"""What a head says of a hand, and the hand that it means."""

from dataclasses import dataclass

import torch
from torch import Tensor

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.camera import CropCamera
from manip_model.hand_model import HandMesh, HandModel
from manip_model.precision import exact
from manip_model.rotations import matrix_from_6d, mirrored, none_in_6d, rotvec_from_matrix

NUM_JOINTS = 16
# The network's unit of length [m]: a palm's.
UNIT = 0.1
# A hand that fills its crop spans about this much, in [m]: where depth starts.
_SPAN = 0.25
# Depth changes by so much of itself for one unit of output: some 0.1 m, as in the other directions.
# (At one for one its gradient, ten times the others', is all that the shared layers hear.)
_DEPTH_STEP = 0.15
# How many numbers there are of each kind.
NUMBERS = {"six": 6 * NUM_JOINTS, "offset": 3 * NUM_KEYPOINTS, "shape": 10, "place": 3, "side": 2}


@dataclass
class HandNumbers:
    """A hand in the network's own units, single precision; numbers of several heads add up.

    Attributes:
        six: ``(B, 16, 6)`` changes to unrotated joints.
        offset: ``(B, 21, 3)`` joints from the wrist [palms].
        shape: ``(B, 10)``.
        place: ``(B, 3)`` of the wrist: across in half crops, depth as log of a factor.
        side: ``(B, 2)`` logits.
        heat: ``(B, 21, F*F)`` logits of the keypoints, row by row; None for nothing.
    """

    six: Tensor
    offset: Tensor
    shape: Tensor
    place: Tensor
    side: Tensor
    heat: Tensor | None = None

    @classmethod
    def of(cls, values: Tensor) -> "HandNumbers":
        """From one row ``(B, N)`` a hand, with ``NUMBERS`` in their order."""
        parts = exact(values).split(list(NUMBERS.values()), dim=-1)
        named = dict(zip(NUMBERS, parts, strict=True))
        named["six"] = named["six"].unflatten(-1, (NUM_JOINTS, 6))
        named["offset"] = named["offset"].unflatten(-1, (NUM_KEYPOINTS, 3))
        return cls(**named)

    def __add__(self, other: "HandNumbers") -> "HandNumbers":
        mine, theirs = vars(self), vars(other)
        return HandNumbers(**{name: mine[name] + exact(theirs[name]) for name in mine})


@dataclass
class Hand:
    """Shapes and units as in :class:`manip_model.outputs.ModelOutput`."""

    side_logits: Tensor
    side: Tensor
    mano_rotations: Tensor
    mano_pose: Tensor
    mano_shape: Tensor
    translation: Tensor
    mesh: HandMesh
    coarse_joints: Tensor
    keypoints_px: Tensor
    keypoint_logits: Tensor

    def outputs(self) -> dict[str, Tensor]:
        """What it has of a :class:`manip_model.outputs.ModelOutput`, by name."""
        return {
            "side_logits": self.side_logits,
            "side": self.side,
            "mano_rotations": self.mano_rotations,
            "mano_pose": self.mano_pose,
            "mano_shape": self.mano_shape,
            "translation": self.translation,
            "vertices": self.mesh.vertices,
            "mano_joints": self.mesh.joints,
            "coarse_joints": self.coarse_joints,
            "keypoints_px": self.keypoints_px,
            "keypoint_logits": self.keypoint_logits,
        }


def hand_of(
    numbers: HandNumbers,
    hand_model: HandModel,
    camera: CropCamera,
    size: int,
    side: Tensor | None,
) -> Hand:
    """The hand that is meant. Call it outside autocast.

    Args:
        numbers: With a heat map.
        hand_model: Of its mesh.
        camera: Of the crops.
        size: Side of the crops [px].
        side: ``(B,)`` whose mesh to build; None or -1: the likelier one.
    """
    likelier = numbers.side.detach().argmax(-1)
    side = likelier if side is None else torch.where(side < 0, likelier, side)
    rotations = _rotations(numbers.six, side)
    wrist = _wrist(numbers.place, camera, size)
    translation = wrist - hand_model.wrist(numbers.shape, side)
    heat = exact(numbers.heat)
    return Hand(
        side_logits=numbers.side,
        side=side,
        mano_rotations=rotations,
        mano_pose=rotvec_from_matrix(rotations).flatten(1),
        mano_shape=numbers.shape,
        translation=translation,
        mesh=hand_model(rotations, numbers.shape, translation, side),
        coarse_joints=wrist[:, None] + UNIT * numbers.offset,
        keypoints_px=soft_argmax(heat, size),
        keypoint_logits=heat,
    )


def soft_argmax(logits: Tensor, size: int) -> Tensor:
    """Mean pixel ``(B, 21, 2)`` of logits ``(B, 21, F*F)`` over a ``size`` px crop."""
    grid = int(logits.shape[-1] ** 0.5)
    cell = size / grid
    centre = torch.arange(grid, device=logits.device, dtype=logits.dtype) * cell + (cell - 1) / 2
    heat = torch.softmax(logits, dim=-1).unflatten(-1, (grid, grid))
    return torch.stack((heat.sum(-2) @ centre, heat.sum(-1) @ centre), dim=-1)


def _rotations(six: Tensor, side: Tensor) -> Tensor:
    """Local rotations ``(B, 16, 3, 3)`` of ``(B, 16, 6)`` changes to none.

    The network speaks of right hands: a left one is what it would be in the mirror.
    """
    as_right = matrix_from_6d(six + none_in_6d(six))
    return torch.where((side == 0)[:, None, None, None], mirrored(as_right), as_right)


def _wrist(place: Tensor, camera: CropCamera, size: int) -> Tensor:
    """Wrist ``(B, 3)`` [m]: place across in half crops, depth as a factor on the expected."""
    pixel = (size - 1) / 2 + size / 2 * place[:, :2]
    expected = camera.focal.mean(-1) / size * _SPAN
    depth = expected * (_DEPTH_STEP * place[:, 2]).clamp(-4, 4).exp()
    return camera.unproject(pixel[:, None], depth[:, None])[:, 0]
