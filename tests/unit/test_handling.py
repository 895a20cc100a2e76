"""Hands that handle things: they come to them open, hold them still in the hand, and let go."""

import pytest
import torch

from manip_core.hand_skeleton import TIPS, Keypoint
from manip_model.hand_model import HandModel
from manip_model.rotations import geodesic
from manip_training.synthetic.handling import keypoint_model
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

SIZE, FRAMES, RATE = 24, 210, 30.0


@pytest.fixture(scope="module")
def world():
    return SyntheticWorld(WorldConfig(free=0.1), size=64)


@pytest.fixture(scope="module")
def handlings(world):
    return world.handlings()


def drawn(handlings, size=SIZE, frames=FRAMES, rate=RATE, seed=0, whole=True):
    return handlings.draw(size, frames, rate, torch.Generator().manual_seed(seed), whole)


@pytest.fixture(scope="module")
def handling(handlings):
    return drawn(handlings)


def in_hand(handling):
    """Turn and place of the thing in the hand's own frame at rest."""
    back = handling.motion.rotation.mT
    wrist = handling.motion.joints[:, :, Keypoint.WRIST]
    place = (back @ (handling.position - wrist)[..., None])[..., 0]
    return back @ handling.rotation, place


def opening(joints):
    """How far the tips are from the wrist, all five together: bent fingers are nearer."""
    tips = joints[..., TIPS.tolist(), :] - joints[..., Keypoint.WRIST, :][..., None, :]
    return tips.norm(dim=-1).sum(-1)


def test_a_seed_makes_a_sequence_at_any_rate(handlings, handling):
    again = drawn(handlings, 4, 60, 2 * RATE)
    slow = drawn(handlings, 4, 30, RATE)
    assert torch.equal(drawn(handlings).position, handling.position)
    assert torch.allclose(again.motion.joints[:, ::2], slow.motion.joints, atol=1e-5)
    assert torch.allclose(again.position[:, ::2], slow.position, atol=1e-5)


def test_what_is_held_does_not_move_in_the_hand(handling):
    turn, place = in_hand(handling)
    some = False
    for row in range(SIZE):
        held = handling.held[row]
        if held.sum() < 2:
            continue
        some = True
        assert (place[row, held] - place[row, held][:1]).norm(dim=-1).max() < 1e-4
        assert geodesic(turn[row, held], turn[row, held][:1]).max() < 1e-3
    assert some


def test_what_is_not_held_does_not_move_at_all(handling):
    moved = handling.position.diff(dim=1).norm(dim=-1)
    assert moved[~handling.grasped].max() < 1e-5
    free = ~(handling.held[:, 1:] | handling.held[:, :-1])
    assert moved[free].max() < 1e-4
    assert moved[handling.grasped].max() > 1e-3
    assert not handling.contact[~handling.grasped].any()


def test_the_hand_opens_widest_on_its_way_and_then_closes(handling):
    wide = opening(handling.motion.joints)
    apart = (handling.motion.joints[:, :, 9] - handling.position).norm(dim=-1)
    opens = 0
    rows = handling.grasped.nonzero()[:, 0].tolist()
    for row in rows:
        first = int(handling.held[row].int().argmax())
        before = wide[row, max(first - 24, 0) : first]
        opens += bool(before.max() > wide[row, first] + 0.01)
        # It comes nearer all the while.
        assert apart[row, max(first - 12, 0)] >= apart[row, first] - 0.005
    assert opens > 0.8 * len(rows)


def test_contact_comes_before_the_hold_and_ends_after_it(handling):
    rows = handling.grasped
    assert (handling.contact | ~handling.held)[rows].float().mean() > 0.97
    early = handling.contact.int().argmax(1) <= handling.held.int().argmax(1)
    assert early[rows & handling.contact.any(1)].all()


def test_the_hand_of_keypoints_is_the_same_hand():
    model = HandModel.open()
    few = keypoint_model(model)
    generator = torch.Generator().manual_seed(0)
    turns = torch.linalg.qr(torch.randn(5, 16, 3, 3, generator=generator)).Q
    turns = turns * torch.linalg.det(turns)[..., None, None]
    shape, place = torch.randn(5, 10, generator=generator), torch.zeros(5, 3)
    side = torch.tensor([0, 1, 1, 0, 1])
    expected = model(turns, shape, place, side).joints
    assert torch.allclose(few(turns, shape, place, side).joints, expected, atol=1e-5)


def test_rows_are_drawn_as_often_as_they_weigh(handlings, world):
    own = world.handlings()
    weights = torch.zeros(len(own.bank))
    weights[7] = 2.0
    own.weigh(weights)
    assert (drawn(own, 8, 2).index == own.bank.rows(torch.tensor([7])).index).all()
    with pytest.raises(ValueError, match="weights must be"):
        own.weigh(torch.zeros(len(own.bank)))
    with pytest.raises(ValueError, match="frames must be"):
        drawn(own, 1, 0)


def test_a_film_shows_the_thing(world, handlings):
    handling = drawn(handlings, 2, 6, 4.0)
    film = world.film_of(handling, 0, 3)
    assert film.image.shape == (6, 3, 64, 64)
    assert torch.allclose(film.joints, handling.motion.joints[0])
    fx, fy, cx, cy = film.camera
    x, y, z = handling.position[0].unbind(-1)
    assert ((fx * x / z + cx).clamp(0, 63) == fx * x / z + cx).all()
    assert ((fy * y / z + cy).clamp(0, 63) == fy * y / z + cy).all()
