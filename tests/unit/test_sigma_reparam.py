"""Sigma-reparameterised layers: the published formula, folding, and what moves when."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from manip_model.sigma_reparam import SigmaLinear, fold_, power_step, reparameterise_, sigma_layers


def layer(out=24, into=40, seed=0, **kw):
    torch.manual_seed(seed)
    return SigmaLinear(nn.Linear(into, out), **kw)


def norm_of(weight):
    return torch.linalg.matrix_norm(weight.detach(), ord=2).item()


def test_a_new_layer_starts_near_a_norm_of_one():
    assert norm_of(layer(96, 64).effective_weight()) == pytest.approx(1.0, rel=0.15)


def test_the_weight_in_use_has_gamma_as_its_spectral_norm():
    one = layer()
    for _ in range(50):
        one.update()
    for gamma in (0.3, 1.0, 4.0):
        one.gamma.data.fill_(gamma)
        assert norm_of(one.effective_weight()) == pytest.approx(gamma, rel=1e-3)


def test_it_is_the_spectral_norm_and_not_that_of_frobenius():
    """Dividing by the Frobenius norm would leave a spectral norm far below gamma."""
    one = layer(64, 64)
    for _ in range(50):
        one.update()
    frobenius = one.weight / torch.linalg.matrix_norm(one.weight)
    assert norm_of(one.effective_weight()) == pytest.approx(1.0, rel=1e-3)
    assert norm_of(frobenius) < 0.3
    # Only where there is a single singular value do the two agree.
    u, v = torch.randn(64, 1), torch.randn(1, 40)
    thin = nn.Linear(40, 64)
    thin.weight.data = u @ v
    thin = SigmaLinear(thin)
    agreeing = thin.weight / torch.linalg.matrix_norm(thin.weight)
    assert torch.allclose(thin.effective_weight(), agreeing, atol=1e-6)


def test_a_pretrained_layer_computes_what_it_did():
    torch.manual_seed(1)
    plain = nn.Linear(32, 48)
    x = torch.randn(5, 32)
    before = plain(x)
    kept = SigmaLinear(copy.deepcopy(plain), keep_norm=True)
    assert torch.allclose(kept(x), before, atol=1e-6)
    assert kept.gamma.item() == pytest.approx(norm_of(plain.weight), rel=2e-2)
    assert not torch.allclose(SigmaLinear(plain)(x), before, atol=1e-2)


def test_power_iteration_finds_the_leading_pair():
    one = layer()
    for _ in range(200):
        one.update()
    u, s, vt = torch.linalg.svd(one.weight)
    assert one.sigma().item() == pytest.approx(s[0].item(), rel=1e-5)
    assert abs(one.u @ u[:, 0]).item() == pytest.approx(1, abs=1e-4)
    assert abs(one.v @ vt[0]).item() == pytest.approx(1, abs=1e-4)


def test_a_start_that_the_weight_sends_to_zero_is_survived():
    plain = nn.Linear(4, 4)
    # Rows sum to zero: a start of ones would be in its null space.
    plain.weight.data = torch.tensor([[1.0, -1, 0, 0], [2, -2, 0, 0], [0, 0, 1, -1], [0] * 4])
    assert SigmaLinear(plain).sigma().item() == pytest.approx(norm_of(plain.weight), rel=1e-3)
    plain.weight.data.zero_()
    assert torch.isfinite(SigmaLinear(plain)(torch.ones(1, 4))).all()


def test_only_training_moves_the_buffers():
    net = reparameterise_(nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3)))
    before = [(one.u.clone(), one.v.clone()) for one in sigma_layers(net)]
    net(torch.randn(2, 8)).sum().backward()
    for one, (u, v) in zip(sigma_layers(net), before, strict=True):
        assert torch.equal(one.u, u) and torch.equal(one.v, v)
        one.update()
        assert not torch.equal(one.v, v)


def test_folding_changes_no_output():
    torch.manual_seed(2)
    net = reparameterise_(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4, bias=False)))
    x = torch.randn(7, 16)
    before = net(x)
    fold_(net)
    assert not sigma_layers(net)
    assert torch.allclose(net(x), before, atol=1e-6)


def test_norms_and_embeddings_are_left_alone():
    net = nn.ModuleDict(
        {
            "embedding": nn.Embedding(3, 4),
            "place_embedding": nn.Linear(4, 4),
            "norm": nn.LayerNorm(4),
        }
    )
    net["body"] = nn.Linear(4, 4)
    reparameterise_(net)
    assert [name for name, one in net.named_modules() if isinstance(one, SigmaLinear)] == ["body"]


def test_gradients_agree_with_finite_differences():
    one = layer(5, 6).double()
    x = torch.randn(3, 6, dtype=torch.float64)

    def run(weight, gamma, bias):
        return torch.func.functional_call(one, {"weight": weight, "gamma": gamma, "bias": bias}, x)

    inputs = tuple(p.detach().requires_grad_() for p in (one.weight, one.gamma, one.bias))
    assert torch.autograd.gradcheck(run, inputs, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_it_computes_as_if_the_weight_in_use_were_written_out(bias):
    torch.manual_seed(3)
    one = SigmaLinear(nn.Linear(6, 5, bias=bias))
    x = torch.randn(2, 3, 6, requires_grad=True)
    wanted = torch.randn(2, 3, 5)
    grads = []
    for forward in (one, lambda x: nn.functional.linear(x, one.effective_weight(), one.bias)):
        one.zero_grad()
        x.grad = None
        y = forward(x)
        (y * wanted).sum().backward()
        grads.append([y, x.grad, *(p.grad for p in one.parameters())])
    for ours, plain in zip(*grads, strict=True):
        assert torch.allclose(ours, plain, atol=1e-6)


def test_it_keeps_no_copy_of_the_weight_for_the_backward_pass():
    one = layer(256, 256)
    kept = []
    weights = {p.data_ptr() for p in (*one.parameters(), *one.buffers())}

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        one(torch.randn(2, 256, requires_grad=True))
    assert sum(kept) < 256 * 8


def test_checkpointing_changes_nothing():
    """The backward pass computes the layer again: its buffers must not have moved meanwhile."""
    one = layer(8, 8)
    x = torch.randn(4, 8, requires_grad=True)
    one(x).square().sum().backward()
    plain = one.weight.grad.clone()
    one.zero_grad()
    checkpoint(one, x, use_reentrant=False).square().sum().backward()
    assert torch.equal(one.weight.grad, plain)


def test_a_step_for_many_layers_is_one_for_each():
    torch.manual_seed(4)
    net = reparameterise_(nn.Sequential(nn.Linear(12, 40), nn.Linear(40, 7), nn.Linear(7, 7)))
    layers = sigma_layers(net)
    expected = []
    for one in layers:
        u = nn.functional.normalize(one.weight.detach() @ one.v, dim=0)
        v = nn.functional.normalize(one.weight.detach().t() @ u, dim=0)
        expected.append((u, v))
    with torch.autocast("cpu", torch.bfloat16):
        known = power_step(layers)[:, 0]
    for one, (u, v), sigma in zip(layers, expected, known, strict=True):
        assert torch.allclose(one.u, u, atol=1e-6) and torch.allclose(one.v, v, atol=1e-6)
        assert sigma.item() == pytest.approx(one.sigma().item(), rel=1e-6)


def test_the_factor_of_a_layer_is_not_rounded_to_eight_bits():
    one = layer(64, 64)
    one.gamma.data.fill_(1.003)
    x = torch.randn(2000, 64)
    with torch.no_grad():
        exact = one(x)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = one(x).float()
    share = (rounded * exact).sum() / exact.square().sum()
    assert share.item() == pytest.approx(1.0, abs=5e-4)
