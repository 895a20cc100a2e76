"""The object head: a fixed set of queries, each an object or none (DETR, Carion et al. 2020)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manip_model.attention import Decoder
from manip_model.config import NUM_OBJECT_QUERIES, ModelConfig
from manip_model.features import Features
from manip_model.hand_head import HandPrediction, output
from manip_model.hand_numbers import UNIT
from manip_model.precision import exact, exactly
from manip_model.rotations import matrix_from_6d, none_in_6d

# Objects start at the middle of the grasp of a hand.
_REACH = UNIT


@dataclass
class ObjectPrediction:
    """Shapes and units of :class:`manip_model.outputs.ModelOutput`'s ``object_…`` fields."""

    class_logits: Tensor
    position: Tensor
    rotation: Tensor
    confidence_logits: Tensor
    tokens: Tensor


class ObjectHead(nn.Module):
    """Ten queries that look at the picture and at the hand."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width = config.width
        self.queries = nn.Parameter(torch.randn(1, NUM_OBJECT_QUERIES, width) * 0.5)
        self.decoder = Decoder(width, config.decoder_heads, config.decoder_layers)
        self.classes = output(width, len(config.object_classes))
        self.confidence = output(width, 1)
        self.offset = output(width, 3)
        self.rotation = output(width, 6)

    def forward(self, features: Features, hand: HandPrediction, joints: Tensor) -> ObjectPrediction:
        """Predict from features, the hand's tokens, and its ``(B, 21, 3)`` joints in [m].

        Places are relative to the middle of the hand's joints: what the hand's depth is wrong by,
        the object's is too. No gradient goes back that way.
        """
        context = torch.cat((features.tokens, features.summary[:, None], hand.tokens), dim=1)
        tokens = self.decoder(self.queries + features.summary[:, None], context)
        six = exact(self.rotation(tokens))
        with exactly(six):
            rotation = matrix_from_6d(six + none_in_6d(six))
        return ObjectPrediction(
            class_logits=exact(self.classes(tokens)),
            position=joints.detach().mean(1, keepdim=True) + _REACH * exact(self.offset(tokens)),
            rotation=rotation,
            confidence_logits=exact(self.confidence(tokens))[..., 0],
            tokens=tokens,
        )
