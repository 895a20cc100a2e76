"""What all networks share: how they are asked, mirrored left hands, and the sigma layers."""

from abc import abstractmethod
from collections.abc import Collection
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from manip_model.attention import Attention, choose_attention
from manip_model.camera import CropCamera
from manip_model.config import ModelConfig
from manip_model.hand_model import HandModel
from manip_model.mirror import LEFT, RIGHT, mirror_input, mirror_output, told_side
from manip_model.outputs import ModelOutput
from manip_model.precision import exactly
from manip_model.sigma_reparam import fold_, power_step, sigma_layers
from manip_model.spatial_prior import fold_norms_

# Where a network's own doubt starts: a standard deviation of 18 mm.
LOG_VARIANCE = -8.0


class HandNetwork(nn.Module):
    """From crops of hands to :class:`ModelOutput`; subclasses say how."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self._said = ""
        self._still: list[nn.Module] = []

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
        with self._sigmas_known():
            if not self.config.mirror_left:
                return self.see(image, camera, side, hint)
            told = told_side(side, hint)
            left = told == LEFT
            right = [torch.full_like(told, RIGHT)] * 2
            seen = self.see(*mirror_input(image, camera, left), *right)
            with exactly(seen.joints):
                return mirror_output(seen, left, self.config.image_size)

    def learn_only_(self, names: Collection[str]) -> None:
        """Let the parts of those names learn; all else stays as it is, norms' statistics too.

        Args:
            names: Of parts of the network, such as ``object_head``.

        Raises:
            ValueError: There is no such part; the message names those that there are.
        """
        parts = dict(self.named_children())
        if unknown := [name for name in names if name not in parts]:
            there = ", ".join(sorted(parts))
            raise ValueError(f"no part of the network is called {unknown[0]!r}; there are {there}")
        self._still = [part for name, part in parts.items() if name not in names]
        for part in self._still:
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "HandNetwork":
        """As every module's, but of what does not learn."""
        super().train(mode)
        for part in self._still:
            part.eval()
        return self

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

    @contextmanager
    def _sigmas_known(self):
        """Within, spectral norms are those of a step of power iteration taken here, in training."""
        moved = []
        if self.training and torch.is_grad_enabled():
            moved = [layer for layer in sigma_layers(self) if layer.weight.requires_grad]
        if moved:
            for layer, sigma in zip(moved, power_step(moved)[:, 0], strict=True):
                layer.known_sigma = sigma
        try:
            yield
        finally:
            # The weights change before they are used again.
            for layer in moved:
                layer.known_sigma = None

    def fold_(self) -> "HandNetwork":
        """Fold reparameterisation and batch norms into plain weights, for inference."""
        return fold_norms_(fold_(self))
