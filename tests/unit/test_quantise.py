"""Eight bits: how far they may be off, and that uneven channels do not cost the others' levels."""

import pytest

torch = pytest.importorskip("torch")

from manip_model.quantise import (  # noqa: E402
    LEVELS,
    EightBits,
    Rounding,
    calibrate,
    exact_inputs,
    linear_layers,
    put,
)


def seeded(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(128, 192),
        torch.nn.GELU(),
        torch.nn.Linear(192, 128),
        torch.nn.Linear(128, 3),
    ).eval()


@pytest.fixture
def uneven():
    """Inputs of which two channels are a hundred times as large as the rest."""
    x = seeded(4, 50, 128)
    x[..., (5, 77)] *= 100
    return x


def see(model, x):
    return model(x)


def test_a_weight_is_off_by_half_a_step_at_most():
    weight = seeded(64, 100)
    bits = EightBits.of(weight)
    assert bits.levels.abs().max() == LEVELS
    assert ((bits.weight - weight).abs() <= 0.5001 * bits.step[:, None]).all()
    spread = torch.linspace(0.1, 10, 100)
    spreaded = EightBits.of(weight, spread)
    limit = 0.5001 * spreaded.step[:, None] / spread
    assert ((spreaded.weight - weight).abs() <= limit).all()


def test_a_row_of_zeros_stays_one():
    weight = seeded(4, 100)
    weight[2] = 0
    assert EightBits.of(weight).weight[2].abs().max() == 0


def test_narrow_layers_are_left_alone(network):
    assert list(linear_layers(network)) == ["0", "2"]


def test_uneven_channels_are_spread_and_cost_little(network, uneven):
    layers = calibrate(network, [uneven], see)
    assert layers["0"].spread is not None
    assert layers["0"].error < 0.02
    # Without spreading, most channels would be all zero.
    plain = EightBits.of(network[0].weight.detach())
    step = float(uneven.abs().max()) / LEVELS
    rounded = (uneven / step).round() * step
    true = network[0](uneven)
    blunt = (rounded @ plain.weight.T + network[0].bias - true).square().mean().sqrt()
    with torch.no_grad(), Rounding(network, {"0": layers["0"]}):
        fine = (network[0](uneven) - true).square().mean().sqrt()
    assert fine < 0.5 * blunt


def test_the_whole_network_moves_little_and_rounding_ends_with_its_context(network, uneven):
    with torch.no_grad():
        true = network(uneven)
        layers = calibrate(network, [uneven], see)
        put(network, layers)
        exact = network(uneven)
        with Rounding(network, layers):
            rounded = network(uneven)
        again = network(uneven)
    scale = true.std()
    assert 0 < (exact - true).std() < 0.03 * scale
    assert 0 < (rounded - exact).std() < 0.05 * scale
    assert torch.equal(again, exact)


def test_layers_that_read_the_same_round_it_the_same_way(uneven):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(128, 96), torch.nn.Linear(128, 128)

        def forward(self, x):
            return self.a(x).sum() + self.b(x).sum()

    torch.manual_seed(1)
    layers = calibrate(Two().eval(), [uneven, uneven[:2]], see)
    assert layers["a"].input_step == layers["b"].input_step
    assert torch.equal(layers["a"].spread, layers["b"].spread)
    assert layers["a"].levels.shape == (96, 128)


def test_the_worst_are_left_exact(network, uneven):
    layers = calibrate(network, [uneven], see)
    worst = max(layers, key=lambda name: layers[name].error)
    chosen = exact_inputs(layers, network, 1)
    assert [name for name, one in chosen.items() if one.input_step is None] == [worst]


def test_a_single_token_of_a_picture_is_not_rounded(network):
    layers = calibrate(network, [seeded(8, 128)], see)
    assert all(layer.input_step is None for layer in layers.values())
