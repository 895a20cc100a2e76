"""The posed hand mesh: one differentiable forward for the open hand that ships and for MANO."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from manip_core.hand import LEFT, SIDES
from manip_core.resources import find
from manip_model.hand_regions import KEYPOINT_ROWS, NUM_MESH_JOINTS
from manip_model.mano_file import read_mano

NUM_VERTICES, NUM_FACES, NUM_SHAPE = 778, 1538, 10
OPEN_HAND = "assets/hand/open_hand_right.npz"
MANO_DIR = "MANO_DIR"

# Vertices at the ends of MANO's thumb, index, middle, ring and little finger, as in manopth
# (Hasson et al. 2019), from which the keypoints of DexYCB and HO-3D come.
MANO_TIPS = (745, 317, 444, 556, 673)


@dataclass
class HandMesh:
    """Posed hands, lengths in [m], in the frame of ``translation``, often the camera's.

    Attributes:
        vertices: ``(B, 778, 3)``.
        joints: ``(B, 21, 3)`` in the order of :class:`manip_core.hand_skeleton.Keypoint`.
        origins: ``(B, 16, 3)`` joints in the order of ``hand_regions.MESH_JOINTS``.
        rotations: ``(B, 16, 3, 3)`` proper; rest frame (the axes of the rest pose) of each joint to
            the frame of ``translation``.
    """

    vertices: Tensor
    joints: Tensor
    origins: Tensor
    rotations: Tensor


class HandModel(nn.Module):
    """Linear blend skinning of a right hand, and of a left one as its mirror image across x = 0.

    At rest the fingers point along -x, the palm faces -y and the thumb lies on the side of +z (of a
    right hand); every joint's frame has those axes. Pose and shape follow MANO (Romero et al. 2017,
    "Embodied Hands", equations 1 to 4). There is nothing to train, and a checkpoint does not hold
    the buffers: MANO's licence forbids to pass them on.

    Attributes:
        kind: ``"open"`` or ``"mano"``.
        faces: ``(1538, 3)`` int64, counter-clockwise seen from outside on a right hand.
        weights: ``(778, 16)`` skinning weights, rows sum to 1.
        pose_mean: ``(45,)`` numpy, axis-angle [rad] of the mean articulation of a right hand.
        pose_components: ``(45, 45)`` numpy, one principal component a row.
    """

    def __init__(self, arrays: dict[str, np.ndarray], kind: str):
        """From arrays of a right hand, in [m].

        Args:
            arrays: ``template (778, 3)``, ``faces (1538, 3)``, ``shape_directions (778, 3, 10)``,
                ``regressor (16, 778)``, ``weights (778, 16)``, ``tips (5,)`` (thumb first),
                ``pose_mean (45,)``, ``pose_components (45, 45)``, and for MANO also
                ``pose_directions (135, 2334)``.
            kind: ``"open"`` or ``"mano"``.
        """
        super().__init__()
        self.kind = kind
        self.pose_mean = np.asarray(arrays["pose_mean"], dtype=np.float64)
        self.pose_components = np.asarray(arrays["pose_components"], dtype=np.float64)
        template, shape = arrays["template"], arrays["shape_directions"]
        regressor = arrays["regressor"]
        self._keep("template", template)
        self._keep("shape_directions", shape)
        # Joints are linear in the vertices, so their share of template and shape is known before.
        self._keep("joint_template", regressor @ template)
        self._keep("joint_directions", np.einsum("jv,vkc->jkc", regressor, shape))
        self._keep("weights", arrays["weights"])
        self._keep("pose_directions", arrays.get("pose_directions"))
        self._keep("faces", arrays["faces"], torch.int64)
        self._keep("tips", arrays["tips"], torch.int64)
        self._keep("keypoint_rows", KEYPOINT_ROWS, torch.int64)

    def _keep(
        self, name: str, array: np.ndarray | None, dtype: torch.dtype = torch.float32
    ) -> None:
        value = None if array is None else torch.as_tensor(np.ascontiguousarray(array)).to(dtype)
        self.register_buffer(name, value, persistent=False)

    @classmethod
    def open(cls) -> "HandModel":
        """The hand that ships with the suite, which anyone may use."""
        with np.load(find(OPEN_HAND)) as stored:
            arrays = {name: stored[name] for name in stored.files}
        weights = np.zeros((NUM_VERTICES, NUM_MESH_JOINTS))
        np.put_along_axis(
            weights, arrays["weight_joints"].astype(int), arrays["weight_values"], axis=1
        )
        regressor = np.zeros((NUM_MESH_JOINTS, NUM_VERTICES))
        rows, columns = arrays["regressor_joints"], arrays["regressor_vertices"]
        regressor[rows, columns] = arrays["regressor_values"]
        arrays |= {"weights": weights, "regressor": regressor}
        return cls(arrays, "open")

    @classmethod
    def from_mano(cls, path: str | Path, side: str | None = None) -> "HandModel":
        """MANO from ``MANO_RIGHT.pkl``, ``MANO_LEFT.pkl`` or a folder that holds one of them.

        Either file serves hands of both sides; of a folder the right one is taken if it is there.

        Args:
            path: File or folder.
            side: The side that the file must be of; any if ``None``.

        Raises:
            FileNotFoundError: No file; the message says where it was sought and how to get it.
            ValueError: Not a MANO file, or one of the other side.
        """
        return cls({**read_mano(path, side), "tips": np.array(MANO_TIPS)}, "mano")

    def forward(
        self, rotations: Tensor, shape: Tensor, translation: Tensor, side: Tensor
    ) -> HandMesh:
        """The mesh and joints of a batch of hands.

        Args:
            rotations: ``(B, 16, 3, 3)`` of each joint against its parent, of the wrist against the
                frame of ``translation``, in the convention of the hand's own side.
            shape: ``(B, 10)``.
            translation: ``(B, 3)`` [m].
            side: ``(B,)`` int64, a row of ``manip_core.hand.SIDES``: 0 left, 1 right.
        """
        size = rotations.shape[0]
        for name, value, expected in (
            ("rotations", rotations, (size, NUM_MESH_JOINTS, 3, 3)),
            ("shape", shape, (size, NUM_SHAPE)),
            ("translation", translation, (size, 3)),
            ("side", side, (size,)),
        ):
            if tuple(value.shape) != expected:
                raise ValueError(f"{name} must be {expected}, got {tuple(value.shape)}")
        # In half precision vertices would be some 0.5 mm off.
        with torch.autocast(self.template.device.type, enabled=False):
            dtype = self.template.dtype
            return self._pose(rotations.to(dtype), shape.to(dtype), translation.to(dtype), side)

    def _pose(
        self, rotations: Tensor, shape: Tensor, translation: Tensor, side: Tensor
    ) -> HandMesh:
        flip = self._flip(side)
        local = flip[:, None, :, None] * rotations * flip[:, None, None, :]
        vertices = self.template + torch.einsum("vkc,bc->bvk", self.shape_directions, shape)
        rest = self.joint_template + torch.einsum("jkc,bc->bjk", self.joint_directions, shape)
        if self.pose_directions is not None:
            bend = local[:, 1:] - torch.eye(3, dtype=local.dtype, device=local.device)
            vertices = vertices + (bend.flatten(1) @ self.pose_directions).view_as(vertices)
        turned, origins = _chain(local, rest)
        offsets = origins - (turned @ rest[..., None]).squeeze(-1)
        # (B, 16, 3, 4) -> (B, 778, 3, 4)
        moves = torch.cat((turned, offsets[..., None]), dim=-1).flatten(2)
        blended = (self.weights @ moves).unflatten(-1, (3, 4))
        vertices = (blended[..., :3] @ vertices[..., None]).squeeze(-1) + blended[..., 3]

        vertices = vertices * flip[:, None] + translation[:, None]
        origins = origins * flip[:, None] + translation[:, None]
        turned = flip[:, None, :, None] * turned * flip[:, None, None, :]
        ends = torch.cat((origins, vertices[:, self.tips]), dim=1)
        return HandMesh(vertices, ends[:, self.keypoint_rows], origins, turned)

    def _flip(self, side: Tensor) -> Tensor:
        """``(B, 3)`` factors that mirror left hands and leave right ones."""
        x = (2 * side - 1).to(self.template.dtype)
        return torch.stack((x, torch.ones_like(x), torch.ones_like(x)), dim=-1)

    def wrist(self, shape: Tensor, side: Tensor) -> Tensor:
        """Rest position ``(B, 3)`` [m] of the wrist: ``joints[:, 0]`` less the translation."""
        directions = self.joint_directions[0]
        rest = self.joint_template[0] + shape.to(directions.dtype) @ directions.T
        return rest * self._flip(side)

    def faces_of(self, side: str) -> Tensor:
        """``(1538, 3)`` of a ``"left"`` or ``"right"`` hand, counter-clockwise from outside."""
        if side not in SIDES:
            raise ValueError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
        return self.faces.flip(1) if side == LEFT else self.faces


def _chain(local: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations ``(B, 16, 3, 3)`` and origins ``(B, 16, 3)`` of all joints, posed about the wrist.

    The five fingers go side by side, one level of the chain after the other.
    """
    wrist_turn, wrist = local[:, :1], rest[:, :1]
    fingers, heads = local[:, 1:].unflatten(1, (5, 3)), rest[:, 1:].unflatten(1, (5, 3))
    turn, origin, before = wrist_turn, wrist, wrist
    turns, origins = [], []
    for level in range(3):
        head = heads[:, :, level]
        origin = origin + (turn @ (head - before)[..., None]).squeeze(-1)
        turn, before = turn @ fingers[:, :, level], head
        turns.append(turn)
        origins.append(origin)
    return (
        torch.cat((wrist_turn, torch.stack(turns, dim=2).flatten(1, 2)), dim=1),
        torch.cat((wrist, torch.stack(origins, dim=2).flatten(1, 2)), dim=1),
    )


def load_hand_model(mano: str | Path | None = None) -> HandModel:
    """MANO where ``mano`` or the environment's ``MANO_DIR`` points, else the open hand.

    Raises:
        FileNotFoundError: MANO was asked for and is not there.
    """
    mano = mano or os.environ.get(MANO_DIR)
    return HandModel.from_mano(mano) if mano else HandModel.open()
