"""The synthetic world: pictures and labels agree, with the hand model and the cameras too."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from manip_core.hand import LEFT, RIGHT, SIDES
from manip_core.hand_skeleton import TIPS
from manip_core.preprocessing import BOX_SCALE
from manip_model.hand_model import HandModel
from manip_model.rotations import matrix_from_rotvec, mirrored
from manip_training.batch import FIELDS, check
from manip_training.synthetic.cameras import RANGES
from manip_training.synthetic.parts import PARTS
from manip_training.synthetic.sheet import sheet
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

DRAWN = WorldConfig(backgrounds="")
# Nothing but a bare hand and its arm.
BARE = replace(DRAWN, holding=0.0, extra=0.0, other_hand=0.0, bystander=0.0, sleeve=0.0,
               bracelet=0.0, gloves=0.0)  # fmt: skip
SIZE = 96
# What makes the host wait for the device, or copies from it: not to be captured in a CUDA graph.
WAITING = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "is_nonzero", "unique")


@pytest.fixture(scope="module")
def world():
    return SyntheticWorld(DRAWN)


@pytest.fixture(scope="module")
def labels(world):
    return world.scene(SIZE, seed=3)[1]


@pytest.fixture(scope="module")
def hand():
    return HandModel.open()


def posed(hand, labels):
    turns = matrix_from_rotvec(labels["mano_pose"].unflatten(1, (16, 3)))
    return hand(turns, labels["mano_shape"], labels["mano_translation"], labels["side"])


def test_a_batch_has_every_field(world):
    check(world.batch(3, seed=0))


def test_the_model_with_the_labels_makes_the_joints_on_both_sides(labels, hand):
    assert set(labels["side"].tolist()) == {SIDES.index(LEFT), SIDES.index(RIGHT)}
    assert torch.allclose(posed(hand, labels).joints, labels["joints"], atol=1e-5)


def test_pixels_are_the_projected_joints(labels):
    joints, camera = labels["joints"], labels["camera"][:, None]
    pixels = joints[..., :2] / joints[..., 2:] * camera[..., :2] + camera[..., 2:]
    assert torch.allclose(pixels, labels["keypoints_px"], atol=1e-2)


def test_crops_are_as_preprocessing_makes_them_give_or_take(labels):
    pixels = labels["keypoints_px"]
    low, high = pixels.amin(1), pixels.amax(1)
    side = FIELDS["image"].shape[-1]
    share = BOX_SCALE * (high - low).amax(-1) / side
    slack = torch.tensor(DRAWN.crop_scale).exp() + 1e-3
    assert (share < slack).all() and (share > 1 / slack).all()
    off = (0.5 * (low + high) - 0.5 * (side - 1)).abs()
    assert (off <= DRAWN.crop_shift * side * 1.001).all()
    assert off.max() > 0.5 * DRAWN.crop_shift * side


def test_hands_are_as_far_away_as_the_ranges_say(labels):
    distance = labels["joints"].mean(1).norm(dim=-1)
    ranges = RANGES["train"]
    assert distance.min() > ranges["near"][0] - 0.001
    assert distance.max() < ranges["far"][1] + 0.001
    assert distance.max() > 2 * distance.min()


def test_a_batch_is_a_function_of_its_seed(world):
    first, again, other = (world.batch(4, seed=s) for s in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in FIELDS)
    assert not torch.equal(first["image"], other["image"])
    assert not torch.allclose(first["joints"], other["joints"], atol=0.01)


def test_left_hands_are_right_ones_in_the_mirror():
    right, left = (SyntheticWorld(replace(DRAWN, holding=0.6, left=share)) for share in (0.0, 1.0))
    (scene, a), (other, b) = (world.scene(12, seed=1) for world in (right, left))
    drawn, seen = right.rasteriser.render(scene), left.rasteriser.render(other)
    for name in ("image", "depth", "part"):
        assert torch.equal(getattr(seen, name), getattr(drawn, name).flip(-1))
    flip, last = torch.tensor((-1.0, 1.0, 1.0)), FIELDS["image"].shape[-1] - 1
    assert (a["side"] == SIDES.index(RIGHT)).all() and (b["side"] == SIDES.index(LEFT)).all()
    assert torch.allclose(b["camera"][:, 2], last - a["camera"][:, 2], atol=1e-3)
    for name in ("joints", "object_position", "contact_point", "contact_force_direction"):
        assert torch.allclose(b[name], a[name] * flip, atol=1e-6), name
    assert torch.equal(b["contact_type"], a["contact_type"])
    assert torch.allclose(
        matrix_from_rotvec(b["mano_pose"].unflatten(1, (16, 3))),
        mirrored(matrix_from_rotvec(a["mano_pose"].unflatten(1, (16, 3)))),
        atol=1e-5,
    )
    there = a["object_pose_valid"]
    assert there.any()
    turned = b["object_rotation"][there]
    assert torch.allclose(turned, mirrored(a["object_rotation"][there]))
    assert torch.allclose(torch.linalg.det(turned), torch.ones(len(turned)))


def test_the_hand_is_drawn_where_the_model_says(hand):
    rendered, labels = SyntheticWorld(BARE).rendered(16, seed=2)
    vertices = posed(hand, labels).vertices
    camera = labels["camera"][:, None]
    pixels = vertices[..., :2] / vertices[..., 2:] * camera[..., :2] + camera[..., 2:]
    drawn = rendered.part.numpy() == 1 + PARTS.index("hand")
    arm = rendered.part.numpy() == 1 + PARTS.index("arm")
    for row in range(len(pixels)):
        outline = np.zeros(drawn.shape[1:], np.uint8)
        for corners in pixels[row].numpy()[hand.faces.numpy()]:
            cv2.fillConvexPoly(outline, np.round(corners * 16).astype(np.int32), 1, shift=4)
        # The arm may hide a part of the hand.
        expected = (outline == 1) & ~arm[row]
        common = (expected & drawn[row]).sum() / (expected | drawn[row]).sum()
        assert common > 0.95, row


def test_depth_at_a_seen_joint_is_that_of_the_skin_before_it(hand):
    rendered, labels = SyntheticWorld(BARE).rendered(16, seed=4)
    pixels = labels["keypoints_px"].round().long()
    side = rendered.depth.shape[-1]
    inside = ((pixels >= 0) & (pixels < side)).all(-1)
    u, v = pixels.clamp(0, side - 1).unbind(-1)
    rows = torch.arange(len(u))[:, None]
    part, depth = rendered.part[rows, v, u], rendered.depth[rows, v, u]
    seen = inside & (part == 1 + PARTS.index("hand"))
    # Tips lie on the skin, beside which a pixel may show what is far behind.
    seen[:, TIPS] = False
    before = (labels["joints"][..., 2] - depth)[seen]
    assert seen.float().mean() > 0.5
    assert before.min() > -0.002
    # Most joints are hidden by nothing but their own skin.
    assert before.median() < 0.02


def test_nothing_waits_for_the_device(world):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.add(function.overloadpacket.__name__)
            return function(*args, **(kwargs or {}))

    seen: set[str] = set()
    world.generator.manual_seed(0)
    with Watch():
        world.next_scene(4)
    assert "bmm" in seen
    assert not seen & set(WAITING)


def test_what_is_absent_is_not_drawn():
    part = SyntheticWorld(BARE).rendered(12, seed=0)[0].part
    shown = {PARTS[p - 1] for p in part.unique().tolist() if p}
    assert shown <= {"hand", "arm"} and "hand" in shown


def test_validation_shows_other_people(world):
    val = SyntheticWorld(replace(DRAWN, variant="val"))
    shapes = val.scene(256, seed=0)[1]["mano_shape"]
    assert len(shapes[:, 0].unique()) < 256
    seen = world.scene(256, seed=0)[1]["mano_shape"]
    assert (torch.cdist(shapes, seen) > 0.1).all()


def test_a_sheet_shows_labels_without_changing_the_batch(world):
    batch = world.batch(3, seed=0)
    before = batch["image"].clone()
    drawn, plain = sheet(batch, columns=2), sheet(batch, columns=2, labels=False)
    side = FIELDS["image"].shape[-1]
    assert drawn.shape == plain.shape == (2 * side, 2 * side, 3)
    assert torch.equal(batch["image"], before)
    assert (plain[:side, :side] == before[0].permute(1, 2, 0).numpy()).all()
    assert (drawn != plain).any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"variant": "test"}, "train, val"),
        ({"left": 1.5}, "left must be a share"),
        ({"sleeve": 0.8, "bracelet": 0.3}, "shares of one whole"),
        ({"candidates": 0}, "candidates must be 1 or more"),
        ({"crop_shift": 0.7}, "crop_shift must lie within"),
    ],
)
def test_a_config_checks_itself(changes, said):
    with pytest.raises(ValueError, match=said):
        WorldConfig(**changes)


def test_a_named_folder_of_backgrounds_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SyntheticWorld(DRAWN, backgrounds=tmp_path / "nowhere")
