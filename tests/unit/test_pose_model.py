"""The whole network on the tiny preset: shapes, precision, switches, and what it must not see."""

import inspect
import logging

import pytest
import torch

from manip_model.build import build_model
from manip_model.config import ModelConfig, preset
from manip_model.features import sample_features
from manip_model.hand_model import load_hand_model
from manip_model.outputs import ModelOutput
from manip_model.rotations import matrix_from_rotvec
from manip_model.sigma_reparam import SigmaLinear

CAMERA = torch.tensor([300.0, 300.0, 112.0, 112.0])


@pytest.fixture(scope="module")
def hand_model():
    return load_hand_model()


@pytest.fixture(scope="module")
def model(hand_model):
    torch.manual_seed(0)
    return build_model(preset("tiny"), hand_model).eval()


@pytest.fixture(scope="module")
def image():
    return torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)


def make(hand_model, **changes):
    torch.manual_seed(0)
    return build_model(preset("tiny", **changes), hand_model).eval()


def compare(a: ModelOutput, b: ModelOutput, **tolerance):
    for (name, x), y in zip(a.tensors().items(), b.tensors().values(), strict=True):
        assert torch.allclose(x.float(), y.float(), **tolerance), (
            f"{name}: {(x.float() - y.float()).abs().max()}"
        )


@pytest.mark.parametrize(
    ("generation", "cells"), [("transformer", 56), ("first_generation", 8), ("convolutional", 56)]
)
@torch.no_grad()
def test_shapes_are_as_documented(hand_model, image, generation, cells):
    out = make(hand_model, generation=generation)(image, CAMERA)
    shapes = {
        **{"side_logits": (2,), "side": (), "mano_rotations": (16, 3, 3), "mano_pose": (48,)},
        **{"mano_shape": (10,), "translation": (3,), "vertices": (778, 3), "mano_joints": (21, 3)},
        **{"coarse_joints": (21, 3), "joints": (21, 3), "joints_log_variance": (21, 3)},
        **{
            "keypoints_px": (21, 2),
            "keypoint_logits": (21, cells**2),
            "object_class_logits": (10, 21),
        },
        **{"object_position": (10, 3), "object_rotation": (10, 3, 3)},
        **{"object_confidence_logits": (10,), "contact_point": (10, 3)},
        **{"contact_confidence_logits": (10,), "contact_type_logits": (10, 4)},
        **{"contact_force_direction": (10, 3), "contact_force": (10,)},
        "contact_map_logits": (778,),
    }
    for name, shape in shapes.items():
        value = getattr(out, name)
        assert tuple(value.shape) == (3, *shape), name
        assert value.dtype == (torch.int64 if name == "side" else torch.float32), name
    assert len(out.refinements) == (2 if generation == "transformer" else 0)
    assert (out.contact_force >= 0).all()
    norms = out.contact_force_direction.norm(dim=-1)
    assert torch.allclose(norms, torch.ones_like(norms), atol=1e-5)


@torch.no_grad()
def test_the_parts_of_an_output_agree(model, image, hand_model):
    side = torch.tensor([0, 1, 1])
    out = model(image, CAMERA, side)
    assert torch.equal(out.side, side)
    mesh = hand_model(out.mano_rotations, out.mano_shape, out.translation, side)
    assert torch.allclose(mesh.vertices, out.vertices, atol=1e-6)
    assert torch.allclose(mesh.joints, out.mano_joints, atol=1e-6)
    again = matrix_from_rotvec(out.mano_pose.view(3, 16, 3))
    assert torch.allclose(again, out.mano_rotations, atol=1e-5)
    assert torch.equal(out.joints, out.refinements[-1])
    # The wrist of mesh and coarse joints is one prediction.
    assert torch.allclose(out.coarse_joints[:, 0], out.mano_joints[:, 0], atol=0.06)


@torch.no_grad()
def test_an_unknown_side_is_the_likelier_one(model, image):
    out = model(image, CAMERA)
    assert torch.equal(out.side, out.side_logits.argmax(-1))
    mixed = model(image, CAMERA, torch.tensor([-1, 0, -1]))
    assert mixed.side[1] == 0


@torch.no_grad()
def test_a_hint_is_heard_and_does_not_decide(model, image):
    side = torch.ones(3, dtype=torch.int64)
    told = model(image, CAMERA, side, hint=side)
    untold = model(image, CAMERA, side, hint=torch.full((3,), -1))
    assert torch.equal(told.side, untold.side)
    assert not torch.allclose(told.joints, untold.joints)


def test_it_sees_pictures_and_cameras_alone(model):
    """No label has a way in."""
    parameters = set(inspect.signature(model.forward).parameters)
    assert parameters == {"image", "camera", "side", "hint"}


