"""Left hands in the mirror, for a network that knows right hands alone.

A network that sees every hand as a right one has half as much to learn, but must be told the side:
``ModelConfig.mirror_left``. All fields of :class:`ModelOutput` come back as of the hand itself.
"""

import torch
from torch import Tensor

from manip_model.camera import CropCamera
from manip_model.outputs import ModelOutput
from manip_model.rotations import mirrored, rotvec_from_matrix

LEFT, RIGHT = 0, 1
# Log-odds of the side that the network was told: it has no opinion of its own.
_TOLD = 2.0

_POINTS = (
    *("translation", "vertices", "mano_joints", "coarse_joints", "joints"),
    *("object_position", "contact_point", "contact_force_direction"),
)


def told_side(side: Tensor | None, hint: Tensor) -> Tensor:
    """``(B,)`` the side to take a hand for: ``side`` where it is known, else what ``hint`` says,
    else right.

    Args:
        side: ``(B,)`` 0 left, 1 right, -1 unknown; or None.
        hint: ``(B,)`` likewise.
    """
    known = hint if side is None else torch.where(side < 0, hint, side)
    return torch.where(known < 0, torch.full_like(known, RIGHT), known)


def mirror_input(image: Tensor, camera: CropCamera, left: Tensor) -> tuple[Tensor, CropCamera]:
    """Pictures ``(B, 3, S, S)`` and their cameras, those of ``left`` ``(B,)`` flipped."""
    p = camera.parameters
    across = image.shape[-1] - 1 - p[:, 2]
    flipped = torch.stack((p[:, 0], p[:, 1], across, p[:, 3]), dim=1)
    image = torch.where(left[:, None, None, None], image.flip(-1), image)
    return image, CropCamera(torch.where(left[:, None], flipped, p))


def mirror_output(output: ModelOutput, left: Tensor, size: int) -> ModelOutput:
    """What was said of mirrored pictures, as of the pictures themselves.

    Args:
        output: Of right hands.
        left: ``(B,)`` bool: which were flipped.
        size: Side of the pictures [px].
    """
    points = {name: _across(getattr(output, name), left) for name in _POINTS}
    rotations = _where(left, mirrored(output.mano_rotations), output.mano_rotations)
    # An object's label is that of its mirror image, which is the object itself where that is
    # symmetric across its own x = 0, as drawn ones are.
    turned = _where(left, mirrored(output.object_rotation), output.object_rotation)
    u, v = output.keypoints_px.unbind(-1)
    across = torch.stack((size - 1 - u, v), dim=-1)
    grid = int(output.keypoint_logits.shape[-1] ** 0.5)
    heat = output.keypoint_logits.unflatten(-1, (grid, grid)).flip(-1).flatten(-2)
    side = torch.where(left, LEFT, RIGHT)
    said = _TOLD * (2.0 * side.to(output.side_logits.dtype) - 1)
    changed = {
        **points,
        "refinements": [_across(joints, left) for joints in output.refinements],
        "mano_rotations": rotations,
        "mano_pose": rotvec_from_matrix(rotations).flatten(1),
        "object_rotation": turned,
        "keypoints_px": _where(left, across, output.keypoints_px),
        "keypoint_logits": _where(left, heat, output.keypoint_logits),
        "side": side,
        "side_logits": torch.stack((-said, said), dim=-1),
    }
    return ModelOutput(**{**vars(output), **changed})


def _across(points: Tensor, left: Tensor) -> Tensor:
    """Vectors ``(B, …, 3)``, their x turned about where ``left``."""
    flipped = torch.cat((-points[..., :1], points[..., 1:]), dim=-1)
    return _where(left, flipped, points)


def _where(left: Tensor, flipped: Tensor, plain: Tensor) -> Tensor:
    return torch.where(left.view(-1, *[1] * (plain.ndim - 1)), flipped, plain)
