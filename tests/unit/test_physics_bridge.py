"""A JAX function within a PyTorch computation; where both are installed."""

import numpy as np
import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

from manip_physics.bridge import JaxFunction, JaxLoss, to_jax, to_torch  # noqa: E402


def pendulum(torques, start):
    """Angles of a pendulum under torques, something with a loop in it."""

    def step(state, torque):
        angle, speed = state
        speed = speed + 0.05 * (torque - jnp.sin(angle))
        return (angle + 0.05 * speed, speed), angle

    return jax.lax.scan(step, (start[0], start[1]), torques)[1]


@pytest.fixture(scope="module")
def simulate():
    return JaxFunction(pendulum)


def inputs():
    torques = torch.linspace(-1.0, 2.0, 20, dtype=torch.float64, requires_grad=True)
    start = torch.tensor([0.3, -0.1], dtype=torch.float64, requires_grad=True)
    return torques, start


def test_value_and_gradient_are_those_of_jax(simulate):
    torques, start = inputs()
    angles = simulate(torques, start)
    (angles**2).sum().backward()
    given = torques.detach().numpy(), start.detach().numpy()
    np.testing.assert_array_equal(angles.detach().numpy(), jax.jit(pendulum)(*given))
    expected = jax.grad(lambda u, s: (pendulum(u, s) ** 2).sum(), (0, 1))(*given)
    for tensor, gradient in zip((torques, start), expected, strict=True):
        np.testing.assert_allclose(tensor.grad.numpy(), gradient, rtol=1e-12)


def test_gradient_is_that_of_differences(simulate):
    assert torch.autograd.gradcheck(simulate, inputs())


def test_a_loss_with_its_gradient_is_one_with_a_way_back():
    both = jax.jit(jax.value_and_grad(lambda u: (pendulum(u, jnp.array([0.3, -0.1])) ** 2).sum()))
    assert torch.autograd.gradcheck(JaxLoss(both), inputs()[:1])
    torques = inputs()[0]
    (3.0 * JaxLoss(both)(2.0 * torques)).backward()
    expected = 6.0 * both(2.0 * torques.detach().numpy())[1]
    np.testing.assert_allclose(torques.grad.numpy(), expected, rtol=1e-12)


def test_nothing_is_copied():
    tensor = torch.arange(1024, dtype=torch.float64)
    array = to_jax(tensor)
    assert array.unsafe_buffer_pointer() == tensor.data_ptr()
    back = to_torch(array)
    assert back.data_ptr() == tensor.data_ptr()
    made = jax.jit(lambda x: 2 * x)(array)
    assert to_torch(made).data_ptr() == made.unsafe_buffer_pointer()


def test_a_loss_in_simulation_teaches_a_network(simulate):
    """The way to a decoder's weights: features to torques, torques to angles, angles to a loss."""
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 20, dtype=torch.float64)
    features, start = torch.randn(3, dtype=torch.float64), inputs()[1].detach()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    losses = []
    for _ in range(60):
        loss = ((simulate(network(features), start) - 0.5) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters())
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_precision_is_not_lost_unasked():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="float64"):
            to_jax(torch.zeros(2, dtype=torch.float64))
    finally:
        jax.config.update("jax_enable_x64", True)
