"""The hand head: MANO pose and shape, place, coarse joints, and the side."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.attention import Decoder
from manip_model.camera import CropCamera
from manip_model.config import ModelConfig
from manip_model.features import Features, sample_features
from manip_model.hand_model import HandModel
from manip_model.hand_numbers import NUM_JOINTS, Hand, HandNumbers, hand_of, soft_argmax
from manip_model.precision import exact, exactly
from manip_model.spatial_prior import PriorFeatures, channels_of

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
class HandPrediction(Hand):
    """What the hand head says, and the tokens that later stages read.

    Attributes:
        joint_tokens: ``(B, 21, D)``.
        tokens: ``(B, 38, D)`` all of the head's.
    """

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
        if config.prior_width:
            # What the prior sees at its own keypoints, and where those are.
            self.at_keypoint = nn.Linear(channels_of(config) + 2, width)
            self.layout = nn.Sequential(
                nn.Linear(2 * NUM_KEYPOINTS, width), nn.GELU(), nn.Linear(width, width)
            )

    def forward(
        self,
        features: Features,
        camera: CropCamera,
        side: Tensor | None,
        hint: Tensor,
        prior: PriorFeatures | None = None,
    ) -> HandPrediction:
        """Predict from features.

        Args:
            features: Of the backbone, with what the prior sees.
            camera: Of the crops.
            side: ``(B,)`` whose mesh to build; None or -1: the likelier one.
            hint: ``(B,)`` what the network is told of the side; -1 for nothing.
            prior: With a guess to go on from.
        """
        told = self.side_embedding(hint + 1) + self.camera_embedding(
            self._seen_by(camera).to(features.tokens.dtype)
        )
        # Every query begins with the gist of the picture, and asks for what it lacks.
        queries = self.queries + (told + features.summary)[:, None]
        if prior is not None:
            queries = queries + self._at_keypoints(prior)
        context = torch.cat((features.tokens, features.summary[:, None]), dim=1)
        tokens = self.decoder(queries, context)
        pose_tokens, joint_tokens, whole = tokens.split((NUM_JOINTS, NUM_KEYPOINTS, 1), dim=1)
        whole = whole[:, 0]

        all_six = exact(self.all_rotations(whole)).unflatten(-1, (NUM_JOINTS, 6))
        all_offsets = exact(self.all_offsets(whole)).unflatten(-1, (NUM_KEYPOINTS, 3))
        numbers = HandNumbers(
            six=exact(self.rotation(pose_tokens)) + all_six,
            offset=exact(self.offset(joint_tokens)) + all_offsets,
            shape=exact(self.shape(whole)),
            place=exact(self.place(whole)),
            side=exact(self.side(whole)),
            heat=self._heat(joint_tokens, features.tokens, prior),
        )
        with exactly(numbers.six):
            if prior is not None:
                numbers = numbers + prior.numbers
            hand = hand_of(numbers, self.hand_model, camera, self.size, side)
        return HandPrediction(**vars(hand), joint_tokens=joint_tokens, tokens=tokens)

    def _seen_by(self, camera: CropCamera) -> Tensor:
        """``(B, 4)`` field of view and where the optical axis meets the crop."""
        half = self.size / 2
        middle = (self.size - 1) / 2
        view = half / camera.focal
        return torch.cat((view.log(), (camera.centre - middle) / camera.focal), dim=-1)

    def _at_keypoints(self, prior: PriorFeatures) -> Tensor:
        """``(B, 38, D)`` for the queries: local features to each keypoint's, all places to the
        whole hand's."""
        heat = exact(prior.numbers.heat)
        with exactly(heat):
            pixels = soft_argmax(heat, self.size)
        places = (pixels / self.size - 0.5).to(prior.fine.dtype)
        local = sample_features(prior.fine, pixels, self.size)
        keypoints = self.at_keypoint(torch.cat((local, places), dim=-1))
        whole = self.layout(places.flatten(1))[:, None]
        return torch.cat((whole.expand(-1, NUM_JOINTS, -1), keypoints, whole), dim=1)

    def _heat(self, joints: Tensor, patches: Tensor, prior: PriorFeatures | None) -> Tensor:
        """Logits of the keypoints ``(B, 21, F*F)`` over the patches, or over the guess's cells."""
        scores = self.keypoint_query(joints) @ self.keypoint_key(patches).mT
        scores = exact(scores) * (_SHARPNESS * joints.shape[-1] ** -0.5)
        if prior is None:
            return scores
        fine = prior.fine.shape[-1]
        scores = scores.unflatten(-1, (self.grid, self.grid))
        scores = F.interpolate(scores, size=(fine, fine), mode="bilinear", align_corners=False)
        return scores.flatten(2)
