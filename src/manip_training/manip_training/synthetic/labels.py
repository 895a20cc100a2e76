"""Labels of held objects and of contact, from the shapes' own formulas, for a batch at a time."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from manip_model.config import NUM_CONTACTS, YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_model.hand_regions import vertex_regions
from manip_training.batch import Batch
from manip_training.data.contacts import (
    FIRM,
    FIRM_DEPTH,
    FIRM_VERTICES,
    LIGHT,
    NONE,
    TOUCH,
    ObjectSurface,
)
from manip_training.data.primitives import PRIMITIVES
from manip_training.synthetic.objects import Objects

# Of a mean normal, below which those of a thin object's two sides cancel, as in ``data.contacts``.
CANCELLED = 0.1


@dataclass(frozen=True)
class Closest:
    """Of each point: signed distance ``(B, N)`` [m], negative inside; the closest point of the
    surface and the outward normal of the face it belongs to, ``(B, N, 3)``."""

    distance: Tensor
    point: Tensor
    normal: Tensor


def closest(points: Tensor, half: Tensor, box: Tensor) -> Closest:
    """On boxes and cylinders about the origin, the cylinders' axis along z.

    Args:
        points: ``(B, N, 3)`` [m], in the objects' frames.
        half: ``(B, 3)`` [m] half of width, depth and height.
        box: ``(B,)`` bool, a box; else a cylinder.
    """
    box, half = box[:, None, None], half[:, None]
    radius = points[..., :2].norm(dim=-1, keepdim=True).clamp(min=1e-9)
    outward = F.pad(points[..., :2] / radius, (0, 1))
    upward = F.pad(torch.where(points[..., 2:] < 0, -1.0, 1.0), (2, 0))
    # Beyond each face's plane; a cylinder has a side and two ends.
    beyond = points.abs() - half
    round_beyond = torch.cat(
        (radius - half[..., :1], torch.full_like(radius, -1.0), beyond[..., 2:]), -1
    )
    beyond = torch.where(box, beyond, round_beyond)
    deepest = beyond.amax(-1, keepdim=True)
    outside = beyond.clamp(min=0).norm(dim=-1)
    distance = outside + deepest[..., 0].clamp(max=0)
    face = (beyond == deepest).to(points.dtype)
    # Where two are equally near, the first.
    face = face * (face.cumsum(-1) == 1)
    sign = torch.where(points < 0, -1.0, 1.0)
    round_normal = face[..., :1] * outward + face[..., 2:] * upward
    normal = torch.where(box, face * sign, round_normal)
    # Outside, back along what lies beyond; inside, out along the nearest face.
    box_near = torch.minimum(torch.maximum(points, -half), half)
    height = box_near[..., 2:]
    rim = torch.minimum(radius, half[..., :1]) * outward
    near = torch.where(box, box_near, torch.cat((rim[..., :2], height), -1))
    near = torch.where(deepest > 0, near, points - deepest * normal)
    return Closest(distance, near, normal)


class ObjectLabels:
    """Fills in a batch's objects and contacts; constants on one device."""

    def __init__(self, model: HandModel, objects: Objects, device: torch.device | str):
        regions = torch.as_tensor(vertex_regions(model))
        self._regions = F.one_hot(regions, NUM_CONTACTS).float().to(device)  # (778, 10)
        self._objects = objects
        surfaces = [ObjectSurface(PRIMITIVES[name].mesh()).surface for name in YCB_CLASSES]
        self._surfaces = torch.tensor(np.stack(surfaces), device=device)  # (21, 256, 6)

    def held(
        self, batch: Batch, holds: Tensor, index: Tensor, rotation: Tensor, position: Tensor,
        vertices: Tensor,
    ) -> None:  # fmt: skip
        """The first slot's object, which the hand may touch.

        Args:
            batch: Whose labels are written.
            holds: ``(B,)`` bool, there is one.
            index: ``(B,)`` its class.
            rotation, position: ``(B, 3, 3)`` and ``(B, 3)`` [m], camera frame.
            vertices: ``(B, 778, 3)`` [m] of the hand, camera frame.
        """
        local = (vertices - position[:, None]) @ rotation
        found = closest(local, self._objects.sizes[index], self._objects.boxes[index])
        touching = (found.distance <= TOUCH) & holds[:, None]
        self._contacts(batch, found, touching, rotation, position)
        self.slot(batch, 0, holds, index, rotation, position)
        batch["object_grasped"] = torch.where(touching.any(-1), 0, -1)
        surface = self._surfaces[index].unflatten(-1, (2, 3)) @ rotation.mT[:, None]
        surface = torch.stack((surface[..., 0, :] + position[:, None], surface[..., 1, :]), -2)
        there = touching.any(-1)
        batch["object_surface"] = surface.flatten(-2) * there[:, None, None]
        batch["object_surface_valid"] = there

    def slot(
        self, batch: Batch, slot: int, there: Tensor, index: Tensor, rotation: Tensor,
        position: Tensor,
    ) -> None:  # fmt: skip
        """One object's class and pose; arguments as of :meth:`held`."""
        batch["object_class"][:, slot] = torch.where(there, index, -1)
        batch["object_position"][:, slot] = position * there[:, None]
        none = torch.eye(3, device=rotation.device)
        batch["object_rotation"][:, slot] = torch.where(there[:, None, None], rotation, none)
        batch["object_pose_valid"][:, slot] = there

    def _contacts(
        self, batch: Batch, found: Closest, touching: Tensor, rotation: Tensor, position: Tensor
    ) -> None:
        """The rules of :func:`manip_training.data.contacts.label_contacts`, of objects at rest."""
        touch = touching.to(found.distance.dtype)
        count = touch @ self._regions  # (B, 10)
        each = touch[..., None] * self._regions  # (B, 778, 10)
        mean = 1 / count.clamp(min=1)[..., None]
        point = each.mT @ found.point * mean
        normal = each.mT @ found.normal * mean
        # Distances of a region's touching vertices, the others far away.
        masked = found.distance[..., None] + 1e3 * (1 - each)
        deepest = masked.argmin(1)  # (B, 10)
        depth = -masked.amin(1)
        own = found.normal.gather(1, deepest[..., None].expand(-1, -1, 3))
        cancelled = normal.norm(dim=-1, keepdim=True) < CANCELLED
        inward = -F.normalize(torch.where(cancelled, own, normal), dim=-1)
        firm = (count >= FIRM_VERTICES) | (depth >= FIRM_DEPTH)
        there = count > 0
        kind = torch.where(there, torch.where(firm, FIRM, LIGHT), NONE)
        batch["contact_type"] = kind
        shown = there[..., None]
        batch["contact_point"] = (point @ rotation.mT + position[:, None]) * shown
        batch["contact_force_direction"] = (inward @ rotation.mT) * shown
        batch["contact_map"] = touch
        batch["contact_valid"] = torch.ones_like(batch["contact_valid"])


