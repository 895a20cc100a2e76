"""What all networks share: how they are asked, mirrored left hands, and the sigma layers."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from manip_model.attention import Attention, choose_attention
from manip_model.camera import CropCamera
from manip_model.config import ModelConfig
from manip_model.hand_model import HandModel
from manip_model.mirror import LEFT, RIGHT, mirror_input, mirror_output, told_side
from manip_model.outputs import ModelOutput
from manip_model.precision import exactly
from manip_model.sigma_reparam import fold_, sigma_layers
from manip_model.spatial_prior import fold_norms_

# Where a network's own doubt starts: a standard deviation of 18 mm.
LOG_VARIANCE = -8.0


class HandNetwork(nn.Module):
    """From crops of hands to :class:`ModelOutput`; subclasses say how."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self._said = ""

    @property
    @abstractmethod
    def hand_model(self) -> HandModel:
        """The hand whose parameters are predicted."""

    @abstractmethod
    def see(
        self, image: Tensor, camera: CropCamera, side: Tensor | None, hint: Tensor
    ) -> ModelOutput:
        """As :meth:`forward`, of hands as they are."""

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
        dtype = torch.promote_types(next(self.parameters()).dtype, torch.float32)
        camera = CropCamera.of(camera, size, image.device, dtype)
        if hint is None:
            hint = side if side is not None else torch.full((size,), -1, device=image.device)
        if self.training and torch.is_grad_enabled():
            self.update_sigma()
        if not self.config.mirror_left:
            return self.see(image, camera, side, hint)
        told = told_side(side, hint)
        left = told == LEFT
        seen = self.see(*mirror_input(image, camera, left), *[torch.full_like(told, RIGHT)] * 2)
        with exactly(seen.joints):
            return mirror_output(seen, left, self.config.image_size)

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

    def fold_(self) -> "HandNetwork":
        """Fold reparameterisation and batch norms into plain weights, for inference."""
        return fold_norms_(fold_(self))
