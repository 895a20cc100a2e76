"""The one format of training data: a flat dictionary of tensors, batch first.

Every dataset yields it, the cache holds it, the losses and the evaluation read it. A label that a
picture does not have is filled with zeros and its ``…_valid`` is False.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_model.config import NUM_CONTACTS, NUM_OBJECT_QUERIES

Batch = dict[str, Tensor]

IMAGE_SIZE = 224
NUM_VERTICES = 778
# Points on the surface of the grasped object, for penetration.
NUM_SURFACE_POINTS = 256


@dataclass(frozen=True)
class Field:
    """Shape behind the batch dimension, dtype, and what it means."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    meaning: str


_F, _I, _B, _U = torch.float32, torch.int64, torch.bool, torch.uint8
_O, _C = NUM_OBJECT_QUERIES, NUM_CONTACTS

FIELDS = {
    "image": Field((3, IMAGE_SIZE, IMAGE_SIZE), _U, "RGB hand crop, 0 to 255"),
    "camera": Field((4,), _F, "fx, fy, cx, cy of the crop [px]"),
    "side": Field((), _I, "0 left, 1 right (manip_core.hand.SIDES)"),
    "side_valid": Field((), _B, "side is known"),
    "joints": Field((21, 3), _F, "keypoints [m], camera_optical_frame"),
    "joints_valid": Field((21,), _B, "per keypoint"),
    "keypoints_px": Field((21, 2), _F, "keypoints in the crop [px]"),
    "keypoints_px_valid": Field((21,), _B, "per keypoint; True outside the crop as well"),
    "mano_pose": Field((48,), _F, "axis-angle [rad], flat, of the hand's own side"),
    "mano_shape": Field((10,), _F, "shape values"),
    "mano_translation": Field((3,), _F, "[m]; vertices = hand_model(pose, shape) + translation"),
    "mano_valid": Field((), _B, "pose, shape and translation are labelled"),
    "object_class": Field((_O,), _I, "index into ModelConfig.object_classes; -1 empty slot"),
    "object_position": Field((_O, 3), _F, "object origin [m], camera_optical_frame"),
    "object_rotation": Field((_O, 3, 3), _F, "object frame to camera"),
    "object_pose_valid": Field((_O,), _B, "the slot's object has a labelled pose"),
    "objects_valid": Field((), _B, "objects of this picture are labelled; if not, none counts"),
    "object_grasped": Field((), _I, "slot of the grasped object, -1 for none"),
    "object_surface": Field(
        (NUM_SURFACE_POINTS, 6), _F, "points and outward normals of the grasped object, camera [m]"
    ),
    "object_surface_valid": Field((), _B, "object_surface is there"),
    "contact_type": Field((_C,), _I, "per hand region: index into CONTACT_TYPES, 0 none"),
    "contact_point": Field((_C, 3), _F, "[m], camera_optical_frame; where the type is not none"),
    "contact_force_direction": Field((_C, 3), _F, "unit, hand into object; where type is not none"),
    "contact_force": Field((_C,), _F, "[N]"),
    "contact_force_valid": Field((_C,), _B, "contact_force is labelled"),
    "contact_map": Field((NUM_VERTICES,), _F, "1 where the vertex touches an object, else 0"),
    "contact_valid": Field((), _B, "contact_type, point, direction and map are labelled"),
}

# Those that have a slot for every object.
OBJECT_SLOTS = ("object_class", "object_position", "object_rotation", "object_pose_valid")


def empty(size: int, device: torch.device | str = "cpu") -> Batch:
    """A batch of ``size`` samples without labels: zeros, False, and -1 where 0 means something."""
    batch = {
        name: torch.zeros((size, *field.shape), dtype=field.dtype, device=device)
        for name, field in FIELDS.items()
    }
    batch["object_class"].fill_(-1)
    batch["object_grasped"].fill_(-1)
    batch["object_rotation"][:] = torch.eye(3, device=device)
    return batch


def resized(batch: Batch, size: int) -> Batch:
    """The batch with pictures of ``size`` px, averaged over areas, and the cameras to match."""
    before = batch["image"].shape[-1]
    if size == before:
        return batch
    scale = size / before
    image = F.interpolate(batch["image"].float(), size=(size, size), mode="area")
    camera = batch["camera"] * scale
    # Pixel centres are at whole numbers, the picture's edge is half a pixel out.
    camera[:, 2:] += 0.5 * scale - 0.5
    return batch | {
        "image": image.round().to(batch["image"].dtype),
        "camera": camera,
        "keypoints_px": (batch["keypoints_px"] + 0.5) * scale - 0.5,
    }


def check(batch: Batch) -> None:
    """Raise ``ValueError`` saying what is missing, of a wrong shape or of a wrong dtype.

    Pictures may be of another size than ``IMAGE_SIZE``, as :func:`resized` makes them, but square.
    """
    if missing := sorted(set(FIELDS) - set(batch)):
        raise ValueError(f"the batch lacks {', '.join(missing)}")
    size = len(batch["image"])
    for name, field in FIELDS.items():
        value = batch[name]
        shape = field.shape
        if name == "image" and value.ndim == 4:
            shape = (3, value.shape[-1], value.shape[-1])
        if tuple(value.shape) != (size, *shape):
            raise ValueError(f"{name} must be {(size, *shape)}, got {tuple(value.shape)}")
        if value.dtype != field.dtype:
            raise ValueError(f"{name} must be {field.dtype}, got {value.dtype}")
