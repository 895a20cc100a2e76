"""Objects of the synthetic world: exact surfaces, mirror images, and contacts as data sets have."""

import numpy as np
import pytest
import torch

from manip_model.config import CONTACT_TYPES, YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_model.hand_regions import vertex_regions
from manip_model.rotations import matrix_from_rotvec
from manip_training.data.contacts import ObjectSurface, PosedObject, label_contacts
from manip_training.data.primitives import BOX, PRIMITIVES
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.grasps import GraspBank
from manip_training.synthetic.labels import closest
from manip_training.synthetic.objects import Objects
from manip_training.synthetic.world import SyntheticWorld, WorldConfig


@pytest.fixture(scope="module")
def objects():
    return Objects("train", "cpu")


@pytest.fixture(scope="module")
def held():
    """Hands that hold something, of both sides."""
    config = WorldConfig(holding=1.0, closed=0.8, extra=0.0, backgrounds="")
    return SyntheticWorld(config).scene(24, seed=5)[1]


@pytest.fixture(scope="module")
def near():
    """For every class: points about its surface in its own frame, and their distances."""
    rng = np.random.default_rng(0)
    half = 0.5 * np.array([PRIMITIVES[name].size for name in YCB_CLASSES])
    points = rng.uniform(-1.3, 1.3, (len(half), 200, 3)) * half[:, None]
    away = [PRIMITIVES[n].distance(p) for n, p in zip(YCB_CLASSES, points, strict=True)]
    return torch.tensor(points).float(), torch.tensor(np.stack(away)).float()


def apart(a, b):
    """Distances of all pairs, exact, as those by way of products are not."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def test_distances_are_those_of_the_primitives(objects, near):
    points, away = near
    found = closest(points, objects.sizes, objects.boxes)
    assert torch.allclose(found.distance, away, atol=1e-6)


def test_closest_points_lie_on_the_surface_as_far_away_as_said(objects, near):
    points, away = near
    found = closest(points, objects.sizes, objects.boxes)
    again = closest(found.point, objects.sizes, objects.boxes)
    assert again.distance.abs().max() < 1e-6
    assert torch.allclose((points - found.point).norm(dim=-1), away.abs(), atol=1e-6)
    assert torch.allclose(found.normal.norm(dim=-1), torch.ones_like(away), atol=1e-5)
    # Inside, the way out is along the normal.
    out = (found.point - points) * found.normal
    assert torch.allclose(out.sum(-1)[away < 0], -away[away < 0], atol=1e-6)


def test_a_grid_lies_on_its_primitive(objects):
    grid = objects.primitive(torch.arange(len(YCB_CLASSES)))
    for name, points in zip(YCB_CLASSES, grid.double().numpy(), strict=True):
        primitive = PRIMITIVES[name]
        away = np.abs(primitive.distance(points))
        # A cylinder's sides are flat between its corners.
        assert away.max() < (1e-6 if primitive.kind == BOX else 0.005 * primitive.size[0]), name
        assert np.allclose(points.max(0), 0.5 * np.array(primitive.size), rtol=0.01)


def test_a_grid_faces_outward(objects):
    grid = objects.primitive(torch.arange(len(YCB_CLASSES)))
    corners = grid[:, objects.faces]
    across = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0],
                                corners[:, :, 2] - corners[:, :, 0])  # fmt: skip
    volume = (across * corners.mean(2)).sum((1, 2)) / 6
    size = 2 * objects.sizes
    expected = size.prod(-1) * torch.where(objects.boxes, 1.0, 0.25 * torch.pi)
    assert torch.allclose(volume, expected, rtol=0.01)


@pytest.mark.parametrize("variant", ["train", "val"])
def test_objects_and_their_colours_are_their_own_mirror_images(variant):
    objects = Objects(variant, "cpu")
    every = torch.arange(len(YCB_CLASSES))
    draw = Draw(8, torch.Generator().manual_seed(0))
    known = torch.cat((objects.primitive(every), objects.primitive_colours(every)), -1)
    others = objects.any(draw)
    for points in (*known, *others):
        seen = points.clone()
        seen[:, 0] *= -1
        assert apart(seen, points).amin(1).max() < 1e-5


def test_contacts_follow_the_rules_of_the_data_sets(held):
    hand = HandModel.open()
    regions = vertex_regions(hand)
    turns = matrix_from_rotvec(held["mano_pose"].unflatten(1, (16, 3)))
    mesh = hand(turns, held["mano_shape"], held["mano_translation"], held["side"])
    assert len(set(held["side"].tolist())) == 2
    differ, total, touching = 0, 0, 0
    for row, vertices in enumerate(mesh.vertices.numpy()):
        index = int(held["object_class"][row, 0])
        surface = ObjectSurface(PRIMITIVES[YCB_CLASSES[index]].mesh())
        pose = np.column_stack(
            (held["object_rotation"][row, 0].numpy(), held["object_position"][row, 0].numpy())
        )
        expected = label_contacts(vertices, regions, [PosedObject(surface, pose)], 1.0)
        kind = held["contact_type"][row].numpy()
        differ += (kind != expected.type).sum()
        both = (kind > 0) & (expected.type > 0)
        point = held["contact_point"][row].numpy()[both]
        # The mesh of a cylinder has flat sides, so a vertex more or less may count.
        assert np.linalg.norm(point - expected.point[both], axis=1).max(initial=0) < 0.006
        total += (expected.type > 0).sum()
        touching += both.any()
        grasped = 0 if expected.type.any() else -1
        assert held["object_grasped"][row] == grasped
    assert touching > 12 and differ <= 0.03 * total


def test_nobody_moves_so_no_contact_is_a_manipulation(held):
    assert (held["contact_type"] < CONTACT_TYPES.index("manipulation")).all()


def test_the_surface_of_the_grasped_object_lies_about_its_pose(held):
    valid = held["object_surface_valid"]
    assert valid.any()
    points, normals = held["object_surface"][valid].unflatten(-1, (2, 3)).unbind(-2)
    rotation, position = held["object_rotation"][valid, 0], held["object_position"][valid, 0]
    index = held["object_class"][valid, 0].numpy()
    local = ((points - position[:, None]) @ rotation).double().numpy()
    assert torch.allclose(normals.norm(dim=-1), torch.ones(normals.shape[:2]), atol=1e-4)
    for item, place in zip(index, local, strict=True):
        primitive = PRIMITIVES[YCB_CLASSES[item]]
        assert np.abs(primitive.distance(place)).max() < 0.003 * max(primitive.size)


def test_every_object_is_in_the_bank_and_validation_has_its_own_grasps():
    train, val = (GraspBank(variant, "cpu") for variant in ("train", "val"))
    drawn = []
    for bank in (train, val):
        held = bank.draw(Draw(4000, torch.Generator().manual_seed(0)), closed=1.0)
        drawn.append(held)
        assert set(held.index.tolist()) == set(range(len(YCB_CLASSES)))
    # Shapes of the hands tell grasps apart; both banks shift them a little.
    assert apart(drawn[0].shape[:500], drawn[1].shape[:500]).min() > 0.5
    assert len(train) > 3 * len(val)
