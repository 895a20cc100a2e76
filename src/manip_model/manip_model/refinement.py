"""Pixel-aligned refinement: look again where the joints fall in the picture, and correct them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.attention import Decoder
from manip_model.camera import CropCamera
from manip_model.config import ModelConfig
from manip_model.features import Features, sample_features
from manip_model.hand_head import output
from manip_model.hand_numbers import UNIT
from manip_model.precision import exact
from manip_model.spatial_prior import channels_of


class Refinement(nn.Module):
    """One step: joints ``(B, 21, 3)`` to better joints."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.width
        self.size = config.image_size
        self.sampled = nn.Linear(width // 2 + channels_of(config), width)
        self.place_embedding = nn.Linear(5, width)
        self.decoder = Decoder(width, config.decoder_heads, 1)
        self.change = output(width, 3)

    def forward(
        self,
        joints: Tensor,
        tokens: Tensor,
        maps: list[Tensor],
        hand: Tensor,
        camera: CropCamera,
    ) -> tuple[Tensor, Tensor]:
        """Refined joints and tokens.

        Args:
            joints: ``(B, 21, 3)`` in [m].
            tokens: ``(B, 21, D)`` of the joints.
            maps: Features over the whole crop: the upsampled ones ``(B, D/2, 2G, 2G)``, and the
                prior's ``(B, C, F, F)`` where there is one.
            hand: ``(B, 22, D)`` tokens of the hand in its local frames.
            camera: Of the crops.
        """
        pixels = camera.project(joints)
        looked = [sample_features(one, pixels, self.size) for one in maps]
        seen = self.sampled(torch.cat(looked, dim=-1))
        relative = (joints - joints[:, :1]) / UNIT
        place = torch.cat((relative, (pixels / self.size - 0.5).clamp(-2, 2)), dim=-1)
        x = tokens + seen + self.place_embedding(place.to(tokens.dtype)) + hand[:, :NUM_KEYPOINTS]
        x = self.decoder(x, hand)
        return joints + UNIT * exact(self.change(x)), x


class Upsampler(nn.Module):
    """Features ``(B, G*G, D)`` to a map ``(B, D/2, 2G, 2G)``: four places in every patch."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.spread = nn.Linear(width, 2 * width)

    def forward(self, features: Features) -> Tensor:
        """``(B, D/2, 2G, 2G)``."""
        spread = Features(self.spread(self.norm(features.tokens)), features.summary)
        return F.pixel_shuffle(spread.map(), 2)
