"""A model and its losses as one module, from samples to what is minimised."""

import torch
from torch import Tensor, nn

from manip_model.outputs import ModelOutput
from manip_training.batch import Batch
from manip_training.config import TrainConfig
from manip_training.data.augment import augment
from manip_training.losses import compute_losses
from manip_training.parts import autocast


class Objective(nn.Module):
    """What is minimised.

    Where processes average gradients, they look at what a module returns to see which parameters
    will have none: that must be the loss and nothing else.

    Attributes:
        model: Of :class:`manip_training.parts.Parts`.
        seen: Predictions and truth of the last pass.
    """

    def __init__(self, model: nn.Module, config: TrainConfig):
        super().__init__()
        self.model, self.config = model, config
        self.seen: tuple[ModelOutput, Batch] | None = None

    def forward(self, batch: Batch, told: Tensor, draw: int) -> dict[str, Tensor]:
        """Losses by name; of ``"total"`` alone there are gradients.

        Args:
            batch: Samples as the data have them.
            told: ``(B,)`` of which samples the network is told the side, where it is known.
            draw: Numbers what is random about the augmentation.
        """
        return self.losses(self.augmented(batch, draw), told)

    def augmented(self, batch: Batch, draw: int) -> Batch:
        """Samples as the network gets to see them; ``draw`` as of :meth:`forward`."""
        config = self.config
        return augment(batch, config.augment, self.model.hand_model, config.train.seed, draw)

    def losses(self, batch: Batch, told: Tensor) -> dict[str, Tensor]:
        """As :meth:`forward`, of augmented samples; nothing is random, nor seen by the host."""
        config, model = self.config, self.model
        side = torch.where(batch["side_valid"], batch["side"], -1)
        with autocast(side.device, config.train.precision):
            output = model(batch["image"], batch["camera"], side, torch.where(told, side, -1))
        losses = compute_losses(output, batch, config.loss, model.sigma_gammas())
        self.seen = output.detach(), batch
        return {name: v if name == "total" else v.detach() for name, v in losses.items()}
