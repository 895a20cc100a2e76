"""The contact head: where, how and how hard each part of the hand touches an object."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from manip_model.attention import Decoder
from manip_model.config import CONTACT_TYPES, NUM_CONTACTS, ModelConfig
from manip_model.hand_head import HandPrediction, output
from manip_model.hand_numbers import UNIT
from manip_model.object_head import ObjectPrediction
from manip_model.precision import exact, exactly

# Forces of everyday grasps are of the order of newtons.
_FORCE_UNIT = 5.0


@dataclass
class ContactPrediction:
    """Shapes and units of :class:`manip_model.outputs.ModelOutput`'s ``contact_…`` fields."""

    point: Tensor
    confidence_logits: Tensor
    type_logits: Tensor
    force_direction: Tensor
    force: Tensor
    map_logits: Tensor


class ContactHead(nn.Module):
    """One query for each of ten regions of the hand, looking at hand and objects.

    A region's place is that of its vertices in the predicted mesh, so a query only has to say how
    far from their middle the contact lies.
    """

    def __init__(self, config: ModelConfig, regions: Tensor):
        """Regions: ``(778,)`` the region of each vertex, 0 to 9."""
        super().__init__()
        width, points = config.width, config.frame_width
        member = F.one_hot(regions.long(), NUM_CONTACTS).float()
        # (10, 778): mean over a region's vertices.
        self.register_buffer("mean", (member / member.sum(0).clamp(min=1)).T.contiguous(), False)
        self.register_buffer("regions", regions.long(), persistent=False)
        self.queries = nn.Parameter(torch.randn(1, NUM_CONTACTS, width) * 0.5)
        self.region = nn.Linear(points, width)
        self.decoder = Decoder(width, config.decoder_heads, config.decoder_layers)
        self.offset = output(width, 3)
        self.confidence = output(width, 1)
        self.kind = output(width, len(CONTACT_TYPES))
        self.force = output(width, 4)
        self.vertex = nn.Linear(points, points)
        self.vertex_context = nn.Linear(width, points)
        self.vertex_out = output(points, 1)

    def forward(
        self,
        hand: HandPrediction,
        hand_points: Tensor,
        hand_tokens: Tensor,
        joint_tokens: Tensor,
        objects: ObjectPrediction,
    ) -> ContactPrediction:
        """Predict.

        Args:
            hand: Of the hand head.
            hand_points: ``(B, 778, P)`` features of the vertices.
            hand_tokens: ``(B, 22, D)`` of the hand in its local frames.
            joint_tokens: ``(B, 21, D)`` of the joints, refined or not.
            objects: Of the object head.
        """
        regional = self.mean.to(hand_points.dtype) @ hand_points
        queries = self.queries + self.region(regional)
        context = torch.cat((joint_tokens, hand_tokens, objects.tokens), dim=1)
        tokens = self.decoder(queries, context)
        force = exact(self.force(tokens))
        # Each vertex hears what its own region found.
        told = self.vertex_context(tokens)[:, self.regions]
        vertex = self.vertex_out(F.gelu(self.vertex(hand_points) + told))
        with exactly(force):
            middle = self.mean.to(hand.mesh.vertices.dtype) @ hand.mesh.vertices.detach()
        return ContactPrediction(
            point=middle + UNIT * exact(self.offset(tokens)),
            confidence_logits=exact(self.confidence(tokens))[..., 0],
            type_logits=exact(self.kind(tokens)),
            force_direction=F.normalize(force[..., :3], dim=-1),
            force=_FORCE_UNIT * F.softplus(force[..., 3]),
            map_logits=exact(vertex)[..., 0],
        )
