"""Distances from a known object: as MuJoCo's own, with true gradients; and who meets whom."""

import numpy as np
import pytest

from manip_control.object_room import FAR, ObjectRoom
from manip_control.opposition import Opposition
from manip_control.palm_reach import PalmReach
from manip_core.primitive import BOX, CAPSULE, CYLINDER, KnownObject, Primitive
from manip_core.robot_model import home
from manip_core.rotation import exponential

HOME = home()
HAND = slice(6, 22)


def thing(shape: Primitive, place: np.ndarray, turn: np.ndarray | None = None, name="it"):
    return KnownObject(
        name=name, primitive=shape, place=place, turn=np.eye(3) if turn is None else turn
    )


def before(gap: float, shape: Primitive, turn=(0.0, 0.0, 0.0)) -> ObjectRoom:
    """An object so far before the palm."""
    palm, rotation = PalmReach().pose(HOME)
    room = ObjectRoom()
    place = palm + rotation @ (0.015 + gap + shape.half[0], 0.0, 0.05)
    room.put([thing(shape, place, exponential(np.array(turn)) @ rotation)])
    return room


def test_the_distance_is_that_of_the_nearest_part():
    ball = Primitive(CAPSULE, (0.04, 0.04, 0.0402))
    tip = PalmReach()
    tip.pose(HOME)
    room = ObjectRoom()
    for gap in (0.03, 0.01, -0.005):
        # Straight over the middle finger's tip, a ball of 12 mm.
        room.put([thing(ball, tip.tips[1] + (0.0, 0.0, 0.012 + gap + 0.02))])
        assert room.distance(HOME) == pytest.approx(gap, abs=3e-4)
    room.put([thing(ball, tip.tips[1] + (0.0, 0.0, 0.2))])
    assert room.distance(HOME) == FAR and not len(room.near_rows(HOME)[1])


@pytest.mark.parametrize(
    "shape",
    [
        Primitive(CYLINDER, (0.06, 0.06, 0.1)),
        Primitive(BOX, (0.06, 0.05, 0.1)),
        Primitive(CAPSULE, (0.05, 0.05, 0.12)),
    ],
)
def test_rows_are_the_gradients_of_the_distances(shape):
    room = before(0.02, shape, turn=(0.1, 0.2, 0.3))
    jacobian, distance = room.near_rows(HOME)
    assert jacobian.shape == (len(distance), 6) and len(distance)
    assert distance.min() == pytest.approx(room.distance(HOME))
    nearest, found = jacobian[distance.argmin()], np.empty(6)
    for i in range(6):
        ends = []
        for step in (1e-4, -1e-4):
            q = HOME.copy()
            q[i] += step
            ends.append(room.distance(q))
        found[i] = (ends[0] - ends[1]) / 2e-4
    np.testing.assert_allclose(nearest, found, atol=5e-3)
    assert np.abs(found).max() > 0.05


def test_what_touches_and_what_is_clear():
    can = Primitive(CYLINDER, (0.06, 0.06, 0.1))
    assert before(-0.01, can).touches(HOME)
    apart = before(0.03, can)
    gap = apart.distance(HOME)
    assert not apart.touches(HOME)
    assert apart.is_clear(HOME, gap - 0.001) and not apart.is_clear(HOME, gap + 0.001)


def test_fingers_among_themselves_do_not_block_a_way():
    room = before(0.2, Primitive(CYLINDER, (0.06, 0.06, 0.1)))
    fist = HOME.copy()
    fist[HAND] = Opposition().joints(0.0)
    fist[HAND][[9, 10, 11]] += 0.5
    crossed = fist.copy()
    crossed[6], crossed[10] = 0.47, -0.47
    assert room.touches(crossed)
    assert room.is_clear(crossed, 0.02)


def test_the_nearest_of_several_counts_and_what_is_gone_does_not():
    can, box = Primitive(CYLINDER, (0.06, 0.06, 0.1)), Primitive(BOX, (0.06, 0.05, 0.1))
    palm, rotation = PalmReach().pose(HOME)
    near = thing(can, palm + rotation @ (0.075, 0.0, 0.05), rotation, "z")
    far = thing(box, palm + np.array((0.5, 0.5, 0.0)), name="a")
    room = ObjectRoom()
    for things in ([near, far], [far, near], [near]):
        room.put(things)
        assert 0.0 < room.distance(HOME) < 0.02
        assert len(room.near_rows(HOME)[1])
    room.put([far])
    assert room.distance(HOME) == FAR and room.is_clear(HOME, 0.02)
    room.put([])
    assert room.distance(HOME) == FAR and not room.touches(HOME)
