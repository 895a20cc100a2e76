"""Hands over time: they move as hands do, and are the same at every frame rate."""

import pytest
import torch

from manip_training.synthetic.motion import minimum_jerk
from manip_training.synthetic.poses import TOUCHES
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

FRAMES, RATE = 90, 30.0


@pytest.fixture(scope="module")
def motions():
    return SyntheticWorld(WorldConfig(), size=64).motions


def drawn(motions, size=24, frames=FRAMES, rate=RATE, seed=0):
    return motions.draw(size, frames, rate, torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def motion(motions):
    return drawn(motions)


def velocity(x):
    return x.diff(dim=1) * RATE


def test_a_seed_makes_a_motion(motions, motion):
    assert torch.equal(drawn(motions).joints, motion.joints)
    assert not torch.equal(drawn(motions, seed=1).joints, motion.joints)


def test_twice_the_frames_a_second_show_the_same_motion(motions):
    slow = drawn(motions, 4, 30, RATE)
    fast = drawn(motions, 4, 59, 2 * RATE)
    assert torch.allclose(slow.joints[:, :30], fast.joints[:, ::2], atol=1e-5)


def test_bones_keep_their_length_and_fingers_move(motion):
    bone = (motion.joints[:, :, 6] - motion.joints[:, :, 5]).norm(dim=-1)
    assert bone.std(1).max() < 1e-5
    rooted = motion.joints - motion.joints[:, :, :1]
    assert (rooted[:, :, 8].std(1).norm(dim=-1) > 0.01).float().mean() > 0.9


def test_speeds_are_those_of_people(motion):
    wrist = velocity(motion.joints[:, :, 0]).norm(dim=-1)
    tip = velocity(motion.joints[:, :, 8] - motion.joints[:, :, 0]).norm(dim=-1)
    assert 0.05 < wrist.median() < 0.5 and wrist.max() < 3
    assert 0.05 < tip.median() < 0.5 and tip.max() < 4
    # Nothing jumps from one frame to the next.
    assert velocity(velocity(motion.joints)).norm(dim=-1).max() < 150


def test_the_hand_stays_before_the_camera(motion):
    assert motion.joints[..., 2].min() > 0.05


def test_what_is_said_to_touch_is_near(motion):
    touching = motion.touch == TOUCHES.index("index")
    apart = (motion.joints[:, :, 4] - motion.joints[:, :, 8]).norm(dim=-1)
    assert touching.any() and apart[touching].mean() < 0.03 < apart[motion.touch == 0].mean()


def test_the_profile_begins_and_ends_at_rest():
    x = torch.linspace(-0.5, 1.5, 401)
    y = minimum_jerk(x)
    assert y[0] == 0 and y[-1] == 1 and torch.allclose(y[200], torch.tensor(0.5))
    speed = y.diff() / x.diff()
    assert speed.max() == pytest.approx(1.875, abs=1e-3)
    assert (speed >= 0).all()


@pytest.mark.parametrize(("frames", "rate"), [(0, 30.0), (10, 0.0), (10, float("nan"))])
def test_no_time_is_refused(motions, frames, rate):
    with pytest.raises(ValueError, match="frames must be"):
        drawn(motions, 1, frames, rate)
