"""The spatial prior by itself: what a network without any transformer makes of a hand.

It exists to be compared with, and because it trains several times as fast: a transformer may start
from its weights.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from manip_core.hand_skeleton import NUM_KEYPOINTS
from manip_model.camera import CropCamera
from manip_model.config import CONTACT_TYPES, NUM_CONTACTS, NUM_OBJECT_QUERIES, ModelConfig
from manip_model.hand_head import output
from manip_model.hand_model import HandModel
from manip_model.hand_network import LOG_VARIANCE, HandNetwork
from manip_model.hand_numbers import hand_of
from manip_model.outputs import ModelOutput
from manip_model.precision import exact, exactly
from manip_model.spatial_prior import SpatialPrior

# Log-odds of objects and contacts, which it does not see.
_NOTHING = -10.0


class ConvolutionalNetwork(HandNetwork):
    """The prior's first guess as the answer; no objects, no contacts, no refinement."""

    def __init__(self, config: ModelConfig, hand_model: HandModel):
        super().__init__(config)
        self.prior = SpatialPrior(config)
        self.hand = hand_model
        self.variance = output(self.prior.gist_size, 3 * NUM_KEYPOINTS)

    @property
    def hand_model(self) -> HandModel:
        """See the base class."""
        return self.hand

    def see(
        self, image: Tensor, camera: CropCamera, side: Tensor | None, hint: Tensor
    ) -> ModelOutput:
        """See the base class; the hint is only heard through the mirror."""
        found = self.prior(image)
        with exactly(found.numbers.six):
            hand = hand_of(found.numbers, self.hand, camera, self.config.image_size, side)
        variance = exact(self.variance(found.gist)).unflatten(-1, (NUM_KEYPOINTS, 3))
        count, like = image.shape[0], hand.coarse_joints

        def rest(*shape: int, value: float = 0.0) -> Tensor:
            return like.new_full((count, *shape), value)

        forward = F.pad(rest(NUM_CONTACTS, 1, value=1.0), (2, 0))
        middle = like.detach().mean(1, keepdim=True)
        return ModelOutput(
            **hand.outputs(),
            refinements=[],
            joints=hand.coarse_joints,
            joints_log_variance=LOG_VARIANCE + 4 * variance,
            object_class_logits=rest(NUM_OBJECT_QUERIES, len(self.config.object_classes)),
            object_position=middle.expand(count, NUM_OBJECT_QUERIES, 3),
            object_rotation=torch.eye(3, device=like.device, dtype=like.dtype).expand(
                count, NUM_OBJECT_QUERIES, 3, 3
            ),
            object_confidence_logits=rest(NUM_OBJECT_QUERIES, value=_NOTHING),
            contact_point=middle.expand(count, NUM_CONTACTS, 3),
            contact_confidence_logits=rest(NUM_CONTACTS, value=_NOTHING),
            contact_type_logits=rest(NUM_CONTACTS, len(CONTACT_TYPES)),
            contact_force_direction=forward,
            contact_force=rest(NUM_CONTACTS),
            contact_map_logits=rest(778, value=_NOTHING),
        )