def test_the_local_frames_are_of_the_predicted_mesh(hand_model, image):
    model = make(hand_model)
    seen = []
    model.hand_encoder.register_forward_hook(lambda _m, args, _out: seen.append(args[0]))
    out = model(image, CAMERA)
    assert torch.equal(seen[0].vertices, out.vertices)
    # What refinement learns of the mesh reaches the head that predicted it.
    out.joints.sum().backward()
    assert model.hand_head.rotation.weight.grad.abs().max() > 0


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_images_of_any_usual_dtype(model, image, dtype):
    expected = model(image, CAMERA)
    given = (image.float() / 255).to(dtype)
    exact = dtype == torch.float32
    compare(
        model(given, CAMERA), expected, atol=1e-5 if exact else 0.02, rtol=1e-4 if exact else 0.05
    )


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (torch.zeros(1, 3, 256, 256), r"must be \(B, 3, 224, 224\), got \(1, 3, 256, 256\)"),
        (torch.zeros(1, 224, 224, 3), r"got \(1, 224, 224, 3\)"),
        (torch.zeros(3, 224, 224), r"got \(3, 224, 224\)"),
        (torch.zeros(1, 3, 224, 224, dtype=torch.int32), "uint8 of 0 to 255 or floating point"),
    ],
)
def test_other_images_are_refused_in_words(model, bad, said):
    with pytest.raises(ValueError, match=said):
        model(bad, CAMERA)


@torch.no_grad()
def test_fused_and_eager_attention_agree(hand_model, image):
    fused, eager = make(hand_model), make(hand_model, attention="eager")
    assert "sdpa" in fused.settle("cpu", torch.float32)
    assert eager.settle("cpu", torch.float32) == "attention: eager"
    compare(fused(image, CAMERA), eager(image, CAMERA), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_folded_and_unfolded_agree(hand_model, image):
    model = make(hand_model)
    before = model(image, CAMERA)
    model.fold_()
    assert not any(isinstance(m, SigmaLinear) for m in model.modules())
    compare(model(image, CAMERA), before, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_half_precision_agrees_within_its_steps(model, image):
    exact = model(image, CAMERA)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(image, CAMERA)
        # A bfloat16 has eight bits: 4 mm of a metre.
        assert (half.joints - exact.joints).norm(dim=-1).max() < 4e-3
    assert (half.vertices - exact.vertices).norm(dim=-1).max() < 4e-3
    assert (half.keypoints_px - exact.keypoints_px).abs().max() < 0.5


def test_every_linear_is_reparameterised_but_embeddings_and_the_prior(hand_model):
    model = make(hand_model)
    plain = [n for n, m in model.named_modules() if type(m) is torch.nn.Linear]
    assert plain and all("embedding" in name or name.startswith("prior.") for name in plain)
    without = make(hand_model, sigma_reparam=False)
    assert not without.sigma_gammas()


def test_training_moves_power_iteration_once_and_evaluation_never(hand_model, image):
    model = make(hand_model)
    layer = model.object_head.decoder.layers[0].cross_attention.query
    before = layer.v.clone()
    model(image, CAMERA)
    with torch.no_grad():
        model.train()(image, CAMERA)
    assert torch.equal(layer.v, before)
    model(image, CAMERA)
    after = layer.v.clone()
    layer.v.copy_(before)
    layer.update()
    assert torch.equal(layer.v, after) and not torch.equal(after, before)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_weight_learns(hand_model, image, checkpointing):
    model = make(hand_model, checkpointing=checkpointing).train()
    out = model(image, CAMERA, torch.tensor([0, 1, 1]))
    sum(v.square().sum() for k, v in out.tensors().items() if k != "side").backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # Embeddings of sides that were not given have nothing to learn from.
    assert idle == []


def test_checkpointing_changes_no_gradient(hand_model, image):
    grads = []
    for checkpointing in (False, True):
        model = make(hand_model, checkpointing=checkpointing).train()
        model(image, CAMERA).joints.square().sum().backward()
        grads.append(model.backbone.dino.encoder.layer[0].mlp.fc1.weight.grad)
    assert torch.allclose(*grads, atol=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 3])
@torch.no_grad()
def test_refinement_steps(hand_model, image, steps):
    out = make(hand_model, refine_steps=steps)(image, CAMERA)
    assert len(out.refinements) == steps
    if not steps:
        assert torch.equal(out.joints, out.coarse_joints)


def test_features_are_sampled_where_the_pixels_are():
    # A map that holds its own coordinates: 16 cells of 14 px.
    centres = torch.arange(16) * 14 + 6.5
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    pixels = torch.tensor([[[6.5, 6.5], [100.0, 37.0], [216.5, 216.5], [150.25, 80.75]]])
    got = sample_features(torch.stack((u, v))[None], pixels, 224)
    assert torch.allclose(got, pixels, atol=1e-3)
    beyond = sample_features(torch.stack((u, v))[None], torch.tensor([[[-50.0, 500.0]]]), 224)
    assert torch.allclose(beyond, torch.tensor([[[6.5, 216.5]]]))


def test_a_place_that_is_no_number_is_survived():
    """In the backward pass too, where it once read beyond the map."""
    features = torch.randn(1, 4, 16, 16, requires_grad=True)
    pixels = torch.tensor([[[float("nan"), 3.0], [1e30, float("-inf")], [5.0, 5.0]]])
    pixels.requires_grad_()
    sample_features(features, pixels, 224).sum().backward()
    assert torch.isfinite(features.grad).all()


@torch.no_grad()
def test_nearer_cameras_move_the_hand_and_not_its_shape(model, image):
    """Twice the focal length: the same crop is of a hand twice as far away."""
    near, far = model(image, CAMERA), model(image, CAMERA * torch.tensor([2.0, 2.0, 1.0, 1.0]))
    ratio = far.translation[:, 2] / near.translation[:, 2]
    assert (ratio > 1.6).all() and (ratio < 2.4).all()


@torch.no_grad()
def test_without_positions_the_first_generation_sees_a_bag_of_patches(hand_model, image):
    shuffled = image.clone()
    patches = shuffled.unfold(2, 28, 28).unfold(3, 28, 28)
    order = torch.randperm(64)
    mixed = patches.reshape(3, 3, 64, 28, 28)[:, :, order].reshape(3, 3, 8, 8, 28, 28)
    mixed = mixed.permute(0, 1, 2, 4, 3, 5).reshape(3, 3, 224, 224)
    for positions in (False, True):
        model = make(hand_model, generation="first_generation", position_embedding=positions)
        a, b = model(image, CAMERA), model(mixed, CAMERA)
        change = (a.joints - b.joints).norm(dim=-1).mean() / (a.joints[0] - a.joints[1]).norm(
            dim=-1
        ).mean()
        assert (change > 0.01) == positions


def test_pretrained_weights_from_a_local_folder(hand_model, image, tmp_path, caplog):
    model = make(hand_model)
    dino = make(hand_model, sigma_reparam=False).backbone.dino
    dino.layernorm = torch.nn.LayerNorm(96)
    dino.embeddings.mask_token = torch.nn.Parameter(torch.zeros(1, 96))
    dino.save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO):
        model = make(hand_model, pretrained=str(tmp_path), sigma_reparam=True)
    assert model.backbone.frozen == 2
    loaded = model.backbone.dino.encoder.layer[1].mlp.fc1
    assert torch.equal(loaded.weight, dino.encoder.layer[1].mlp.fc1.weight)
    # Reparameterised, it computes what the pretrained one did.
    assert torch.allclose(loaded.effective_weight(), loaded.weight, atol=1e-6)
    model.train()(image, CAMERA).joints.sum().backward()
    layers = model.backbone.dino.encoder.layer
    assert loaded.weight.grad is None and layers[2].mlp.fc1.weight.grad is not None


