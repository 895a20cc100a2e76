"""Hand poses of the synthetic world: within the joints' ranges, bent the right way, touching."""

import pytest
import torch

from manip_core.hand_skeleton import FINGERS, Keypoint
from manip_model.hand_model import HandModel
from manip_training.synthetic.arms import Arms
from manip_training.synthetic.draw import Draw
from manip_training.synthetic.poses import FAMILIES, NUM_ANGLES, TOUCHES, PoseSpace
from manip_training.synthetic.touching import SelfContact, solve3

TOLERANCE = 3e-3  # [m] of a touch


@pytest.fixture(scope="module")
def hand():
    return HandModel.open()


@pytest.fixture(scope="module")
def space(hand):
    return PoseSpace(hand, "cpu")


@pytest.fixture(scope="module")
def contact(hand, space):
    return SelfContact(hand, space, "cpu")


def numbers(size, seed=0):
    return Draw(size, torch.Generator().manual_seed(seed))


def mesh_of(hand, space, angles, shape=None):
    size = len(angles)
    still = torch.eye(3).expand(size, 1, 3, 3)
    shape = torch.zeros(size, 10) if shape is None else shape
    turns = torch.cat((still, space.rotations(angles)), 1)
    return hand(turns, shape, torch.zeros(size, 3), torch.ones(size, dtype=torch.long))


@pytest.fixture(scope="module")
def solved(space, contact):
    """Of every family 16 hands: its row, shape, angles before and after, and gaps."""
    family = torch.arange(len(FAMILIES)).repeat_interleave(16)
    draw = numbers(len(family))
    shape = draw.normal(10).clamp(-2.5, 2.5)
    before = space.angles(draw, family, family, torch.zeros(len(family)), 5)
    after, gaps = contact.touch(before, space.touch[family], shape)
    return family, shape, before, after, gaps


def test_angles_stay_within_the_limits(space, solved):
    for angles in solved[2:4]:
        assert (angles >= space.low - 1e-5).all() and (angles <= space.high + 1e-5).all()


def test_no_angles_are_the_hand_at_rest(hand, space):
    still = torch.eye(3).expand(1, 15, 3, 3)
    assert torch.allclose(space.rotations(torch.zeros(1, NUM_ANGLES)), still, atol=1e-6)


def test_fingers_bend_to_the_palm_and_spread_to_the_thumb(hand, space):
    flat = mesh_of(hand, space, torch.zeros(1, NUM_ANGLES)).joints[0]
    for finger in range(1, len(FINGERS)):
        tip = 4 * (finger + 1)
        for joint in range(3):
            angles = torch.zeros(1, NUM_ANGLES)
            angles[0, 4 * (finger - 1) + joint] = 0.5
            # The palm faces -y.
            assert mesh_of(hand, space, angles).joints[0, tip, 1] < flat[tip, 1] - 0.005
        angles = torch.zeros(1, NUM_ANGLES)
        angles[0, 4 * (finger - 1) + 3] = 0.2
        # The thumb lies at +z.
        assert mesh_of(hand, space, angles).joints[0, tip, 2] > flat[tip, 2] + 0.005


def test_an_opposed_thumb_leaves_the_palm_and_an_adducted_one_nears_the_fingers(hand, space):
    flat = mesh_of(hand, space, torch.zeros(1, NUM_ANGLES)).joints[0]
    oppose, adduct = torch.zeros(2, 1, NUM_ANGLES)
    oppose[0, 16], adduct[0, 17] = 0.6, 0.4
    tip = Keypoint.THUMB_TIP
    assert mesh_of(hand, space, oppose).joints[0, tip, 1] < flat[tip, 1] - 0.02
    assert mesh_of(hand, space, adduct).joints[0, tip, 2] < flat[tip, 2] - 0.02


def test_families_that_touch_do(space, solved):
    family, _, _, _, gaps = solved
    touches = space.touch[family] > 0
    assert touches.any() and (gaps[~touches] == 0).all()
    best = gaps[touches].amin(1)
    assert (best < TOLERANCE).float().mean() > 0.95
    for name in ("index", "middle", "ring"):
        rows = space.touch[family] == TOUCHES.index(name)
        assert gaps[rows].amin(1).max() < TOLERANCE, name


def test_a_gap_is_that_of_the_mesh(hand, space, contact, solved):
    family, shape, _, after, gaps = solved
    mesh = mesh_of(hand, space, after[:, 0], shape)
    touch = space.touch[family]
    rows = torch.arange(len(family))
    pad = mesh.vertices[:, contact.pad]
    target = mesh.vertices[rows, contact.targets[touch]]
    gap = (pad - target).norm(dim=-1)
    asked = touch > 0
    # Skin that more than one joint moves differs a little from what its own joint alone does.
    assert torch.allclose(gap[asked], gaps[asked, 0], atol=2.5e-3)


def test_touching_moves_nothing_but_what_may_touch(space, solved):
    family, _, before, after, _ = solved
    still = space.touch[family] == 0
    assert torch.allclose(before[still], after[still], atol=1e-6)
    pinch = space.touch[family] == TOUCHES.index("index")
    assert torch.allclose(before[pinch][..., 4:16], after[pinch][..., 4:16], atol=1e-6)


def test_the_best_candidate_overlaps_least(contact, solved):
    _, shape, _, after, gaps = solved
    nothing = torch.zeros_like(gaps)
    chosen = contact.best(after, nothing, shape)
    overlap = contact.overlap(after, shape)
    assert torch.allclose(contact.overlap(chosen[:, None], shape)[:, 0], overlap.amin(1))


def test_overlap_tells_a_hand_that_passes_through_itself(space, contact):
    flat = torch.zeros(1, 1, NUM_ANGLES)
    crossed = flat.clone()
    # Index and middle finger at the same place.
    crossed[0, 0, 3], crossed[0, 0, 7] = -0.25, 0.25
    shape = torch.zeros(1, 10)
    assert contact.overlap(flat, shape) < 1e-4
    assert contact.overlap(crossed, shape) > 0.01


def test_solve3_solves():
    half = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0))
    matrix = half @ half.mT + torch.eye(3)
    vector = half[..., 0]
    assert torch.allclose((matrix @ solve3(matrix, vector)[..., None])[..., 0], vector, atol=1e-4)


def test_an_arm_closes_the_hand_but_for_its_far_end(hand):
    arms = Arms(hand, "cpu")
    rim = len(arms.rim)
    count = len(hand.template)
    behind = arms.faces - rim + count
    faces = torch.cat(
        (hand.faces, torch.where(arms.faces < rim, arms.rim[arms.faces.clamp(max=rim - 1)], behind))
    )
    edges = [(int(f[k]), int(f[(k + 1) % 3])) for f in faces for k in range(3)]
    assert len(set(edges)) == len(edges)
    open_edges = [edge for edge in edges if edge[::-1] not in set(edges)]
    assert len(open_edges) == rim and min(min(edge) for edge in open_edges) >= count
