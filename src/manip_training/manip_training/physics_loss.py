"""What a body cannot do: stand in a solid thing, or bend its joints beyond their range."""

import math
from functools import cache

import torch
from torch import Tensor

from manip_core.hand_skeleton import FINGERS
from manip_model.hand_regions import MESH_CHAINS
from manip_model.outputs import ModelOutput
from manip_model.rotations import mirrored, rotvec_from_matrix
from manip_training.batch import Batch

_DECIMETRES = 10.0
# Vertices further from the nearest of the 256 surface points than this are beside the thing [m].
_REACH = 0.02
# Flesh gives way: so deep is a touch, and no fault [m].
_FLESH = 0.002
# A grasp touches with some 50 of the 778 vertices: the depth of so many counts as a mean.
_TOUCHING = 50

# Ranges of flexion, spreading and twist [degrees], of each finger's joints from its base on.
# Fingers flex 90, 100 and 90, over-extend 45, 0 and 0, and spread 20 (American Academy of
# Orthopaedic Surgeons 1965, "Joint motion: method of measuring and recording"). Here the first two
# joints flex 5 more and the first spreads 5 more; the middle and last joint over-extend 10 and 20,
# as many hands do, and give 10 sideways, for fitted hinges are not quite straight.
# No clinic measures twist, and the thumb's axes here are not clinical: wide round figures, ours.
_FINGER = (
    ((-45, 95), (-25, 25), (-30, 30)),
    ((-10, 105), (-10, 10), (-30, 30)),
    ((-20, 90), (-10, 10), (-30, 30)),
)
_THUMB = (
    ((-45, 75), (-45, 45), (-45, 45)),
    ((-30, 60), (-30, 30), (-30, 30)),
    ((-30, 90), (-30, 30), (-30, 30)),
)
# People differ, and so does what a finger's axis is taken to be [degrees].
_SLACK = 15

# Where each finger points in the rest pose, in the plane of the palm, from straight ahead towards
# the thumb; and the lean of the thumb's flexion axis out of that plane [degrees].
_POINTS = {"thumb": 40, "index": 6, "middle": -6, "ring": -12, "little": -25}
_LEANS = {"thumb": -30}


def physics_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Penetration of the held object, where there is one, and joint limits, which need no label."""
    wrist = batch["joints"][:, :1]
    # The articulation decides how deep a hand stands in an object; centimetres of wrong depth
    # along the line of sight would drown it. So the hand is judged at the true wrist, and since
    # the move takes the predicted wrist along, no gradient asks the whole hand to back off.
    vertices = output.vertices - output.mano_joints[:, :1] + wrist
    valid = batch["object_surface_valid"] & batch["joints_valid"][:, 0]
    inside = penetration(vertices, batch["object_surface"], valid)
    return inside + joint_limits(output.mano_rotations, output.side)


def penetration(vertices: Tensor, surface: Tensor, valid: Tensor) -> Tensor:
    """How deep a hand stands in a thing [dm]: the summed depth of its vertices, over 50.

    The depth of a vertex is that behind the tangent plane of the nearest surface point, beyond what
    flesh gives way. Vertices more than 2 cm from all surface points count nothing: they are
    outside, or so deep that the nearest side says little.

    Args:
        vertices: ``(B, V, 3)`` of the hand [m].
        surface: ``(B, P, 6)`` points [m] and unit outward normals in the same frame.
        valid: ``(B,)`` bool, which hands count.
    """
    points, normals = surface.split(3, dim=-1)
    with torch.no_grad():
        nearest = torch.cdist(vertices, points).argmin(-1)[..., None].expand(-1, -1, 3)
    offset = vertices - points.gather(1, nearest)
    depth = -(offset * normals.gather(1, nearest)).sum(-1) - _FLESH
    near = offset.detach().square().sum(-1) < _REACH**2
    depth = torch.where(near & valid[:, None], depth, 0.0).clamp(min=0)
    return _DECIMETRES / _TOUCHING * depth.sum() / valid.sum().clamp(min=1)


def joint_limits(rotations: Tensor, side: Tensor) -> Tensor:
    """Squares of how far the 15 joints are out of range, summed over a hand [rad²]; batch mean.

    Args:
        rotations: ``(B, 16, 3, 3)`` local, wrist first, in the convention of the hand's own side.
        side: ``(B,)`` 0 left, 1 right.
    """
    local = rotations[:, 1:]
    left = (side == 0)[:, None, None, None]
    angles = anatomical_angles(torch.where(left, mirrored(local), local))
    low, high = _limits(angles.device, angles.dtype)
    beyond = (low - angles).clamp(min=0) + (angles - high).clamp(min=0)
    return beyond.square().sum((-1, -2)).mean()


def anatomical_angles(rotations: Tensor) -> Tensor:
    """Flexion, spreading and twist ``(…, 15, 3)`` [rad] of local rotations ``(…, 15, 3, 3)``.

    Of a right hand, joints in the hand model's order without the wrist. They are the components of
    the rotation vector along the finger's own axes at rest: flexion is positive towards the palm,
    spreading towards the thumb.
    """
    axes = _axes(rotations.device, rotations.dtype)
    return torch.einsum("jac,...jc->...ja", axes, rotvec_from_matrix(rotations))


@cache
@torch.inference_mode(False)
def _axes(device: torch.device, dtype: torch.dtype) -> Tensor:
    """``(15, 3, 3)``: a unit axis of flexion, of spreading and of twist, a row each."""
    axes = torch.zeros(15, 3, 3, dtype=torch.float64)
    palm = torch.tensor((0.0, -1.0, 0.0), dtype=torch.float64)
    for finger, chain in zip(FINGERS, MESH_CHAINS, strict=True):
        yaw, lean = (math.radians(angles.get(finger, 0)) for angles in (_POINTS, _LEANS))
        along = torch.tensor((-math.cos(yaw), 0.0, math.sin(yaw)), dtype=torch.float64)
        across = torch.linalg.cross(along, palm)
        flexion = math.cos(lean) * across - math.sin(lean) * palm
        spreading = -math.sin(lean) * across - math.cos(lean) * palm
        axes[chain - 1] = torch.stack((flexion, spreading, along))
    return axes.to(device, dtype)


@cache
@torch.inference_mode(False)
def _limits(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Least and largest ``(15, 3)`` [rad] flexion, spreading and twist, slack included."""
    limits = torch.zeros(15, 3, 2, dtype=torch.float64)
    for finger, chain in zip(FINGERS, MESH_CHAINS, strict=True):
        limits[chain - 1] = torch.tensor(
            _THUMB if finger == "thumb" else _FINGER, dtype=torch.float64
        )
    slack = torch.tensor((-_SLACK, _SLACK), dtype=torch.float64)
    low, high = torch.deg2rad(limits + slack).to(device, dtype).unbind(-1)
    return low, high
