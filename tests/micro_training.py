"""A network small enough to train within a second, and samples for it."""

import torch

from manip_core.preprocessing import BOX_SCALE
from manip_model.build import build_model
from manip_model.hand_model import HandModel
from manip_training.config import TrainConfig
from manip_training.parts import Parts
from manip_training.random_batch import random_batch
from manip_training.samples import Samples

# Words as of ``manip train``.
MICRO = [
    "preset=tiny",
    "model.patch_size=56",
    "model.hidden=32",
    "model.layers=2",
    "model.heads=2",
    "model.taps=[1,2]",
    "model.width=32",
    "model.decoder_layers=1",
    "model.decoder_heads=2",
    "model.frame_width=16",
    "model.refine_steps=1",
    "train.device=cpu",
    "train.batch=8",
    "train.steps=6",
    "optim.warmup=0",
    "optim.lr=3e-3",
    "run.log_every=1",
    "run.eval_every=4",
    "watch.every=5",
]


class Fixed:
    """Random but fixed samples, as a cache has them."""

    device = torch.device("cpu")

    def __init__(self, count: int, seed: int):
        self.data = random_batch(count, HandModel.open(), seed)

    def __len__(self):
        return len(self.data["image"])

    def batch(self, indices):
        return {name: value[indices] for name, value in self.data.items()}


def micro(config: TrainConfig, count: int = 20) -> Parts:
    """A very small network and a few samples."""
    hand = HandModel.open()
    torch.manual_seed(config.train.seed)
    training, validation = (
        Samples(Fixed(size, seed), hand, "random", "all", BOX_SCALE)
        for seed, size in enumerate((count, 4))
    )
    return Parts(build_model(config.model, hand), training, validation)
