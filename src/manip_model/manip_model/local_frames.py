"""A hand seen from its own joints: every vertex in 22 local frames, and an encoder of it.

The 22 frames: MANO's 16 joints, the 5 fingertips and the palm. They are built from the *predicted*
mesh, never from labels. In them a finger's shape is the same wherever the hand turns.
"""

import torch
from torch import Tensor, nn

from manip_core.hand_skeleton import NUM_KEYPOINTS, TIPS, Keypoint
from manip_model.hand_model import HandMesh
from manip_model.hand_regions import MESH_CHAINS
from manip_model.precision import exactly

NUM_FRAMES = 22
# Coordinates in every frame, and the vertex's own place in the list.
NUM_FEATURES = 3 * NUM_FRAMES + 1
# A palm's length: brings coordinates to the order of one.
_UNIT = 0.1


# Plain lists: torch.compile does not look into numpy arrays and enumerations.
_TIPS, _DISTAL = TIPS.tolist(), MESH_CHAINS[:, 2].tolist()
_WRIST, _INDEX, _MIDDLE, _LITTLE = (
    int(k) for k in (Keypoint.WRIST, Keypoint.INDEX_MCP, Keypoint.MIDDLE_MCP, Keypoint.LITTLE_MCP)
)
_PALM = [_WRIST, _INDEX, _MIDDLE, int(Keypoint.RING_MCP), _LITTLE]


def hand_frames(mesh: HandMesh) -> tuple[Tensor, Tensor]:
    """The 22 frames of a hand.

    Args:
        mesh: Of B hands.

    Returns:
        Proper rotations ``(B, 22, 3, 3)`` from each frame to the camera's, and origins
        ``(B, 22, 3)`` in [m]: 16 joints (MANO's order), 5 tips (thumb first; turned as the last
        joint, placed at the tip), and the palm: z from the wrist to the middle knuckle, x along
        the normal of wrist, index and little knuckle, placed amid wrist and knuckles.
    """
    joints = mesh.joints
    tips = _rows(joints, _TIPS)
    wrist = joints[:, _WRIST]
    z = nn.functional.normalize(joints[:, _MIDDLE] - wrist, dim=-1)
    across = joints[:, _INDEX] - joints[:, _LITTLE]
    x = nn.functional.normalize(torch.cross(across, z, dim=-1), dim=-1)
    palm = torch.stack((x, torch.cross(z, x, dim=-1), z), dim=-1)
    middle = _rows(joints, _PALM).mean(1)
    rotations = torch.cat((mesh.rotations, _rows(mesh.rotations, _DISTAL), palm[:, None]), dim=1)
    origins = torch.cat((mesh.origins, tips, middle[:, None]), dim=1)
    return rotations, origins


def _rows(values: Tensor, chosen: list[int]) -> Tensor:
    """Some rows of ``(B, N, …)``; an index of their numbers would have to come from the host, which
    a captured CUDA graph cannot fetch from."""
    return torch.stack([values[:, row] for row in chosen], dim=1)


def local_features(mesh: HandMesh) -> Tensor:
    """``(B, 778, 67)``: each vertex in all 22 frames [0.1 m], and its index, -1 to 1."""
    rotations, origins = hand_frames(mesh)
    offset = mesh.vertices[:, :, None] - origins[:, None]
    # R^T d is the row vector d times R.
    local = torch.einsum("bvfj,bfjk->bvfk", offset, rotations) / _UNIT
    return torch.cat((local.flatten(2), _indices(local)), dim=-1)


def global_features(mesh: HandMesh) -> Tensor:
    """``(B, 778, 67)``, for comparison: wrist-relative camera coordinates and zeros instead."""
    offset = (mesh.vertices - mesh.joints[:, :1]) / _UNIT
    padding = offset.new_zeros(*offset.shape[:2], NUM_FEATURES - 4)
    return torch.cat((offset, padding, _indices(offset)), dim=-1)


def _indices(like: Tensor) -> Tensor:
    batch, count = like.shape[:2]
    index = torch.linspace(-1, 1, count, device=like.device, dtype=like.dtype)
    return index.view(1, count, 1).expand(batch, count, 1)


class HandEncoder(nn.Module):
    """PointNet-style: every vertex through the same layers, then attention pooling.

    Qi et al. 2017, "PointNet"; a softmax of learned scores takes the place of the maximum, one
    for each of the 21 keypoints and one for the whole.
    """

    def __init__(self, width: int, out: int, *, local: bool = True):
        super().__init__()
        self.features = local_features if local else global_features
        self.points = nn.Sequential(
            nn.Linear(NUM_FEATURES, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Linear(width, width),
        )
        self.scores = nn.Linear(width, NUM_KEYPOINTS + 1)
        self.out = nn.Linear(width, out)

    def forward(self, mesh: HandMesh) -> tuple[Tensor, Tensor]:
        """Vertex features ``(B, 778, width)`` and tokens ``(B, 22, out)``, the whole one last."""
        with exactly(mesh.vertices):
            features = self.features(mesh)
        points = self.points(features.to(self.out.weight.dtype))
        weights = torch.softmax(self.scores(points), dim=1)
        return points, self.out(weights.transpose(1, 2) @ points)
