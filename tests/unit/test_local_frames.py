"""The hand in its 22 local frames."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from manip_core.hand import palm_rotation
from manip_core.hand_skeleton import TIPS
from manip_model.hand_model import load_hand_model
from manip_model.local_frames import (
    NUM_FEATURES,
    HandEncoder,
    global_features,
    hand_frames,
    local_features,
)
from manip_model.rotations import matrix_from_rotvec


@pytest.fixture(scope="module")
def hand_model():
    return load_hand_model().double()


def posed(hand_model, vectors, translation=None, side=1):
    size = len(vectors)
    rotations = matrix_from_rotvec(vectors.view(size, 16, 3))
    translation = torch.zeros(size, 3, dtype=torch.float64) if translation is None else translation
    shape = torch.zeros(size, 10, dtype=torch.float64)
    return hand_model(rotations, shape, translation, torch.full((size,), side))


@pytest.fixture
def vectors():
    return torch.randn(6, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 0.4


@pytest.mark.parametrize("side", [0, 1])
def test_frames_are_proper_rotations_at_the_joints(hand_model, vectors, side):
    mesh = posed(hand_model, vectors, side=side)
    rotations, origins = hand_frames(mesh)
    assert rotations.shape == (6, 22, 3, 3) and origins.shape == (6, 22, 3)
    eye = torch.eye(3, dtype=torch.float64).expand_as(rotations)
    assert torch.allclose(rotations.mT @ rotations, eye, atol=1e-9)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(6, 22, dtype=torch.float64))
    assert torch.equal(origins[:, :16], mesh.origins)
    assert torch.equal(origins[:, 16:21], mesh.joints[:, list(TIPS)])


def test_the_palm_frame_turns_with_the_palm_of_the_suite(hand_model, vectors):
    """Constant against the palm frame that control uses, whose thumb side is the ring knuckle's."""
    mesh = posed(hand_model, vectors)
    ours = hand_frames(mesh)[0][:, 21].numpy()
    theirs = np.stack([palm_rotation(k) for k in mesh.joints.numpy()])
    between = Rotation.from_matrix(np.swapaxes(theirs, 1, 2) @ ours).magnitude()
    assert np.ptp(between) < 1e-6 and between.max() < 0.3


def test_local_coordinates_bear_turning_and_moving_the_hand(hand_model, vectors):
    mesh = posed(hand_model, vectors)
    turned = vectors.clone()
    turned[:, :3] = torch.randn(6, 3, dtype=torch.float64)
    moved = posed(hand_model, turned, torch.randn(6, 3, dtype=torch.float64))
    assert torch.allclose(local_features(mesh), local_features(moved), atol=1e-5)
    assert not torch.allclose(global_features(mesh), global_features(moved), atol=1e-2)


def test_a_fingers_own_frame_sees_it_rigid(hand_model):
    """Bending the index's first joint leaves its tip where it was in its last frame."""
    flat = torch.zeros(1, 48, dtype=torch.float64)
    bent = flat.clone()
    bent[0, 3 + 2] = 0.8
    frame = 3  # the index's last joint
    own = hand_model.weights[:, frame] > 0.99
    assert own.sum() > 5
    coordinates = [
        local_features(posed(hand_model, v))[0, own, 3 * frame : 3 * frame + 3]
        for v in (flat, bent)
    ]
    assert torch.allclose(*coordinates, atol=0.02)
    wrist = [local_features(posed(hand_model, v))[0, own, :3] for v in (flat, bent)]
    assert (wrist[0] - wrist[1]).norm(dim=-1).min() > 0.1


def test_features_are_67_and_name_the_vertex(hand_model, vectors):
    features = local_features(posed(hand_model, vectors))
    assert features.shape == (6, 778, 67) and NUM_FEATURES == 67
    assert len(torch.unique(features[0, :, -1])) == 778
    assert features[..., -1].abs().max() == 1
    # Decimetres: a hand is of the order of one.
    assert 0.3 < features[..., :-1].std() < 3


def test_gradients_agree_with_finite_differences(hand_model, vectors):
    pick = torch.randint(0, 778, (5,))

    def features(v):
        return local_features(posed(hand_model, v))[:, pick]

    v = vectors[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(features, (v,), eps=1e-6, atol=1e-4, rtol=1e-4)


def test_the_encoder_pools_over_all_vertices(hand_model, vectors):
    torch.manual_seed(0)
    encoder = HandEncoder(16, 32).double()
    points, tokens = encoder(posed(hand_model, vectors))
    assert points.shape == (6, 778, 16) and tokens.shape == (6, 22, 32)
    assert tokens.std(dim=0).mean() > 1e-3, "tokens do not depend on the hand"
