"""The losses, each by name, and their weighted total.

Lengths enter in decimetres, pixels as the decimetres that they span and angles in radians, so that
an error one can see counts a tenth or so in each, and the weights say what matters.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand_skeleton import Keypoint
from manip_model.camera import CropCamera
from manip_model.outputs import ModelOutput
from manip_model.precision import exact, exactly
from manip_model.rotations import geodesic, matrix_from_rotvec
from manip_training.batch import Batch
from manip_training.object_matching import is_matched, match_objects, of_matched
from manip_training.physics_loss import physics_loss

_DECIMETRES = 10.0
# A crop holds a hand and its surroundings: it spans about so much [dm].
_CROP = 2.5
# Errors below this pull ever less: labels are no better than 2 mm [dm].
_SMALL = 0.02
# Depth from one eye is vague: the place of the hand as a whole counts less than its pose.
_PLACE = 0.3
# Standard deviation of the soft target of the 2D head [patches].
_HEAT_SPREAD = 0.75
# A projected keypoint further off than half a crop pulls ever less [dm].
_FAR = 0.5 * _CROP
# A joint's error beyond this says nothing of the common ones [dm].
_GROSS = 1.0


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What a unit of each loss counts in the total; finite, none negative."""

    hand_coarse: float = 1.326
    hand_refined: float = 1.189
    object_position: float = 0.822
    object_rotation: float = 0.463
    contact: float = 0.359
    physics: float = 0.086
    diversity: float = 0.060
    reprojection: float = 0.553
    sigma_reparam: float = 0.001

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{field.name} must be finite and 0 or more, got {value}")


def compute_losses(
    output: ModelOutput, batch: Batch, weights: LossWeights, gammas: list[Tensor] | tuple = ()
) -> dict[str, Tensor]:
    """Every loss before weighting, and the weighted ``"total"``; scalars, on the output's device.

    Args:
        output: Of the network. Losses are computed in single precision, or in its own where that
            is better, outside autocast.
        batch: The truth; what is not labelled counts nothing.
        weights: Of the total.
        gammas: Learnable spectral norms of the network.
    """
    output = output.map(lambda t: exact(t) if t.is_floating_point() else t)
    like = output.joints
    batch = {k: v.to(like.dtype) if v.is_floating_point() else v for k, v in batch.items()}
    with exactly(like):
        matched = match_objects(output, batch)
        losses = {
            "hand_coarse": hand_coarse_loss(output, batch),
            "hand_refined": hand_refined_loss(output, batch),
            "object_position": object_position_loss(output, batch, matched),
            "object_rotation": object_rotation_loss(output, batch, matched),
            "contact": contact_loss(output, batch),
            "physics": physics_loss(output, batch),
            "diversity": diversity_loss(output, batch),
            "reprojection": reprojection_loss(output, batch),
            "sigma_reparam": sigma_reparam_loss(gammas) if gammas else like.new_zeros(()),
        }
        total = sum(getattr(weights, name) * value for name, value in losses.items())
    return losses | {"total": total}


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask`` (broadcast); 0 with zero gradient where nothing is."""
    mask = mask.expand_as(values)
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


def length(x: Tensor) -> Tensor:
    """Length of ``(…, D)`` [dm], but zero and smooth at zero (Charbonnier et al. 1997)."""
    return (x.square().sum(-1) + _SMALL**2).sqrt() - _SMALL


def hand_coarse_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Of the hand head: its joints, its mesh, MANO's parameters, the side, and the 2D keypoints."""
    joints = sum(joints_loss(j, batch) for j in (output.coarse_joints, output.mano_joints))
    side = F.cross_entropy(output.side_logits, batch["side"], reduction="none")
    return (
        joints
        + mano_loss(output, batch)
        + 0.2 * masked_mean(side, batch["side_valid"])
        + 0.1 * keypoint_heat_loss(output, batch)
        + keypoint_place_loss(output, batch)
    )


def joints_loss(joints: Tensor, batch: Batch) -> Tensor:
    """Mean error of joints ``(B, 21, 3)`` [m] against the wrist, and a share of the absolute."""
    truth, valid = batch["joints"], batch["joints_valid"]
    rooted = valid & valid[:, :1]
    relative = masked_mean(length(_DECIMETRES * (_rooted(joints) - _rooted(truth))), rooted)
    return relative + _PLACE * masked_mean(length(_DECIMETRES * (joints - truth)), valid)


