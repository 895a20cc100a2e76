"""Rotations in torch: laws, and agreement with SciPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manip_model import rotations as r


@pytest.fixture
def some():
    return torch.from_numpy(Rotation.random(200, random_state=0).as_matrix())


def test_six_numbers_make_proper_rotations_and_come_back(some):
    made = r.matrix_from_6d(torch.randn(50, 6, dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    assert torch.allclose(made.mT @ made, eye, atol=1e-12)
    assert torch.allclose(torch.linalg.det(made), torch.ones(50, dtype=torch.float64))
    assert torch.allclose(r.matrix_from_6d(r.matrix_to_6d(some)), some)


def test_rotation_vectors_agree_with_scipy(some):
    vectors = Rotation.from_matrix(some.numpy()).as_rotvec()
    assert np.allclose(r.rotvec_from_matrix(some).numpy(), vectors, atol=1e-9)
    assert torch.allclose(r.matrix_from_rotvec(torch.from_numpy(vectors)), some)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1e-3, 3.0, np.pi - 1e-6, np.pi])
def test_small_turns_and_half_turns(angle):
    axis = torch.tensor([0.6, -0.8, 0.0], dtype=torch.float64)
    vector = (axis * angle).requires_grad_()
    matrix = r.matrix_from_rotvec(vector)
    assert np.allclose(
        matrix.detach(), Rotation.from_rotvec(vector.detach()).as_matrix(), atol=1e-12
    )
    back = r.rotvec_from_matrix(matrix)
    assert back.norm().item() == pytest.approx(angle, abs=1e-7)
    assert torch.allclose(r.matrix_from_rotvec(back), matrix, atol=1e-7)
    back.sum().backward()
    assert torch.isfinite(vector.grad).all()


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 1.0, np.pi - 1e-6, np.pi])
def test_geodesic_is_the_angle_between(angle):
    a = torch.from_numpy(Rotation.random(random_state=1).as_matrix())
    b = a @ r.matrix_from_rotvec(torch.tensor([0.0, angle, 0.0], dtype=torch.float64))
    b.requires_grad_()
    got = r.geodesic(a, b)
    assert got.item() == pytest.approx(angle, abs=2e-7)
    got.backward()
    assert torch.isfinite(b.grad).all() and b.grad.abs().max() < 10


@pytest.mark.parametrize("function", [r.matrix_from_6d, r.matrix_from_rotvec])
def test_gradients_agree_with_finite_differences(function):
    size = 6 if function is r.matrix_from_6d else 3
    x = torch.randn(4, size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x,), atol=1e-4)


def test_gradients_back_to_vectors_agree_with_finite_differences():
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v: r.rotvec_from_matrix(r.matrix_from_rotvec(v)), (x,), atol=1e-4
    )


def test_a_mirrored_rotation_is_that_of_the_mirrored_axis(some):
    vector = r.rotvec_from_matrix(some)
    mirrored = r.rotvec_from_matrix(r.mirrored(some))
    assert torch.allclose(mirrored, vector * torch.tensor([1.0, -1.0, -1.0]), atol=1e-9)
    assert torch.allclose(r.mirrored(r.mirrored(some)), some)
