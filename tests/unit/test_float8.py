"""Eight-bit products: close to the exact ones, in both directions."""

import pytest
import torch
from torch import nn

from manip_model import float8
from manip_model.sigma_reparam import SigmaLinear, reparameterise_


def close(a, b):
    """Error against the size of what is compared."""
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize(("kind", "worst"), [(float8.FORWARD, 0.05), (float8.GRADIENT, 0.1)])
def test_products_are_right_to_the_bits_there_are(kind, worst):
    torch.manual_seed(0)
    a, b = torch.randn(40, 64), torch.randn(64, 48) * 1e-3
    error = close(float8.product(a, b, kind), a @ b)
    assert 1e-4 < error < worst, "exact would mean that nothing was rounded"


def test_a_zero_factor_and_a_huge_one_are_survived():
    zero = float8.product(torch.zeros(16, 16), torch.ones(16, 16))
    assert torch.equal(zero, torch.zeros(16, 16))
    assert torch.isfinite(float8.product(torch.full((16, 16), 1e6), torch.ones(16, 16))).all()


def test_a_layer_learns_the_same_in_either_precision():
    torch.manual_seed(0)
    layer = SigmaLinear(nn.Linear(64, 32))
    x, wanted = torch.randn(3, 10, 64), torch.randn(3, 10, 32)
    results = []
    for on in (False, True):
        layer.float8 = on
        layer.zero_grad()
        given = x.clone().requires_grad_()
        y = layer(given)
        (y * wanted).sum().backward()
        results.append((y, given.grad, layer.weight.grad, layer.gamma.grad))
    for exact, rounded in zip(*results, strict=True):
        assert close(rounded, exact) < 0.1


def test_only_wide_layers_are_chosen():
    sizes = ((64, 128), (128, 128), (128, 127), (127, 4))
    net = nn.Sequential(*(nn.Linear(a, b) for a, b in sizes))
    reparameterise_(net)
    assert float8.enable_(net, min_width=100) == 1
    assert [layer.float8 for layer in net] == [False, True, False, False]
