"""From a picture's features to a whole prediction: the part that both generations share."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from manip_model.attention import Decoder
from manip_model.camera import CropCamera
from manip_model.config import ModelConfig
from manip_model.contact_head import ContactHead
from manip_model.features import Features
from manip_model.hand_head import HandHead, output
from manip_model.hand_model import HandModel
from manip_model.hand_network import LOG_VARIANCE, HandNetwork
from manip_model.hand_regions import vertex_regions
from manip_model.local_frames import HandEncoder
from manip_model.object_head import ObjectHead
from manip_model.outputs import ModelOutput
from manip_model.precision import exact
from manip_model.refinement import Refinement, Upsampler
from manip_model.sigma_reparam import SigmaLinear
from manip_model.spatial_prior import Joined, SpatialPrior

# Of their usual strength, heads that go on from a good guess: some 5 mm instead of 25.
_QUIET = 0.2


class PoseNetwork(HandNetwork):
    """Heads on the features of :meth:`encode`; subclasses say where those come from."""

    def __init__(self, config: ModelConfig, hand_model: HandModel):
        super().__init__(config)
        regions = torch.as_tensor(vertex_regions(hand_model))
        self.hand_head = HandHead(config, hand_model)
        self.prior = SpatialPrior(config) if config.prior_width else None
        self.joined = Joined(self.prior, config.width) if self.prior else None
        self.hand_encoder = HandEncoder(
            config.frame_width, config.width, local=config.hand_frames == "local"
        )
        self.refinements = nn.ModuleList(Refinement(config) for _ in range(config.refine_steps))
        self.upsampler = Upsampler(config.width) if config.refine_steps else None
        self.object_head = ObjectHead(config)
        self.contact_head = ContactHead(config, regions)
        for module in self.modules():
            if isinstance(module, Decoder):
                module.checkpointing = config.checkpointing
        self.variance = output(config.width, 3)

    @property
    def hand_model(self) -> HandModel:
        """The hand whose parameters are predicted."""
        return self.hand_head.hand_model

    @abstractmethod
    def encode(self, image: Tensor) -> tuple[Features, Features]:
        """Features of ``(B, 3, S, S)`` pictures, for the hand and for the objects."""

    @torch.no_grad()
    def heed_prior_(self) -> None:
        """Let the heads that go on from the prior's guess say little at first.

        For a prior that has learnt already: noise of fresh heads would spoil what it sees.
        """
        head = self.hand_head
        layers = [head.rotation, head.all_rotations, head.offset, head.all_offsets, head.shape]
        layers += [head.place, head.side, head.keypoint_query]
        for layer in (*layers, *(refine.change for refine in self.refinements)):
            strength = layer.gamma if isinstance(layer, SigmaLinear) else layer.weight
            strength.mul_(_QUIET)

    def see(
        self, image: Tensor, camera: CropCamera, side: Tensor | None, hint: Tensor
    ) -> ModelOutput:
        """See the base class."""
        seen, seen_objects = self.encode(image)
        found, maps = None, []
        if self.prior:
            found = self.prior(image)
            together = seen_objects is seen
            seen = self.joined(seen, found)
            seen_objects = seen if together else self.joined(seen_objects, found)
            maps = [found.fine]
        hand = self.hand_head(seen, camera, side, hint, found)
        points, hand_tokens = self.hand_encoder(hand.mesh)
        joints, joint_tokens, refinements = hand.coarse_joints, hand.joint_tokens, []
        if self.refinements:
            maps = [self.upsampler(seen), *maps]
            for refine in self.refinements:
                joints, joint_tokens = refine(joints, joint_tokens, maps, hand_tokens, camera)
                refinements.append(joints)
        objects = self.object_head(seen_objects, hand, joints)
        contact = self.contact_head(hand, points, hand_tokens, joint_tokens, objects)
        return ModelOutput(
            **hand.outputs(),
            refinements=refinements,
            joints=joints,
            joints_log_variance=LOG_VARIANCE + 4 * exact(self.variance(joint_tokens)),
            object_class_logits=objects.class_logits,
            object_position=objects.position,
            object_rotation=objects.rotation,
            object_confidence_logits=objects.confidence_logits,
            contact_point=contact.point,
            contact_confidence_logits=contact.confidence_logits,
            contact_type_logits=contact.type_logits,
            contact_force_direction=contact.force_direction,
            contact_force=contact.force,
            contact_map_logits=contact.map_logits,
        )
