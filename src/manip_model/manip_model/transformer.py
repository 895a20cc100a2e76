"""The manipulation transformer: DINOv2, a hand in 22 frames, pixel-aligned refinement, contact."""

import torch
from torch import Tensor

from manip_model.backbone import Backbone
from manip_model.config import ModelConfig
from manip_model.features import Features
from manip_model.hand_model import HandModel
from manip_model.pose_network import PoseNetwork
from manip_model.sigma_reparam import reparameterise_


class ManipulationTransformer(PoseNetwork):
    """Hand, objects and contact from one crop."""

    def __init__(self, config: ModelConfig, hand_model: HandModel):
        super().__init__(config, hand_model)
        self.backbone = Backbone(config)
        if config.sigma_reparam:
            # Pretrained layers must go on computing what they learnt; new ones start at one.
            reparameterise_(self.backbone.dino, keep_norm=self.backbone.pretrained)
            reparameterise_(self)

    def encode(self, image: Tensor) -> tuple[Features, Features]:
        """One backbone sees for all heads."""
        features = self.backbone(image)
        return features, features

    def settle(self, device: torch.device, dtype: torch.dtype) -> str:
        """See :meth:`PoseNetwork.settle`; the backbone has FlashAttention as well."""
        super().settle(device, dtype)
        self._said = self.backbone.choose(torch.device(device), dtype)
        return self._said