@torch.no_grad()
def test_positions_of_larger_pictures_are_resampled_once(hand_model, image, tmp_path):
    big = make(hand_model, image_size=448, sigma_reparam=False).backbone.dino
    big.save_pretrained(tmp_path)
    model = make(hand_model, pretrained=str(tmp_path), sigma_reparam=False).backbone
    positions = model.dino.embeddings.position_embeddings
    assert positions.shape == (1, 65, 96)
    # A plain halving of a smooth map: each patch has the mean of the four it covers, about.
    fine = big.embeddings.position_embeddings[0, 1:].view(8, 2, 8, 2, 96).mean((1, 3))
    inner = (positions[0, 1:].view(8, 8, 96) - fine)[1:-1, 1:-1]
    assert inner.abs().mean() < 0.1 * fine.abs().mean()
    assert model(image).tokens.shape == (3, 64, 96)


def test_missing_and_mismatched_weights_are_named(hand_model, tmp_path):
    with pytest.raises(FileNotFoundError, match="no DINOv2 weights at"):
        make(hand_model, pretrained=str(tmp_path / "nowhere"))
    dino = make(hand_model, sigma_reparam=False).backbone.dino
    dino.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="have layers 4, the model wants 5"):
        make(hand_model, pretrained=str(tmp_path), layers=5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"taps": (2, 1)}, "rising"),
        ({"taps": (1, 9)}, "within 1 and 4"),
        ({"heads": 5}, "hidden must be a multiple of heads, got 96 and 5"),
        ({"patch_size": 15}, "multiple of patch_size"),
        ({"refine_steps": -1}, "0 or more"),
        ({"generation": "third"}, "transformer, first_generation"),
    ],
)
def test_unsound_configs_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        preset("tiny", **changes)


def test_a_config_survives_the_way_through_plain_values():
    config = preset("large", refine_steps=1)
    assert ModelConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match="unknown model settings"):
        ModelConfig.from_dict({**config.to_dict(), "depth": 3})
