"""Left hands in the mirror: the same network, told the side, sees a picture and its mirror image
alike."""

import pytest
import torch

from manip_model.build import build_model
from manip_model.hand_model import HandModel
from manip_model.rotations import matrix_from_rotvec
from manip_training.config import compose
from manip_training.random_batch import random_batch
from micro_training import MICRO

SIZE = 224
FLIP = torch.tensor((-1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def hand():
    return HandModel.open()


@pytest.fixture(scope="module")
def model(hand):
    torch.manual_seed(0)
    words = [word for word in MICRO if word.startswith(("preset", "model"))]
    return build_model(compose([*words, "model.mirror_left=true"]).model, hand).eval()


@pytest.fixture(scope="module")
def pictures(hand):
    batch = random_batch(3, hand, 0)
    camera = batch["camera"].clone()
    camera[:, 2] = SIZE - 1 - camera[:, 2]
    return (batch["image"], batch["camera"]), (batch["image"].flip(-1), camera)


@torch.no_grad()
def test_a_left_hand_is_a_right_one_in_the_mirror(model, pictures):
    right = model(*pictures[0], torch.ones(3, dtype=torch.int64))
    left = model(*pictures[1], torch.zeros(3, dtype=torch.int64))
    for name in ("joints", "vertices", "mano_joints", "coarse_joints", "translation",
                 "object_position", "contact_point", "contact_force_direction"):  # fmt: skip
        assert torch.allclose(getattr(left, name), FLIP * getattr(right, name), atol=1e-6), name
    assert len(left.refinements) == len(right.refinements) > 0
    assert torch.allclose(left.refinements[-1], left.joints)
    for name in ("joints_log_variance", "mano_shape", "contact_map_logits", "contact_force",
                 "object_class_logits", "contact_type_logits"):  # fmt: skip
        assert torch.equal(getattr(left, name), getattr(right, name)), name
    assert torch.allclose(left.keypoints_px[..., 0], SIZE - 1 - right.keypoints_px[..., 0])
    assert left.side.tolist() == left.side_logits.argmax(-1).tolist() == [0, 0, 0]
    assert right.side.tolist() == right.side_logits.argmax(-1).tolist() == [1, 1, 1]


@torch.no_grad()
def test_what_is_said_of_a_left_hand_fits_together(model, hand, pictures):
    image, camera = pictures[0]
    said = model(image, camera, torch.tensor([0, 1, 0]))
    mesh = hand(said.mano_rotations, said.mano_shape, said.translation, said.side)
    assert torch.allclose(mesh.vertices, said.vertices, atol=1e-5)
    assert torch.allclose(mesh.joints, said.mano_joints, atol=1e-5)
    turns = matrix_from_rotvec(said.mano_pose.unflatten(1, (16, 3)))
    assert torch.allclose(turns, said.mano_rotations, atol=1e-4)
    # The mean pixel of the 2D head's own distribution over the patches.
    grid = int(said.keypoint_logits.shape[-1] ** 0.5)
    centres = (torch.arange(grid) + 0.5) * SIZE / grid - 0.5
    heat = said.keypoint_logits.softmax(-1).unflatten(-1, (grid, grid))
    assert torch.allclose(heat.sum(-2) @ centres, said.keypoints_px[..., 0], atol=1e-3)


@torch.no_grad()
def test_the_side_counts_first_then_the_hint_then_right(model, pictures):
    def sides(side, hint):
        as_tensor = [None if s is None else torch.full((3,), s) for s in (side, hint)]
        return model(*pictures[0], *as_tensor).side.tolist()[0]

    assert sides(0, 1) == 0 and sides(1, 0) == 1
    assert sides(-1, 0) == sides(None, 0) == 0
    assert sides(-1, -1) == sides(None, None) == 1


def test_it_learns_from_both_sides(model, pictures):
    image, camera = pictures[0]
    said = model(image, camera, torch.tensor([0, 1, 0]))
    said.joints.square().sum().backward()
    slopes = [p.grad for p in model.hand_head.parameters() if p.grad is not None]
    assert slopes and all(torch.isfinite(slope).all() for slope in slopes)
