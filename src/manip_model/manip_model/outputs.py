"""What the network says of a picture."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class ModelOutput:
    """Predictions of a batch of B crops, all float32.

    Lengths in [m], in ``camera_optical_frame`` (z forward, x right, y down) unless stated;
    keypoints in the order of :class:`manip_core.hand_skeleton.Keypoint`; sides in the order of
    ``manip_core.hand.SIDES`` (0 left, 1 right).

    Attributes:
        side_logits: ``(B, 2)``.
        side: ``(B,)`` int64, the side whose hand the other fields describe: the one given to the
            model, or the likelier one.
        mano_rotations: ``(B, 16, 3, 3)`` local joint rotations, wrist (global) first, in MANO's
            joint order and in the convention of the hand's own side.
        mano_pose: ``(B, 48)`` the same as axis-angle [rad], flat (no mean pose left out).
        mano_shape: ``(B, 10)``.
        translation: ``(B, 3)``; ``vertices = hand_model(pose, shape) + translation``.
        vertices: ``(B, 778, 3)``.
        mano_joints: ``(B, 21, 3)`` keypoints of the mesh.
        coarse_joints: ``(B, 21, 3)`` as the hand head predicts them.
        refinements: one ``(B, 21, 3)`` for each refinement step.
        joints: ``(B, 21, 3)`` the final ones: the last refinement, or the coarse ones.
        joints_log_variance: ``(B, 21, 3)`` log of the variance [m²] of each coordinate of joints
            relative to the wrist.
        keypoints_px: ``(B, 21, 2)`` in the crop [px], from the 2D head, not projected.
        keypoint_logits: ``(B, 21, F*F)``, row by row, over the patches, or over the cells of the
            spatial prior where there is one.
        object_class_logits: ``(B, 10, C)``.
        object_position: ``(B, 10, 3)``.
        object_rotation: ``(B, 10, 3, 3)`` object frame to camera.
        object_confidence_logits: ``(B, 10)`` that the query is an object.
        contact_point: ``(B, 10, 3)``.
        contact_confidence_logits: ``(B, 10)`` that the region touches.
        contact_type_logits: ``(B, 10, 4)`` in the order of ``CONTACT_TYPES``.
        contact_force_direction: ``(B, 10, 3)`` unit vectors, from the hand into the object.
        contact_force: ``(B, 10)`` [N], not negative.
        contact_map_logits: ``(B, 778)`` that a vertex touches an object.
    """

    side_logits: Tensor
    side: Tensor
    mano_rotations: Tensor
    mano_pose: Tensor
    mano_shape: Tensor
    translation: Tensor
    vertices: Tensor
    mano_joints: Tensor
    coarse_joints: Tensor
    refinements: list[Tensor]
    joints: Tensor
    joints_log_variance: Tensor
    keypoints_px: Tensor
    keypoint_logits: Tensor
    object_class_logits: Tensor
    object_position: Tensor
    object_rotation: Tensor
    object_confidence_logits: Tensor
    contact_point: Tensor
    contact_confidence_logits: Tensor
    contact_type_logits: Tensor
    contact_force_direction: Tensor
    contact_force: Tensor
    contact_map_logits: Tensor

    def map(self, change) -> "ModelOutput":
        """The same with ``change`` applied to every tensor."""
        values = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = (
                [change(v) for v in value] if isinstance(value, list) else change(value)
            )
        return ModelOutput(**values)

    def detach(self) -> "ModelOutput":
        """Cut off from the graph."""
        return self.map(torch.Tensor.detach)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by name, refinements numbered."""
        found = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):
                found |= {f"{field.name}[{i}]": v for i, v in enumerate(value)}
            else:
                found[field.name] = value
        return found