def mano_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Geodesic angles of MANO's 16 rotations [rad], shape, and translation.

    Rotations and translation of a left hand mean nothing to a right one: samples for which the
    mesh was built of the wrong side do not count.
    """
    valid = batch["mano_valid"] & (output.side == batch["side"])
    truth = matrix_from_rotvec(batch["mano_pose"].unflatten(-1, (16, 3)))
    turned = geodesic(output.mano_rotations, truth)
    shape = F.smooth_l1_loss(output.mano_shape, batch["mano_shape"], reduction="none", beta=0.1)
    apart = length(_DECIMETRES * (output.translation - batch["mano_translation"]))
    return (
        0.5 * masked_mean(turned, valid[:, None])
        + 0.05 * masked_mean(shape, batch["mano_valid"][:, None])
        + _PLACE * masked_mean(apart, valid)
    )


def keypoint_heat_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Divergence (Kullback-Leibler) of the 2D head from a soft spot on the patches.

    The spot is a Gaussian about the true pixel. Keypoints outside the crop do not count.
    """
    grid = math.isqrt(output.keypoint_logits.shape[-1])
    patch = _side(batch) / grid
    # Pixel centres sit at whole numbers, so the first patch begins at -1/2.
    place = (batch["keypoints_px"] + 0.5) / patch - 0.5
    cells = torch.arange(grid, device=place.device, dtype=place.dtype)
    spot = F.log_softmax(-((place[..., None] - cells) ** 2) / (2 * _HEAT_SPREAD**2), dim=-1)
    # (B, 21, G, G) -> (B, 21, G*G)
    target = (spot[..., 1, :, None] + spot[..., 0, None, :]).flatten(-2)
    said = F.log_softmax(output.keypoint_logits, dim=-1)
    return masked_mean((target.exp() * (target - said)).sum(-1), _inside(batch))


def keypoint_place_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Error of the 2D head's keypoints that lie in the crop, in the decimetres that they span."""
    apart = _CROP / _side(batch) * (output.keypoints_px - batch["keypoints_px"])
    return masked_mean(length(apart), _inside(batch))


def hand_refined_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Joints of every refinement alike (deep supervision), and the likelihood of their variance."""
    count = max(len(output.refinements), 1)
    refined = sum(joints_loss(joints, batch) for joints in output.refinements) / count
    return refined + 0.1 * variance_loss(output, batch)


def variance_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Negative log-likelihood of wrist-relative joints under a Laplace distribution.

    A likelihood that trains mean and variance at once leaves alone what it takes for hopeless
    (Seitzer et al. 2022, "On the pitfalls of heteroscedastic uncertainty estimation with
    probabilistic neural networks", whose remedy, beta-NLL, weighs that up). Here the joints have
    losses of their own, so the error is detached and nothing is left to weigh up. Laplace's and not
    Gauss's, because the errors of hands have long tails. Zero where a deviation of 1 cm is claimed
    and there is no error; negative for smaller ones.
    """
    error = _rooted(output.joints.detach()) - _rooted(batch["joints"])
    error = (_DECIMETRES * error.abs()).clamp(max=_GROSS)
    # Only a network that is broken goes beyond these.
    deviation = 0.5 * output.joints_log_variance.clamp(-30, 30) + math.log(_DECIMETRES)
    likelihood = math.sqrt(2) * error * (-deviation).exp() + deviation - math.log(0.1)
    valid = batch["joints_valid"] & batch["joints_valid"][:, :1]
    # The wrist, against itself, is never wrong.
    return masked_mean(likelihood[:, 1:], valid[:, 1:, None])


def object_position_loss(output: ModelOutput, batch: Batch, matched: Tensor) -> Tensor:
    """Place of matched objects, their class, and whether each query is an object.

    Args:
        output, batch: Predictions and truth.
        matched: ``(B, S)`` of :func:`manip_training.object_matching.match_objects`.
    """
    there = matched >= 0
    posed = there & batch["object_pose_valid"]
    apart = of_matched(output.object_position, matched) - batch["object_position"]
    moved = apart + _to_true_wrist(output.joints, batch)
    classes = F.cross_entropy(
        of_matched(output.object_class_logits, matched).flatten(0, 1),
        batch["object_class"].clamp(min=0).flatten(),
        reduction="none",
    )
    logits = output.object_confidence_logits
    confidence = F.binary_cross_entropy_with_logits(
        logits, is_matched(matched, logits.shape[1]).to(logits.dtype), reduction="none"
    )
    return (
        masked_mean(length(_DECIMETRES * moved), posed)
        + _PLACE * masked_mean(length(_DECIMETRES * apart), posed)
        + 0.2 * masked_mean(classes.view_as(there), there)
        + 0.5 * masked_mean(confidence, batch["objects_valid"][:, None])
    )


def object_rotation_loss(output: ModelOutput, batch: Batch, matched: Tensor) -> Tensor:
    """Geodesic angle [rad] of matched objects, as for :func:`object_position_loss`."""
    turned = geodesic(of_matched(output.object_rotation, matched), batch["object_rotation"])
    return masked_mean(turned, (matched >= 0) & batch["object_pose_valid"])


