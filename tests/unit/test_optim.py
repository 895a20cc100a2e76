"""The loop's tools: optimiser, averaged weights, size of a batch, compiled layers."""

import itertools

import pytest
import torch
from torch import nn

from manip_model.attention import Decoder
from manip_training import batch_size, optim, parts
from manip_training.config import OptimConfig, compose
from manip_training.distributed import layers_of
from micro_training import MICRO, micro


def test_layers_of_every_stack_are_found():
    model = micro(compose(MICRO)).model
    found = {type(layer).__name__ for layer in layers_of(model)}
    assert {"Dinov2Layer"} < found
    assert sum(type(layer).__name__ == "Dinov2Layer" for layer in layers_of(model)) == 2


def test_matrices_alone_decay_and_a_pretrained_backbone_is_slow():
    model, config = micro(compose(MICRO)).model, OptimConfig(lr=1.0)
    groups = {g["name"]: g for g in optim.parameter_groups(model, config, pretrained=True)}
    assert {name: g["lr"] for name, g in groups.items()} == {
        "heads": 1.0,
        "heads_decay": 1.0,
        "backbone": 0.1,
        "backbone_decay": 0.1,
    }
    given = optim.parameter_groups(model, OptimConfig(backbone_factor=0.5), pretrained=False)
    assert {g["lr"] / 5e-4 for g in given if g["name"].startswith("backbone")} == {0.5}
    names = {id(p): name for name, p in model.named_parameters()}
    free = [names[id(p)] for g in groups.values() if not g["weight_decay"] for p in g["params"]]
    for part in ("norm1.weight", "gamma", "bias", "cls_token", "position_embeddings", "queries"):
        assert any(name.endswith(part) for name in free), part
    assert any("side_embedding" in name for name in free)
    held = sum(len(g["params"]) for g in groups.values())
    assert held == sum(p.requires_grad for p in model.parameters())
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="all are frozen"):
        optim.parameter_groups(model, config, pretrained=False)


def test_the_rate_rises_then_falls_to_its_floor():
    config = OptimConfig(warmup=0.1, floor=0.05)
    rates = [optim.rate_factor(step, 100, config) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(rates) == 1.0 and rates.index(1.0) in (9, 10)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0.05)


def test_the_average_follows_and_gives_the_weights_back():
    model = nn.Linear(3, 2)
    ema = optim.Ema(model, 0.5)
    start = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1
    ema.updates = 1000
    ema.update()
    with ema.applied():
        torch.testing.assert_close(model.weight.detach(), start + 0.5)
    torch.testing.assert_close(model.weight.detach(), start + 1)


def test_gradients_are_shrunk_to_the_limit_and_no_further():
    model = nn.Linear(4, 4)
    for limit, expected in ((0.5, 0.5), (1e9, None), (0.0, None)):
        model.zero_grad()
        model(torch.ones(1, 4)).sum().backward()
        parameters = list(model.parameters())
        norm = optim.global_norm(parameters).item()
        optim.scale_gradients(parameters, norm, limit)
        assert optim.global_norm(parameters).item() == pytest.approx(expected or norm)


def test_the_largest_batch_that_fits_is_a_multiple_of_eight():
    assert batch_size.largest(10.0, 100.0, 1000.0, 1000) == 88
    assert batch_size.largest(10.0, 100.0, 1000.0, 50) == 48
    with pytest.raises(ValueError, match="not even 8 samples fit"):
        batch_size.largest(10.0, 100.0, 170.0, 1000)


def test_activations_are_measured_and_nothing_is_disturbed(monkeypatch):
    model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 1), nn.BatchNorm1d(1))
    before, chance = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()

    def loss(size):
        return model(torch.rand(size, 64)).square().mean()

    # Per sample: the input, what GELU and the second layer saw, and a few single numbers.
    grows = batch_size.saved_bytes(model, loss, 9) - batch_size.saved_bytes(model, loss, 5)
    assert 4 * 4 * (64 + 256 + 256) <= grows <= 4 * 4 * (64 + 256 + 256 + 8)
    monkeypatch.setattr(batch_size, "free_memory", lambda device: 10**6)
    torch.set_rng_state(chance)
    model.load_state_dict(before)
    cpu = torch.device("cpu")
    size = batch_size.automatic(model, loss, cpu, share=0.5, most=10**6, say=lambda _: None)
    learning = 4 * sum(p.nbytes for p in model.parameters())
    assert size % 8 == 0 and learning + size * grows / 4 <= 5e5 < learning + (size + 9) * grows / 4
    assert torch.equal(torch.get_rng_state(), chance)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in model.parameters())


def test_what_norms_measured_is_averaged_with_the_weights():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    ema = optim.Ema(model, 0.5)
    before = model[1].running_mean.clone()
    model(torch.rand(2, 3, 8, 8) + 5)
    moved = model[1].running_mean.clone()
    ema.update()
    with ema.applied():
        # The first update's decay is 1/10.
        assert torch.allclose(model[1].running_mean, before.lerp(moved, 0.9))
    assert torch.equal(model[1].running_mean, moved)


def test_a_machine_without_a_compiler_trains_all_the_same(monkeypatch, tmp_path):
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    decoder, said = Decoder(8, 2, 2, cross=False), []
    x = torch.randn(2, 3, 8)
    expected = decoder(x)
    with inductor.patch({"cpp.cxx": (None, "no-such-compiler")}):
        worked = parts.enable_compile(
            decoder, lambda: decoder(x).sum(), torch.device("cpu"), said.append
        )
    assert not worked and "going on without it" in said[0]
    assert torch.equal(decoder(x), expected)


def test_a_compiled_layer_computes_what_it_did(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    decoder, x = Decoder(8, 2, 2, cross=False), torch.randn(2, 3, 8)
    expected = decoder(x)
    assert parts.enable_compile(decoder, lambda: decoder(x).sum(), torch.device("cpu"), print)
    assert torch.allclose(decoder(x), expected, atol=1e-5)
    with parts.not_compiled():
        assert torch.equal(decoder(x), expected)
