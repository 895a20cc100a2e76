"""One step under the magnifying glass: what it finds, and that it changes nothing."""

import pytest
import torch

from manip_model.build import build_model
from manip_model.config import preset
from manip_model.hand_model import load_hand_model
from manip_training.batch import check
from manip_training.debug import parts_of, profile_step
from manip_training.random_batch import random_batch


@pytest.fixture(scope="module")
def hand_model():
    return load_hand_model()


@pytest.fixture(scope="module")
def batch(hand_model):
    return random_batch(2, hand_model)


@pytest.fixture
def model(hand_model):
    torch.manual_seed(0)
    return build_model(preset("tiny"), hand_model)


def loss(output, batch):
    joints = (output.joints - batch["joints"]).square().mean()
    pixels = (output.keypoints_px - batch["keypoints_px"]).square().mean()
    return {"joints": joints, "pixels": pixels, "total": joints + pixels}


def test_random_batches_are_sound_and_repeatable(hand_model, batch):
    check(batch)
    again = random_batch(2, hand_model)
    assert all(torch.equal(value, again[name]) for name, value in batch.items())
    assert not torch.equal(random_batch(2, hand_model, seed=1)["joints"], batch["joints"])
    mesh = hand_model.wrist(batch["mano_shape"], batch["side"]) + batch["mano_translation"]
    assert torch.allclose(mesh, batch["joints"][:, 0], atol=1e-5)


def test_every_weight_belongs_to_one_part_or_to_the_rest(model):
    owned = [id(p) for part in parts_of(model).values() for p in part.parameters()]
    assert len(owned) == len(set(owned))
    loose = {n for n, p in model.named_parameters() if id(p) not in set(owned)}
    assert all(n.endswith("queries") for n in loose), loose


def test_a_profile_counts_time_memory_and_weights(model, batch):
    profile = profile_step(model, batch, loss)
    parts = {part.name: part for part in profile.modules}
    layer = parts["backbone.dino.encoder.layer.1"]
    weights = model.backbone.dino.encoder.layer[1].parameters()
    assert layer.parameters == sum(p.numel() for p in weights)
    assert layer.forward > 0 and layer.backward > 0 and layer.gradient > 0
    # 2 x 65 tokens, 4 x 96 wide between the two layers: this at least is kept, in four bytes.
    assert layer.activations > 2 * 65 * 4 * 96 * 4
    assert layer.activations < 20 * 2 * 65 * 4 * 96 * 4
    assert layer.units == 384 and layer.dead < 20
    assert profile.losses["total"] > 0
    assert profile.origin == profile.gradient_origin == ""
    assert "backbone.fuse" in profile.table()


def test_memory_shrinks_with_checkpointing(hand_model, batch):
    kept = []
    for checkpointing in (False, True):
        model = build_model(preset("tiny", checkpointing=checkpointing, prior_width=0), hand_model)
        kept.append(sum(part.activations for part in profile_step(model, batch, loss).modules))
    assert kept[1] < 0.6 * kept[0]


def test_it_leaves_the_model_as_it_was(model, batch):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    profile_step(model, batch, loss)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert not model.hand_head._forward_hooks


@pytest.mark.parametrize("where", ["hand_head.decoder.layers.0.mlp.0", "backbone.fuse"])
def test_the_origin_of_a_nan_is_named(model, batch, where):
    model.get_submodule(where).bias.data[0] = float("nan")
    profile = profile_step(model, batch, loss)
    assert profile.origin == where
    assert f"not finite first in: {where}" in profile.table()


def test_the_origin_of_a_gradient_that_is_none_is_named(model, batch):
    def rooted(output, batch):
        # The derivative of a root at zero.
        return {"total": (output.joints_log_variance * 0).abs().sqrt().sum()}

    origin = profile_step(model, batch, rooted).gradient_origin
    assert origin in ("variance.weight", "variance.bias")


def test_dead_units_are_counted(model, batch):
    hidden = model.object_head.decoder.layers[0].mlp[0]
    hidden.bias.data[:40] = -1e3
    profile = profile_step(model, batch, loss)
    parts = {part.name: part for part in profile.modules}
    assert parts["object_head.decoder.layers.0"].dead >= 40