def contact_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Of each region whether, how, where, which way and how hard it touches; and of each vertex."""
    labelled = batch["contact_valid"][:, None]
    touches = batch["contact_type"] > 0
    where = labelled & touches
    logits = output.contact_confidence_logits
    confidence = F.binary_cross_entropy_with_logits(
        logits, touches.to(logits.dtype), reduction="none"
    )
    kinds = F.cross_entropy(
        output.contact_type_logits.flatten(0, 1), batch["contact_type"].flatten(), reduction="none"
    )
    moved = output.contact_point + _to_true_wrist(output.mano_joints, batch)
    apart = length(_DECIMETRES * (moved - batch["contact_point"]))
    cosine = (output.contact_force_direction * batch["contact_force_direction"]).sum(-1)
    # Of forces the order of magnitude matters.
    force = F.smooth_l1_loss(
        output.contact_force.clamp(min=0).log1p(), batch["contact_force"].log1p(), reduction="none"
    )
    return (
        masked_mean(confidence, labelled)
        + 0.5 * masked_mean(kinds.view_as(touches), labelled)
        + masked_mean(apart, where)
        + 0.3 * masked_mean(1 - cosine, where)
        + 0.3 * masked_mean(force, labelled & batch["contact_force_valid"])
        + 0.5 * contact_map_loss(output, batch)
    )


def contact_map_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Cross entropy of each vertex; the few that touch count as much in sum as all others."""
    truth, labelled = batch["contact_map"], batch["contact_valid"][:, None]
    share = masked_mean(truth, labelled).clamp(0.02, 0.5)
    weight = torch.where(truth > 0.5, 0.5 / share, 0.5 / (1 - share))
    entropy = F.binary_cross_entropy_with_logits(output.contact_map_logits, truth, reduction="none")
    return masked_mean(weight * entropy, labelled)


def diversity_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """How far the joints of a batch, and the mesh's, fall short of the spread of the truth, 0 to 1.

    The spread is the standard deviation over the batch of wrist-relative joints: a network that
    answers with the mean pose has none. Zero where it is as large as that of the truth, and where
    the truth has none: in a batch of one, or of one hand again and again.
    """
    valid = batch["joints_valid"].all(-1)
    true = _spread(batch["joints"], valid)
    said = torch.stack([_spread(joints, valid) for joints in (output.joints, output.mano_joints)])
    # Each by itself: the spread of the one does not make up for the other's.
    short = (1 - said / true).clamp(min=0).mean()
    return torch.where(true > 1e-3, short, 0.0)


def reprojection_loss(output: ModelOutput, batch: Batch) -> Tensor:
    """Error of the projected joints (coarse, final, mesh's), in the decimetres that they span.

    Beyond half a crop it grows as the logarithm: projections of joints close to the camera may be
    anywhere, and must not rule.
    """
    camera = CropCamera(batch["camera"])
    loss = 0.0
    sets = (output.coarse_joints, output.joints, output.mano_joints)
    for joints in sets:
        apart = length(_CROP / _side(batch) * (camera.project(joints) - batch["keypoints_px"]))
        far = _FAR * (1 + (apart / _FAR).clamp(min=1).log())
        bounded = torch.where(apart < _FAR, apart, far)
        loss = loss + masked_mean(bounded, batch["keypoints_px_valid"]) / len(sets)
    return loss


def sigma_reparam_loss(gammas: list[Tensor] | tuple) -> Tensor:
    """Mean square of log gamma, of the gammas above 1: spectral norms shall not run away.

    Attention whose logits grow without bound is what sigma-reparameterisation is there to prevent
    (Zhai et al. 2023), and they grow with the norms. The logarithm, because norms act as factors: a
    pretrained layer with a norm of 20 is drawn no harder than it can bear. Gammas below 1 are left
    alone, as the last layers' are, which start small on purpose.
    """
    norms = torch.stack([gamma.reshape(()) for gamma in gammas]).abs()
    return norms.clamp(min=1).log().square().mean()


def _side(batch: Batch) -> int:
    """Of the pictures [px]."""
    return batch["image"].shape[-1]


def _inside(batch: Batch) -> Tensor:
    """``(B, 21)`` the keypoint is labelled and lies in the crop."""
    pixels = batch["keypoints_px"]
    inside = ((pixels > -0.5) & (pixels < _side(batch) - 0.5)).all(-1)
    return batch["keypoints_px_valid"] & inside


def _rooted(joints: Tensor) -> Tensor:
    return joints - joints[:, Keypoint.WRIST, None]


def _to_true_wrist(joints: Tensor, batch: Batch) -> Tensor:
    """Move ``(B, 1, 3)`` [m] of the predicted wrist onto the true one, zero where that is unknown.

    Objects and contacts are predicted relative to the hand, and are judged so: what the hand's
    depth is wrong by is not theirs to mend. Detached, so that they do not pull at the hand.
    """
    wrist = slice(Keypoint.WRIST, Keypoint.WRIST + 1)
    move = batch["joints"][:, wrist] - joints[:, wrist].detach()
    return torch.where(batch["joints_valid"][:, wrist, None], move, 0.0)


def _spread(joints: Tensor, valid: Tensor) -> Tensor:
    """Standard deviation [m] over the ``valid`` samples of the wrist-relative coordinates."""
    there = valid[:, None, None]
    count = valid.sum().clamp(min=1)
    relative = torch.where(there, _rooted(joints), 0.0)
    centred = torch.where(there, relative - relative.sum(0) / count, 0.0)
    # Some 10 µm, so that the root has a gradient where all are alike.
    return ((centred.square().sum(0) / count).mean() + 1e-10).sqrt()
