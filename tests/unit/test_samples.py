"""Where batches come from: pieces of a data set or of an endless stream, at any resolution."""

import pytest
import torch

from manip_core.preprocessing import BOX_SCALE
from manip_model.backbone import at_resolution
from manip_model.build import build_model
from manip_model.camera import CropCamera
from manip_model.hand_model import HandModel
from manip_training.batch import resized
from manip_training.config import compose
from manip_training.random_batch import random_batch
from manip_training.samples import Piece, Samples, Stream
from micro_training import MICRO, Fixed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def hand():
    return HandModel.open()


class World:
    """Random but labelled samples; counts how often it was asked."""

    def __init__(self, hand):
        self._hand, self.asked = hand, []

    def batch(self, size, seed):
        self.asked.append((size, seed))
        return random_batch(size, self._hand, seed % 2**31)


def test_pieces_of_a_step_make_its_batch(hand):
    samples = Samples(Fixed(20, 0), hand, "random", "all", BOX_SCALE)
    for step in (0, 1, 5):
        whole = samples.piece(Piece(3, step, 8, 0, 1), CPU)
        pieces = [samples.piece(Piece(3, step, 8, n, 4), CPU) for n in range(4)]
        for name, value in whole.items():
            assert torch.equal(value, torch.cat([piece[name] for piece in pieces])), name


def test_an_epoch_shows_every_sample_once_and_the_next_in_another_order(hand):
    fixed = Fixed(20, 0)
    fixed.data["image"][:, 0, 0, 0] = torch.arange(20)
    samples = Samples(fixed, hand, "numbers", "all", BOX_SCALE)
    epochs = []
    for first in (0, 4):
        pieces = [samples.piece(Piece(0, first + n, 5, 0, 1), CPU) for n in range(4)]
        epochs.append(torch.cat([piece["image"][:, 0, 0, 0] for piece in pieces]).tolist())
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_a_stream_is_a_function_of_seed_step_and_number(hand):
    world = World(hand)
    stream = Stream(world, hand, epoch=100)
    first = stream.piece(Piece(1, 2, 8, 0, 2), CPU)
    again = Stream(World(hand), hand, epoch=100).piece(Piece(1, 2, 8, 0, 2), CPU)
    assert len(stream) == 100 and first["image"].shape[0] == 4
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (Piece(0, 2, 8, 0, 2), Piece(1, 3, 8, 0, 2), Piece(1, 2, 8, 1, 2)):
        stream.piece(other, CPU)
    assert len({seed for _, seed in world.asked}) == 4
    # Where there is no GPU nothing is made ahead.
    stream.prepare(Piece(1, 9, 8, 0, 2), CPU)
    assert len(world.asked) == 4


@pytest.mark.parametrize("size", (112, 168))
def test_a_smaller_picture_has_the_camera_that_sees_it(hand, size):
    batch = random_batch(6, hand, 0)
    small = resized(batch, size)
    assert small["image"].shape == (6, 3, size, size) and small["image"].dtype == torch.uint8
    projected = CropCamera(small["camera"]).project(batch["joints"])
    before = CropCamera(batch["camera"]).project(batch["joints"])
    moved = small["keypoints_px"] - batch["keypoints_px"] * (size / 224)
    assert torch.allclose(moved, torch.full_like(moved, 0.5 * size / 224 - 0.5), atol=1e-3)
    assert torch.allclose(projected - before * (size / 224), moved, atol=2e-2)


def test_a_smaller_picture_shows_the_same(hand):
    batch = random_batch(1, hand, 0)
    batch["image"][:] = 0
    batch["image"][:, :, 100:104, 60:64] = 200
    small = resized(batch, 112)["image"]
    assert (small[:, :, 50:52, 30:32] == 200).all() and int(small.sum()) == 3 * 4 * 200
    assert resized(batch, 224) is batch


def test_a_network_goes_on_with_larger_pictures(hand):
    words = [word for word in MICRO if word.startswith(("preset", "model"))]
    coarse, fine = (
        build_model(compose([*words, f"model.image_size={size}"]).model, hand).eval()
        for size in (112, 224)
    )
    weights = coarse.state_dict()
    fine.load_state_dict(at_resolution(weights, fine))
    name = "backbone.dino.embeddings.position_embeddings"
    grids = [model.state_dict()[name][0, 1:] for model in (coarse, fine)]
    assert grids[0].shape[0] == 4 and grids[1].shape[0] == 16
    # Resampled, not made anew: means stay, and the order along rows and columns.
    assert torch.allclose(grids[0].mean(0), grids[1].mean(0), atol=0.1)
    assert at_resolution(weights, coarse)[name] is weights[name]
    with torch.inference_mode():
        fine(torch.zeros(1, 3, 224, 224, dtype=torch.uint8), torch.tensor([[300.0, 300, 112, 112]]))
