"""Augmentation: whatever is drawn, the picture, the camera and the labels still agree."""

from dataclasses import replace

import pytest
import torch

from manip_model.hand_model import HandModel
from manip_model.rotations import matrix_from_rotvec, mirrored
from manip_training.batch import check, empty
from manip_training.data.augment import AugmentConfig, augment

STILL = AugmentConfig(
    roll=0, zoom=0, shift=0, brightness=0, contrast=0, colour=0, noise=0, blur=0, occlusion=0
)
MOVING = replace(STILL, roll=3.0, zoom=0.3, shift=0.1)
ANY = replace(MOVING, mirror=0.5)
SIZE = 16


@pytest.fixture(scope="module")
def hand():
    return HandModel.open()


@pytest.fixture(scope="module")
def batch(hand):
    """Hands of either side at random poses, with everything labelled."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(SIZE, *shape, generator=g)

    b = empty(SIZE)
    b["side"] = torch.arange(SIZE) % 2
    b["camera"] = torch.tensor((900.0, 890.0, 300.0, -80.0)) + 20 * normal(4)
    b["mano_pose"] = 0.3 * normal(48)
    b["mano_pose"][:, :3] *= 2
    b["mano_shape"] = normal(10)
    b["mano_translation"] = torch.tensor((-0.12, 0.15, 0.7)) + 0.02 * normal(3)
    mesh = posed(hand, b)
    b["joints"] = mesh.joints
    b["keypoints_px"] = projected(b["joints"], b["camera"])
    b["object_class"][:, :2] = 3
    b["object_position"][:, :2] = b["joints"][:, 9:11] + 0.02 * normal(2, 3)
    b["object_rotation"][:, :2] = matrix_from_rotvec(normal(2, 3))
    b["object_surface"] = torch.cat((b["joints"][:, :1] + 0.1 * normal(256, 3), normal(256, 3)), -1)
    b["contact_point"] = mesh.vertices[:, :10].clone()
    b["contact_force_direction"] = torch.nn.functional.normalize(normal(10, 3), dim=-1)
    b["contact_map"] = (normal(778) > 0).float()
    for name in b:
        if name.endswith("_valid"):
            b[name] = torch.ones_like(b[name])
    b["object_pose_valid"][:, 2:] = False
    b["image"] = torch.randint(0, 256, b["image"].shape, generator=g, dtype=torch.uint8)
    check(b)
    return b


def posed(hand, b):
    rotations = matrix_from_rotvec(b["mano_pose"].view(-1, 16, 3))
    return hand(rotations, b["mano_shape"], b["mano_translation"], b["side"])


def projected(points, camera):
    return points[..., :2] / points[..., 2:] * camera[:, None, :2] + camera[:, None, 2:]


def blobs(centres):
    """White blobs of 4 px on black, one a picture."""
    line = torch.arange(224.0)
    u = torch.exp(-((line - centres[:, :1]) ** 2) / 32)
    v = torch.exp(-((line - centres[:, 1:]) ** 2) / 32)
    return (255 * v[:, :, None] * u[:, None, :])[:, None].expand(-1, 3, -1, -1).to(torch.uint8)


def centroid(image):
    weight = image.float().mean(1)
    weight = weight / weight.sum((1, 2), keepdim=True)
    line = torch.arange(224.0)
    return torch.stack(((weight.sum(1) * line).sum(1), (weight.sum(2) * line).sum(1)), 1)


@pytest.mark.parametrize("config", [MOVING, ANY, replace(STILL, mirror=1.0), AugmentConfig()])
def test_the_new_camera_sees_the_new_joints_at_the_new_pixels(batch, hand, config):
    new = augment(batch, config, hand, seed=1, step=2)
    check(new)
    seen = projected(new["joints"], new["camera"])
    assert (seen - new["keypoints_px"]).abs().max() < 2e-3


@pytest.mark.parametrize("config", [MOVING, ANY])
def test_the_picture_moves_as_its_pixels_do(batch, hand, config):
    points = torch.rand(SIZE, 2, generator=torch.Generator().manual_seed(3)) * 80 + 72
    shown = batch | {"image": blobs(points), "keypoints_px": points[:, None].expand(-1, 21, -1)}
    new = augment(shown, config, hand, seed=5, step=0)
    assert (new["keypoints_px"][:, 0] - points).abs().mean() > 10
    assert (centroid(new["image"]) - new["keypoints_px"][:, 0]).abs().max() < 0.3


@pytest.mark.parametrize("config", [MOVING, ANY])
def test_the_new_pose_makes_the_moved_mesh(batch, hand, config):
    new = augment(batch, config, hand, seed=2, step=7)
    mesh = posed(hand, new)
    assert (mesh.joints - new["joints"]).abs().max() < 2e-6
    # Contact points of this batch are vertices of the hand.
    assert (mesh.vertices[:, :10] - new["contact_point"]).abs().max() < 2e-6


def test_space_is_turned_rigidly(batch, hand):
    new = augment(batch, MOVING, hand, seed=2, step=8)
    local = [
        (b["joints"] - b["object_position"][:, :1]) @ b["object_rotation"][:, 0]
        for b in (batch, new)
    ]
    assert (local[0] - local[1]).abs().max() < 1e-6
    for name, of in (("object_surface", slice(3)), ("contact_point", slice(3))):
        apart = [torch.cdist(b[name][..., of], b["joints"]) for b in (batch, new)]
        assert (apart[0] - apart[1]).abs().max() < 1e-4
    angles = [
        torch.cat((b["object_surface"][..., 3:], b["contact_force_direction"]), 1)
        @ b["object_rotation"][:, 1]
        for b in (batch, new)
    ]
    assert (angles[0] - angles[1]).abs().max() < 1e-5
    assert (batch["joints"][..., 2] - new["joints"][..., 2]).abs().max() == 0


def test_the_middle_stays_in_the_middle(batch, hand):
    middle = torch.full((SIZE, 21, 2), 111.5)
    new = augment(batch | {"keypoints_px": middle}, replace(MOVING, shift=0), hand, 4, 4)
    assert (new["keypoints_px"] - middle).abs().max() < 1e-3


def test_a_mirror_image_is_a_hand_of_the_other_side(batch, hand):
    new = augment(batch, replace(STILL, mirror=1.0), hand, seed=0, step=0)
    assert torch.equal(new["image"], batch["image"].flip(-1))
    assert torch.equal(new["side"], 1 - batch["side"])
    flip = torch.tensor((-1.0, 1.0, 1.0))
    assert (posed(hand, new).vertices - posed(hand, batch).vertices * flip).abs().max() < 1e-6
    assert not new["object_pose_valid"].any()
    assert torch.equal(new["object_class"], batch["object_class"])
    assert (new["object_rotation"] - mirrored(batch["object_rotation"])).abs().max() < 1e-6


def test_zeros_change_nothing(batch, hand):
    new = augment(batch, STILL, hand, seed=0, step=0)
    for name, value in batch.items():
        assert (new[name].float() - value.float()).abs().max() < 1e-3, name


def test_it_is_a_function_of_seed_and_step(batch, hand):
    one, same, other = (augment(batch, AugmentConfig(), hand, 3, step) for step in (9, 9, 10))
    assert all(torch.equal(one[name], same[name]) for name in batch)
    assert not torch.equal(one["joints"], other["joints"])
    assert not torch.equal(one["image"], other["image"])


def test_the_batch_itself_stays(batch, hand):
    before = {name: value.clone() for name, value in batch.items()}
    augment(batch, replace(AugmentConfig(), mirror=0.5), hand, 0, 0)
    assert all(torch.equal(batch[name], before[name]) for name in batch)


def test_missing_labels_stay_missing(hand):
    bare = empty(4)
    bare["camera"] += 100.0
    new = augment(bare, AugmentConfig(mirror=0.5), hand, 1, 1)
    check(new)
    for name, value in new.items():
        if name.endswith("_valid"):
            assert not value.any()
    for name in ("mano_pose", "mano_translation", "joints", "object_position", "contact_point"):
        assert not new[name].any(), name


def test_half_turns_of_the_wrist_stay_exact(batch, hand):
    turned = dict(batch)
    turned["mano_pose"] = batch["mano_pose"].clone()
    turned["mano_pose"][:, :3] = torch.tensor((0.0, 0.0, torch.pi - 1e-4))
    turned["mano_pose"][0, :3] = 0
    turned["joints"] = posed(hand, turned).joints
    new = augment(turned, MOVING, hand, seed=6, step=6)
    assert (posed(hand, new).joints - new["joints"]).abs().max() < 5e-6
    assert new["mano_pose"][:, :3].norm(dim=-1).max() <= torch.pi + 1e-5


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        ({"brightness": 0.3}, 5, 50),
        ({"noise": 0.1}, 1, 30),
        ({"colour": 0.3}, 5, 50),
        ({"blur": 1.0}, 5, 80),
        ({"occlusion": 1.0}, 0.5, 40),
    ],
)
def test_colours_change_and_labels_do_not(batch, hand, change, low, high):
    new = augment(batch, replace(STILL, **change), hand, seed=0, step=0)
    assert low < (new["image"].float() - batch["image"].float()).abs().mean() < high
    assert (new["keypoints_px"] - batch["keypoints_px"]).abs().max() < 1e-3


def test_contrast_keeps_the_mean(batch, hand):
    new = augment(batch, replace(STILL, contrast=0.2), hand, seed=0, step=0)["image"].float()
    old = batch["image"].float()
    assert (new.mean((1, 2, 3)) - old.mean((1, 2, 3))).abs().max() < 5
    assert (new.std((1, 2, 3)) - old.std((1, 2, 3))).abs().max() > 5


def test_bfloat16_pictures_stay_so(batch, hand):
    new = augment(batch | {"image": batch["image"].bfloat16()}, AugmentConfig(), hand, 0, 0)
    assert new["image"].dtype == torch.bfloat16
    assert new["image"].min() >= 0
    assert new["image"].max() <= 255


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roll": -1}, "roll must be 0 or more and finite, got -1"),
        ({"noise": float("inf")}, "noise must be 0 or more and finite"),
        ({"mirror": 1.5}, "mirror must be a probability, 0 to 1, got 1.5"),
        ({"occlusion_size": (0.5, 0.2)}, "must rise within 0 and 1"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**options)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_host_does_not_wait(batch, hand):
    there = {name: value.cuda() for name, value in batch.items()}
    model = HandModel.open().cuda()
    augment(there, ANY, model, 0, 0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        new = augment(there, ANY, model, 0, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (projected(new["joints"], new["camera"]) - new["keypoints_px"]).abs().max() < 2e-3
