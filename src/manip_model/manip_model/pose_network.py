"""From a picture's features to a whole prediction: the part that both generations share."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from manip_model.attention import Attention, Decoder, choose_attention
from manip_model.backbone import Features
from manip_model.camera import CropCamera
from manip_model.config import ModelConfig
from manip_model.contact_head import ContactHead
from manip_model.hand_head import HandHead, output
from manip_model.hand_model import HandModel
from manip_model.hand_regions import vertex_regions
from manip_model.local_frames import HandEncoder
from manip_model.mirror import LEFT, RIGHT, mirror_input, mirror_output, told_side
from manip_model.object_head import ObjectHead
from manip_model.outputs import ModelOutput
from manip_model.precision import exact, exactly
from manip_model.refinement import Refinement, Upsampler
from manip_model.sigma_reparam import fold_, sigma_layers

# Where the network's own doubt starts: a standard deviation of 18 mm.
_LOG_VARIANCE = -8.0


class PoseNetwork(nn.Module):
    """Heads on the features of :meth:`encode`; subclasses say where those come from."""

    def __init__(self, config: ModelConfig, hand_model: HandModel):
        super().__init__()
        self.config = config
        regions = torch.as_tensor(vertex_regions(hand_model))
        self.hand_head = HandHead(config, hand_model)
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
        self._said = ""

    @property
    def hand_model(self) -> HandModel:
        """The hand whose parameters are predicted."""
        return self.hand_head.hand_model

    @abstractmethod
    def encode(self, image: Tensor) -> tuple[Features, Features]:
        """Features of ``(B, 3, S, S)`` pictures, for the hand and for the objects."""

    def forward(
        self,
        image: Tensor,
        camera,
        side: Tensor | None = None,
        hint: Tensor | None = None,
    ) -> ModelOutput:
        """See hands.

        Args:
            image: ``(B, 3, S, S)`` RGB crops: uint8 of 0 to 255, or floating point of 0 to 1.
            camera: Of the crops, in any form that :meth:`CropCamera.of` takes.
            side: ``(B,)`` 0 left, 1 right, -1 unknown: whose mesh is built. None: the likelier.
            hint: ``(B,)`` what the network is told of it; None: ``side``. Training tells it only
                half the time, so that it learns to see the side and to believe it.

        Raises:
            ValueError: A picture or a camera of another form; the message says what came.
        """
        # Not len(): traced for any number of pictures, it would count those of the example.
        size = image.shape[0]
        dtype = torch.promote_types(self.hand_head.queries.dtype, torch.float32)
        camera = CropCamera.of(camera, size, image.device, dtype)
        if hint is None:
            hint = side if side is not None else torch.full((size,), -1, device=image.device)
        if self.training and torch.is_grad_enabled():
            self.update_sigma()
        if not self.config.mirror_left:
            return self._see(image, camera, side, hint)
        told = told_side(side, hint)
        left = told == LEFT
        seen = self._see(*mirror_input(image, camera, left), *[torch.full_like(told, RIGHT)] * 2)
        with exactly(seen.joints):
            return mirror_output(seen, left, self.config.image_size)

    def _see(
        self, image: Tensor, camera: CropCamera, side: Tensor | None, hint: Tensor
    ) -> ModelOutput:
        """As :meth:`forward`, of hands as they are."""
        seen, seen_objects = self.encode(image)
        hand = self.hand_head(seen, camera, side, hint)
        points, hand_tokens = self.hand_encoder(hand.mesh)
        joints, joint_tokens, refinements = hand.coarse_joints, hand.joint_tokens, []
        if self.refinements:
            fine = self.upsampler(seen)
            for refine in self.refinements:
                joints, joint_tokens = refine(joints, joint_tokens, fine, hand_tokens, camera)
                refinements.append(joints)
        objects = self.object_head(seen_objects, hand, joints)
        contact = self.contact_head(hand, points, hand_tokens, joint_tokens, objects)
        return ModelOutput(
            side_logits=hand.side_logits,
            side=hand.side,
            mano_rotations=hand.mano_rotations,
            mano_pose=hand.mano_pose,
            mano_shape=hand.mano_shape,
            translation=hand.translation,
            vertices=hand.mesh.vertices,
            mano_joints=hand.mesh.joints,
            coarse_joints=hand.coarse_joints,
            refinements=refinements,
            joints=joints,
            joints_log_variance=_LOG_VARIANCE + 4 * exact(self.variance(joint_tokens)),
            keypoints_px=hand.keypoints_px,
            keypoint_logits=hand.keypoint_logits,
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

    def settle(self, device: torch.device, dtype: torch.dtype) -> str:
        """Choose the attention implementation for where the model runs; returns what was chosen.

        Args:
            device: Where it runs.
            dtype: In which it computes, autocast included.
        """
        kind, self._said = choose_attention(self.config.attention, torch.device(device), dtype)
        own = "eager" if kind == "eager" else "sdpa"
        for module in self.modules():
            if isinstance(module, Attention):
                module.kind = own
        return self._said

    def attention_summary(self) -> str:
        """What :meth:`settle` chose, in words."""
        return self._said or "attention: not settled yet"

    def sigma_gammas(self) -> list[Tensor]:
        """The learnable spectral norms."""
        return [layer.gamma for layer in sigma_layers(self) if layer.gamma.requires_grad]

    def update_sigma(self) -> None:
        """One step of power iteration in every layer that learns; training's forward does it."""
        for layer in sigma_layers(self):
            if layer.weight.requires_grad:
                layer.update()

    def fold_(self) -> "PoseNetwork":
        """Fold the reparameterisation into plain weights, for inference."""
        return fold_(self)
