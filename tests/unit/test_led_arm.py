"""The arm of a led hand: it goes its way, round what is in it, and says when it is held up."""

import numpy as np
import pytest

from manip_control.led_arm import ARM, LedArm
from manip_control.object_room import ObjectRoom
from manip_control.palm_reach import PalmReach
from manip_core.primitive import CYLINDER, KnownObject, Primitive
from manip_core.robot_model import home

HOME = home()
CAN = Primitive(CYLINDER, (0.06, 0.06, 0.12))
PERIOD, SPEED = 0.008, 0.9
# What is kept from the object, but for what a step's bend takes [m].
KEPT = 0.0185


class Rig:
    """An arm on a way of 30 cm to the side, a can somewhere half-way, and a robot that does as it
    is told at once."""

    def __init__(self, ahead: float, up: float, along: float = 0.15):
        reach = PalmReach()
        palm, rotation = reach.pose(HOME)
        self.end, found = reach.solve(palm + np.array((0.0, 0.3, 0.0)), rotation, HOME)
        self.middle, _ = reach.solve(palm + np.array((0.0, 0.15, 0.0)), rotation, HOME)
        assert found
        thing = KnownObject(
            name="can", primitive=CAN, place=palm + np.array((ahead, along, up)), turn=np.eye(3)
        )
        self.room = ObjectRoom()
        self.room.put([thing])
        self.arm = LedArm(reach, ObjectRoom())
        self.arm.begin((self.end,), HOME)
        self.arm.keep_off([thing])

    def go(self, target: np.ndarray, share: float, seconds: float) -> np.ndarray:
        """Postures ``(n, 22)`` on the way."""
        q, said = HOME.copy(), []
        # He begins at home, too.
        self.arm.towards(HOME, 0.0, SPEED, q, PERIOD)
        self.arm.take(q, HOME, PERIOD)
        for _ in range(round(seconds / PERIOD)):
            helped = self.arm.towards(target, share, SPEED, q, PERIOD)
            self.arm.take(helped, target, PERIOD)
            q = helped.copy()
            said.append(q)
        return np.array(said)

    def nearest(self, said: np.ndarray) -> float:
        return min(self.room.distance(q) for q in said)

    @property
    def straight(self) -> np.ndarray:
        return HOME + np.linspace(0.0, 1.0, 60)[:, None] * (self.end - HOME)


def test_a_free_way_is_gone_to_its_end():
    rig = Rig(-0.1, 0.1)
    said = rig.go(HOME, 1.0, 2.0)
    np.testing.assert_array_equal(said[-1][ARM], rig.end[ARM])
    assert not rig.arm.held_up
    assert np.abs(np.diff(said, axis=0)).max() <= SPEED * PERIOD + 1e-9


@pytest.mark.parametrize(("ahead", "up"), [(0.05, 0.2), (0.1, 0.2), (0.08, 0.12)])
def test_it_goes_round_what_is_in_its_way(ahead, up):
    rig = Rig(ahead, up)
    assert rig.nearest(rig.straight) < 0.012
    said = rig.go(HOME, 1.0, 5.0)
    assert rig.nearest(said) > KEPT
    np.testing.assert_allclose(said[-1][ARM], rig.end[ARM], atol=1e-3)
    assert not rig.arm.held_up


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_an_operator_who_draws_it_into_the_object_is_not_followed_there(share):
    rig = Rig(0.05, 0.1)
    assert rig.room.distance(rig.middle) < 0.0
    said = rig.go(rig.middle, share, 3.0)
    assert rig.nearest(said) > KEPT
    # He is followed as far as can be, and led on once he is out of it.
    assert np.abs(said[-1] - HOME).max() > 0.05


def test_what_stands_right_in_its_way_holds_it_up():
    rig = Rig(0.05, 0.1)
    assert rig.nearest(rig.straight) < -0.02
    said = rig.go(HOME, 1.0, 5.0)
    assert rig.nearest(said) > KEPT and rig.arm.held_up
    rig.arm.end()
    assert not rig.arm.held_up


def test_a_way_that_ends_nearer_is_gone_to_its_end():
    rig = Rig(0.12, 0.1, along=0.3)
    last = rig.room.distance(rig.end)
    assert 0.0 < last < 0.018
    said = rig.go(HOME, 1.0, 4.0)
    np.testing.assert_allclose(said[-1][ARM], rig.end[ARM], atol=2e-3)
    assert rig.nearest(said) > last - 0.003


def test_without_a_way_the_operator_is_followed_to_the_bit():
    rig = Rig(0.05, 0.1)
    rig.arm.end()
    said = rig.go(rig.middle, 0.0, 2.0)
    np.testing.assert_array_equal(said[-1][ARM], rig.middle[ARM])


def test_an_arm_that_stands_while_it_should_come_is_told():
    rig = Rig(-0.1, 0.1)
    # Nothing moves it: it is far behind soon, and no longer led on.
    for _ in range(100):
        helped = rig.arm.towards(HOME, 1.0, SPEED, HOME, PERIOD)
        rig.arm.take(helped, HOME, PERIOD)
        stands = rig.arm.stands(HOME, PERIOD)
    assert stands and 0.3 < rig.arm.behind(HOME) < 0.4
    # A little behind, it is given a while.
    told, near = [], helped.copy()
    near[ARM] -= 0.1
    for _ in range(100):
        told.append(rig.arm.stands(near, PERIOD))
    assert not any(told[:55]) and all(told[70:])
    # Who moves is not held up, and who is there does not have to.
    assert not any(rig.arm.stands(near + 0.02 * np.sin(k), PERIOD) for k in range(1, 100))
    assert not any(rig.arm.stands(helped, PERIOD) for _ in range(100))