def mirrored_labels(batch: Batch, mirror: Tensor, flip: Tensor, size: int) -> Batch:
    """Labels of pictures ``mirror`` ``(B,)`` that are flipped left to right, and the others.

    Right hands become left ones. Objects are their own mirror images across x = 0 of their own
    frame, so that a mirrored object is the same one, turned.

    Args:
        batch: Labels of right hands.
        mirror: Which ones to flip.
        flip: ``(3,)`` -1, 1, 1.
        size: Pixels along each side of the picture.
    """
    camera, pixels = batch["camera"], batch["keypoints_px"]
    last = size - 1
    seen = {
        "camera": torch.cat((camera[:, :2], last - camera[:, 2:3], camera[:, 3:]), 1),
        "keypoints_px": torch.stack((last - pixels[..., 0], pixels[..., 1]), -1),
        "side": torch.zeros_like(batch["side"]),
        # A mirror turns the other two parts of a rotation vector about.
        "mano_pose": -(batch["mano_pose"].unflatten(1, (16, 3)) * flip).flatten(1),
        "object_rotation": flip[:, None] * batch["object_rotation"] * flip,
        "object_surface": (batch["object_surface"].unflatten(-1, (2, 3)) * flip).flatten(-2),
    }
    for name in ("joints", "object_position", "contact_point", "contact_force_direction",
                 "mano_translation"):  # fmt: skip
        seen[name] = batch[name] * flip
    for name, value in seen.items():
        chosen = mirror.view(-1, *[1] * (value.ndim - 1))
        batch[name] = torch.where(chosen, value, batch[name])
    return batch
