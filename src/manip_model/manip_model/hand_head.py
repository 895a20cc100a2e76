"""The hand head: MANO pose and shape, place, coarse joints, and the side."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.attention import Decoder
from manip_model.backbone import Features
from manip_model.camera import CropCamera
from manip_model.config import ModelConfig
from manip_model.hand_model import HandMesh, HandModel
from manip_model.precision import exact, exactly
from manip_model.rotations import matrix_from_6d, mirrored, none_in_6d, rotvec_from_matrix

NUM_JOINTS = 16
# The network's unit of length [m]: a palm's.
UNIT = 0.1
# A hand that fills its crop spans about this much, in [m]: where depth starts.
_SPAN = 0.25
# Depth changes by so much of itself for one unit of output: some 0.1 m, as in the other directions.
# (At one for one its gradient, ten times the others', is all that the shared layers hear.)
_DEPTH_STEP = 0.15
# Scores of patches are so many times as sharp as attention's: they must single out one of many.
_SHARPNESS = 4.0
# Outputs that refine a guess start small.
SMALL_GAMMA = 0.3


def output(width: int, size: int, gamma: float = SMALL_GAMMA) -> nn.Linear:
    """A last layer whose output starts near zero, reparameterised or not."""
    linear = nn.Linear(width, size)
    nn.init.trunc_normal_(linear.weight, std=gamma * width**-0.5)
    nn.init.zeros_(linear.bias)
    linear.initial_gamma = gamma
    return linear


@dataclass
class HandPrediction:
    """What the hand head says, and the tokens that later stages read.

    Shapes and units are those of :class:`manip_model.outputs.ModelOutput`.
    """

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
    joint_tokens: Tensor
    tokens: Tensor


class HandHead(nn.Module):
    """Queries for 16 joint rotations, 21 keypoints and the whole hand, decoded from features."""

    def __init__(self, config: ModelConfig, hand_model: HandModel):
        super().__init__()
        width = config.width
        self.size, self.grid = config.image_size, config.grid
        self.hand_model = hand_model
        # As large as what is added to them: smaller ones take long to tell the joints apart.
        self.queries = nn.Parameter(torch.randn(1, NUM_JOINTS + NUM_KEYPOINTS + 1, width))
        self.side_embedding = nn.Embedding(3, width)
        self.camera_embedding = nn.Linear(4, width)
        self.decoder = Decoder(width, config.decoder_heads, config.decoder_layers)
        self.rotation = output(width, 6)
        # The same from the token of the whole hand, each joint by weights of its own: what one
        # layer for all joints can say, it must first learn to tell the joints apart for.
        self.all_rotations = output(width, 6 * NUM_JOINTS)
        self.all_offsets = output(width, 3 * NUM_KEYPOINTS)
        self.shape = output(width, 10)
        self.place = output(width, 3)
        self.side = output(width, 2)
        self.offset = output(width, 3)
        self.keypoint_query = nn.Linear(width, width)
        self.keypoint_key = nn.Linear(width, width)

    def forward(
        self, features: Features, camera: CropCamera, side: Tensor | None, hint: Tensor
    ) -> HandPrediction:
        """Predict from features.

        Args:
            features: Of the backbone.
            camera: Of the crops.
            side: ``(B,)`` whose mesh to build; None or -1: the likelier one.
            hint: ``(B,)`` what the network is told of the side; -1 for nothing.
        """
        told = self.side_embedding(hint + 1) + self.camera_embedding(
            self._seen_by(camera).to(features.tokens.dtype)
        )
        # Every query begins with the gist of the picture, and asks for what it lacks.
        queries = self.queries + (told + features.summary)[:, None]
        context = torch.cat((features.tokens, features.summary[:, None]), dim=1)
        tokens = self.decoder(queries, context)
        pose_tokens, joint_tokens, whole = tokens.split((NUM_JOINTS, NUM_KEYPOINTS, 1), dim=1)
        whole = whole[:, 0]

        all_six = exact(self.all_rotations(whole)).unflatten(-1, (NUM_JOINTS, 6))
        all_offsets = exact(self.all_offsets(whole)).unflatten(-1, (NUM_KEYPOINTS, 3))
        six = exact(self.rotation(pose_tokens)) + all_six
        offset = UNIT * (exact(self.offset(joint_tokens)) + all_offsets)
        shape, place = exact(self.shape(whole)), exact(self.place(whole))
        side_logits = exact(self.side(whole))
        scores = self.keypoint_query(joint_tokens) @ self.keypoint_key(features.tokens).mT
        logits = exact(scores) * (_SHARPNESS * joint_tokens.shape[-1] ** -0.5)
        likelier = side_logits.detach().argmax(-1)
        side = likelier if side is None else torch.where(side < 0, likelier, side)
        with exactly(six):
            rotations = self._rotations(six, side)
            wrist = self._wrist(place, camera)
            translation = wrist - self.hand_model.wrist(shape, side)
            return HandPrediction(
                side_logits=side_logits,
                side=side,
                mano_rotations=rotations,
                mano_pose=rotvec_from_matrix(rotations).flatten(1),
                mano_shape=shape,
                translation=translation,
                mesh=self.hand_model(rotations, shape, translation, side),
                coarse_joints=wrist[:, None] + offset,
                keypoints_px=self._soft_argmax(logits),
                keypoint_logits=logits,
                joint_tokens=joint_tokens,
                tokens=tokens,
            )

    def _seen_by(self, camera: CropCamera) -> Tensor:
        """``(B, 4)`` field of view and where the optical axis meets the crop."""
        half = self.size / 2
        middle = (self.size - 1) / 2
        view = half / camera.focal
        return torch.cat((view.log(), (camera.centre - middle) / camera.focal), dim=-1)

    def _rotations(self, six: Tensor, side: Tensor) -> Tensor:
        """Local rotations ``(B, 16, 3, 3)`` of ``(B, 16, 6)`` changes to none.

        The network speaks of right hands: a left one is what it would be in the mirror.
        """
        as_right = matrix_from_6d(six + none_in_6d(six))
        return torch.where((side == 0)[:, None, None, None], mirrored(as_right), as_right)

    def _wrist(self, place: Tensor, camera: CropCamera) -> Tensor:
        """Wrist ``(B, 3)`` [m]: place across in half crops, depth as a factor on the expected."""
        half = self.size / 2
        pixel = (self.size - 1) / 2 + half * place[:, :2]
        expected = camera.focal.mean(-1) / self.size * _SPAN
        depth = expected * (_DEPTH_STEP * place[:, 2]).clamp(-4, 4).exp()
        return camera.unproject(pixel[:, None], depth[:, None])[:, 0]

    def _soft_argmax(self, logits: Tensor) -> Tensor:
        """Mean pixel ``(B, 21, 2)`` of the distribution over patches."""
        patch = self.size / self.grid
        centre = torch.arange(self.grid, device=logits.device, dtype=logits.dtype) * patch
        centre = centre + (patch - 1) / 2
        heat = torch.softmax(logits, dim=-1).unflatten(-1, (self.grid, self.grid))
        return torch.stack((heat.sum(-2) @ centre, heat.sum(-1) @ centre), dim=-1)
