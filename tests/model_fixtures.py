"""Labels that agree with each other, and the predictions of a network that knows them."""

import math
from dataclasses import fields
from functools import cache

import torch
from torch import Tensor

from manip_model.config import CONTACT_TYPES, YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_model.outputs import ModelOutput
from manip_model.rotations import matrix_from_rotvec
from manip_training.batch import IMAGE_SIZE, Batch
from manip_training.random_batch import random_batch

GRID = 16
# Logits of a network that is sure.
_SURE = 20.0


@cache
def open_hand() -> HandModel:
    """The hand that ships, read once."""
    return HandModel.open()


def labelled_batch(size: int, seed: int = 0) -> Batch:
    """Every label is there: bent hands of both sides, three objects each, none of them in the hand.

    Args:
        size: Samples.
        seed: The same labels for the same seed.
    """
    batch = random_batch(size, open_hand(), seed)
    draw = torch.Generator().manual_seed(seed + 1)
    pose = 0.1 * torch.randn(size, 16, 3, generator=draw)
    pose[:, 0] = torch.randn(size, 3, generator=draw)
    # Fingers flex about z, of left hands the other way round; thumbs little.
    flexion = torch.rand(size, 12, generator=draw)
    pose[:, 1:13, 2] += torch.where(batch["side"][:, None] == 1, flexion, -flexion)
    mesh = open_hand()(
        matrix_from_rotvec(pose), batch["mano_shape"], batch["mano_translation"], batch["side"]
    )
    focal, centre = batch["camera"][:, None, :2], batch["camera"][:, None, 2:]
    pixels = mesh.joints[..., :2] / mesh.joints[..., 2:] * focal + centre
    surface = batch["object_surface"].clone()
    surface[..., 0] += 0.5
    return batch | {
        "mano_pose": pose.flatten(1),
        "joints": mesh.joints,
        "keypoints_px": pixels,
        "object_surface": surface,
    }


def output_at_truth(batch: Batch, refine_steps: int = 2, seed: int = 0) -> ModelOutput:
    """What a network that knows the labels says: in float32, objects by queries in random order.

    Args:
        batch: Of :func:`labelled_batch`.
        refine_steps: Refinements in the output.
        seed: Of the order of the queries.
    """
    size = len(batch["side"])
    rotations = matrix_from_rotvec(batch["mano_pose"].view(size, 16, 3))
    place = batch["mano_translation"]
    mesh = open_hand()(rotations, batch["mano_shape"], place, batch["side"])
    joints = batch["joints"].clone()
    draw = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(10, generator=draw) for _ in range(size)])
    touches = batch["contact_type"] > 0
    return ModelOutput(
        side_logits=_sure_of(batch["side"], 2),
        side=batch["side"].clone(),
        mano_rotations=rotations,
        mano_pose=batch["mano_pose"].clone(),
        mano_shape=batch["mano_shape"].clone(),
        translation=place.clone(),
        vertices=mesh.vertices,
        mano_joints=mesh.joints,
        coarse_joints=joints.clone(),
        refinements=[joints.clone() for _ in range(refine_steps)],
        joints=joints,
        joints_log_variance=torch.full((size, 21, 3), -16.0),
        keypoints_px=batch["keypoints_px"].clone(),
        keypoint_logits=_spots(batch["keypoints_px"]),
        object_class_logits=_shuffled(
            _sure_of(batch["object_class"].clamp(min=0), len(YCB_CLASSES)), order
        ),
        object_position=_shuffled(batch["object_position"], order),
        object_rotation=_shuffled(batch["object_rotation"], order),
        object_confidence_logits=_shuffled(_sure_whether(batch["object_class"] >= 0), order),
        contact_point=batch["contact_point"].clone(),
        contact_confidence_logits=_sure_whether(touches),
        contact_type_logits=_sure_of(batch["contact_type"], len(CONTACT_TYPES)),
        contact_force_direction=batch["contact_force_direction"].clone(),
        contact_force=batch["contact_force"].clone(),
        contact_map_logits=_sure_whether(batch["contact_map"] > 0.5),
    )


def disturbed(output: ModelOutput, amount: float = 1.0, seed: int = 0) -> ModelOutput:
    """The same with errors everywhere, of about 2 cm, 0.3 rad and as sure of the wrong things.

    Args:
        output: Left as it is.
        amount: Factor on the errors.
        seed: The same errors for the same seed.
    """
    draw = torch.Generator().manual_seed(seed)

    def wrong(name: str, value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value
        noise = amount * torch.randn(value.shape, generator=draw, dtype=value.dtype)
        if name.endswith(("rotation", "rotations")):
            return value @ matrix_from_rotvec(0.3 * noise[..., 0])
        if name.endswith(("logits", "variance")):
            return value * (1 - 0.9 * min(amount, 1.0)) + noise
        if name == "contact_force":
            return (value + 0.5 * noise).abs()
        if name == "contact_force_direction":
            return torch.nn.functional.normalize(value + 0.3 * noise, dim=-1)
        return value + {"keypoints_px": 8.0, "mano_shape": 1.0}.get(name, 0.02) * noise

    values = {}
    for field in fields(output):
        value = getattr(output, field.name)
        if isinstance(value, list):
            values[field.name] = [wrong(field.name, v) for v in value]
        else:
            values[field.name] = wrong(field.name, value)
    return ModelOutput(**values)


def learning(output: ModelOutput) -> ModelOutput:
    """Leaves of a graph, as a network's output is."""
    return output.map(lambda v: v.detach().requires_grad_() if v.is_floating_point() else v)


def sphere(radius: float = 0.04) -> Tensor:
    """``(1, 256, 6)``, points spread evenly on a sphere about the origin."""
    i = torch.arange(256) + 0.5
    z, turn = 1 - i / 128, i * math.pi * (1 + 5**0.5)
    ring = (1 - z * z).sqrt()
    out = torch.stack((ring * turn.cos(), ring * turn.sin(), z), dim=-1)
    return torch.cat((radius * out, out), dim=-1)[None]


def _sure_of(index: Tensor, choices: int) -> Tensor:
    return _SURE * torch.nn.functional.one_hot(index, choices).float()


def _sure_whether(yes: Tensor) -> Tensor:
    return torch.where(yes, _SURE, -_SURE)


def _shuffled(values: Tensor, order: Tensor) -> Tensor:
    """``values`` ``(B, 10, …)`` with those of slot ``i`` at query ``order[:, i]``."""
    mixed = torch.empty_like(values)
    for sample, places in enumerate(order):
        mixed[sample, places] = values[sample]
    return mixed


def _spots(pixels: Tensor) -> Tensor:
    """Logits ``(B, 21, G*G)`` of Gaussian spots, of 0.75 patches of deviation, about ``pixels``."""
    place = (pixels + 0.5) * GRID / IMAGE_SIZE - 0.5
    power = -((place[..., None] - torch.arange(GRID)) ** 2) / (2 * 0.75**2)
    return (power[..., 1, :, None] + power[..., 0, None, :]).flatten(-2)
