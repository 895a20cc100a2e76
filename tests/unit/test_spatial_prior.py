"""Convolutions beside the transformer: their features, their first guess, and how they ship."""

import pytest

torch = pytest.importorskip("torch")

from manip_model.build import build_model  # noqa: E402
from manip_model.config import preset  # noqa: E402
from manip_model.features import cell_shares  # noqa: E402
from manip_model.hand_model import HandModel  # noqa: E402
from manip_model.shipped import _with_norms  # noqa: E402
from manip_model.spatial_prior import ConvNorm, SpatialPrior, fine_grid, unfolded  # noqa: E402

CONFIG = preset("tiny", image_size=112)
CAMERA = torch.tensor([300.0, 300.0, 55.5, 55.5])


def seen(count, size=112, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, size, size, generator=draw)


def used(module):
    """Batch norms that have seen something."""
    module.train()
    with torch.no_grad():
        for seed in range(30):
            module(seen(4, seed=seed))
    return module.eval()


def test_shares_average_over_areas():
    image = torch.rand(12, 12)
    thirds, same = cell_shares(3, 12), cell_shares(12, 12)
    assert torch.allclose(same, torch.eye(12), atol=1e-6)
    pooled = torch.nn.functional.avg_pool2d(image[None, None], 4)[0, 0]
    assert torch.allclose(thirds @ image @ thirds.T, pooled, atol=1e-6)
    uneven = cell_shares(7, 5)
    assert torch.allclose(uneven.sum(1), torch.ones(7))
    # The same from either end.
    assert torch.allclose(uneven.flip(0, 1), uneven, atol=1e-6)


@pytest.mark.parametrize("size", [112, 224, 56])
def test_features_cover_the_picture(size):
    config = preset("tiny", image_size=size)
    found = SpatialPrior(config)(seen(2, size))
    cells = fine_grid(config)
    assert cells == size // 4
    assert found.fine.shape[-2:] == (cells, cells)
    assert found.tokens.shape[1] == config.grid**2
    assert found.numbers.heat.shape == (2, 21, cells**2)


def test_what_is_seen_lies_where_it_is():
    """A spot in the picture changes the tokens and cells at its place, and few elsewhere."""
    torch.manual_seed(0)
    prior = used(SpatialPrior(CONFIG))
    plain = torch.full((1, 3, 112, 112), 0.5)
    spot = plain.clone()
    spot[..., 88:96, 16:24] = 1.0
    with torch.no_grad():
        apart = (prior(spot).fine - prior(plain).fine).abs().sum(1)[0]
    row, column = divmod(int(apart.argmax()), 28)
    assert abs(row - 22.5) <= 2 and abs(column - 4.5) <= 2


def test_the_first_guess_is_the_start_of_the_transformer():
    torch.manual_seed(0)
    model = build_model(CONFIG, HandModel.open()).eval()
    alone = build_model(
        preset("tiny", image_size=112, generation="convolutional"), HandModel.open()
    )
    with torch.no_grad():
        model.prior.guess.bias.normal_(std=0.5)
    alone.prior.load_state_dict(model.prior.state_dict())
    side = torch.ones(2, dtype=torch.int64)
    with torch.no_grad():
        # Heads that say nothing leave the guess as it is.
        for layer in (*_last_layers(model.hand_head), model.hand_head.keypoint_query):
            layer.bias.zero_()
            layer.weight.zero_()
            if hasattr(layer, "gamma"):
                layer.gamma.zero_()
        whole, guess = (one.eval()(seen(2), CAMERA, side) for one in (model, alone))
    for name in ("coarse_joints", "mano_joints", "keypoints_px", "side_logits", "translation"):
        assert torch.allclose(getattr(whole, name), getattr(guess, name), atol=1e-5), name


@pytest.mark.parametrize("sigma", [False, True])
def test_a_network_that_heeds_the_prior_starts_close_to_it(sigma):
    apart = []
    for heeding in (False, True):
        torch.manual_seed(0)
        config = preset("tiny", image_size=112, sigma_reparam=sigma)
        model = build_model(config, HandModel.open()).eval()
        if heeding:
            model.heed_prior_()
        with torch.no_grad():
            guess = 0.1 * model.prior(seen(2)).numbers.offset
            joints = model(seen(2), CAMERA).joints
        # Places relative to the wrist, of which the guess is one.
        apart.append(((joints - joints[:, :1]) - (guess - guess[:, :1])).norm(dim=-1).mean())
    assert apart[1] < 0.35 * apart[0]


def _last_layers(head):
    return (
        *(head.rotation, head.all_rotations, head.all_offsets),
        *(head.shape, head.place, head.side, head.offset),
    )


def test_folded_norms_compute_the_same_and_come_back():
    torch.manual_seed(0)
    model = build_model(CONFIG, HandModel.open())
    used(model.prior)
    with torch.no_grad():
        before = model(seen(2), CAMERA)
        count = sum(type(m) is ConvNorm for m in model.modules())
        folded = model.fold_()
        after = folded(seen(2), CAMERA)
    assert count == 15 and not any(type(m) is ConvNorm for m in folded.modules())
    assert torch.allclose(before.joints, after.joints, atol=1e-5)
    prior = {f"prior.{k}": v for k, v in folded.prior.state_dict().items()}
    again = SpatialPrior(CONFIG).eval()
    again.load_state_dict({k.removeprefix("prior."): v for k, v in _with_norms(prior).items()})
    with torch.no_grad():
        assert torch.allclose(again(seen(2)).fine, folded.prior(seen(2)).fine, atol=1e-4)


def test_an_unfolded_layer_is_the_plain_one():
    layer = ConvNorm(3, 8)
    weight, bias = torch.randn(8, 3, 3, 3), torch.randn(8)
    layer.load_state_dict(unfolded(weight, bias))
    x = seen(1)
    expected = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    assert torch.allclose(layer.eval()(x), expected, atol=1e-5)


def test_one_picture_is_seen_as_among_many():
    torch.manual_seed(0)
    prior = used(SpatialPrior(CONFIG))
    with torch.no_grad():
        many, one = prior(seen(5)), prior(seen(5)[2:3])
    assert torch.allclose(many.gist[2:3], one.gist, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior_width": 12}, "multiple of 8, got 12"),
        ({"prior_width": -8}, "multiple of 8, got -8"),
        ({"generation": "convolutional", "prior_width": 0}, "needs a prior_width"),
    ],
)
def test_unsound_sizes_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        preset("tiny", **changes)
