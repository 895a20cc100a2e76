"""The first generation: three patch encoders from scratch, no refinement.

It exists to be compared with: a stack of encoders without positional embeddings sees a bag of
patches, and its predictions collapse towards the mean pose.
"""

import torch
from torch import Tensor, nn

from manip_model.attention import Decoder
from manip_model.backbone import sine_positions
from manip_model.config import ModelConfig
from manip_model.features import Features, Normalise
from manip_model.hand_model import HandModel
from manip_model.pose_network import PoseNetwork
from manip_model.sigma_reparam import reparameterise_


class PatchEncoder(nn.Module):
    """A plain vision transformer on patches; knows where they are only where told to."""

    def __init__(self, config: ModelConfig, layers: int):
        super().__init__()
        self.normalise = Normalise(config.image_size)
        self.patch_embedding = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
        positions = sine_positions(config.grid, config.width) if config.position_embedding else None
        self.register_buffer("positions", positions, persistent=False)
        self.encoder = Decoder(config.width, config.decoder_heads, layers, cross=False)

    def forward(self, image: Tensor) -> Features:
        """Features of ``(B, 3, S, S)``."""
        image = self.normalise(image, self.patch_embedding.weight.dtype)
        x = self.patch_embedding(image).flatten(2).transpose(1, 2)
        if self.positions is not None:
            x = x + self.positions.to(x.dtype)
        x = self.encoder(x)
        return Features(x, x.mean(1))


class VideoManipulationTransformer(PoseNetwork):
    """Hand, object and contact encoders, each with its own eyes; the same heads and outputs."""

    def __init__(self, config: ModelConfig, hand_model: HandModel):
        super().__init__(config, hand_model)
        layers = max(1, config.layers // 3)
        self.hand_patches = PatchEncoder(config, layers)
        self.object_patches = PatchEncoder(config, layers)
        self.contact_patches = PatchEncoder(config, layers)
        if config.sigma_reparam:
            reparameterise_(self)

    def encode(self, image: Tensor) -> tuple[Features, Features]:
        """The hand's own features; the objects' and the contacts' together."""
        objects, contact = self.object_patches(image), self.contact_patches(image)
        both = Features(
            torch.cat((objects.tokens, contact.tokens), dim=1), objects.summary + contact.summary
        )
        return self.hand_patches(image), both
