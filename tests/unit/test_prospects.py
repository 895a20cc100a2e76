"""What a plan is asked for: the nearest thing at rest, again and again; others where one failed."""

import numpy as np

from manip_control.prospects import Prospects
from manip_core.primitive import BOX, KnownObject, Primitive

BRICK = Primitive(BOX, (0.05, 0.08, 0.05))
PALM = (np.zeros(3), np.eye(3))
FARTHER = (np.array([0.0, 0.0, 0.04]), np.eye(3))
Q = np.zeros(22)


def thing(name: str, x: float, turn: np.ndarray | None = None) -> KnownObject:
    turn = np.eye(3) if turn is None else turn
    return KnownObject(name=name, primitive=BRICK, place=np.array([x, 0.0, 0.0]), turn=turn)


def away(place: np.ndarray) -> float:
    return float(np.linalg.norm(place))


class Rig:
    def __init__(self, *things: KnownObject):
        self.prospects, self.now = Prospects(), 10.0
        self.show(*things)
        self.show(*things)

    def show(self, *things: KnownObject) -> None:
        self.now += 0.05
        self.prospects.see(list(things), self.now)

    def look(self, within: float = 0.4, palm=PALM):
        _, name = self.prospects.nearest(away, within, 0.05)
        self.prospects.look(name, palm, Q, self.now)
        return self.prospects.asked


def test_the_nearest_is_asked_for_and_kept_until_another_is_nearer():
    rig = Rig(thing("a", 0.3), thing("b", 0.2))
    first = rig.look()
    assert first.name == "b" and first.led is None and first.skip == 0
    assert rig.look() is first
    rig.show(thing("a", 0.3), thing("b", 0.6))
    rig.show(thing("a", 0.3), thing("b", 0.6))
    assert rig.look().name == "a"
    assert rig.look(within=0.2) is None


def test_what_moves_is_left_out_and_what_nobody_tells_of_is_unknown():
    rig = Rig(thing("a", 0.3), thing("b", 0.2))
    rig.show(thing("a", 0.3), thing("b", 0.21))
    assert rig.look().name == "a"
    rig.prospects.expect(rig.now + 0.4, timeout=0.5)
    assert rig.prospects.things
    rig.prospects.expect(rig.now + 0.6, timeout=0.5)
    assert not rig.prospects.things and rig.look() is None


def test_it_asks_again_after_a_while_and_for_a_way_sooner():
    rig = Rig(thing("a", 0.3))
    request = rig.look()
    assert not rig.prospects.answered(object(), None, rig.now)
    assert rig.prospects.answered(request, None, rig.now)
    assert rig.look() is None
    rig.now += 0.45
    assert rig.look(palm=FARTHER) is None
    rig.now += 0.1
    # And only where something has changed.
    assert rig.look() is None
    assert rig.look(palm=FARTHER) is not None
    rig.prospects.rest(rig.now)
    assert rig.look() is None
    rig.now += 0.55
    assert rig.look() is not None
    rig.prospects.soon()
    led = object()
    rig.prospects.look_again(thing("a", 0.3), led, PALM, Q, rig.now)
    way = rig.prospects.asked
    assert way.led is led
    assert rig.prospects.answered(way, None, rig.now)
    rig.prospects.look_again(thing("a", 0.3), led, PALM, Q, rig.now + 0.05)
    assert rig.prospects.asked is None
    rig.prospects.look_again(thing("a", 0.3), led, PALM, Q, rig.now + 0.11)
    assert rig.prospects.asked is not None


def test_grasps_that_were_held_up_are_passed_over_until_none_is_left_or_one_holds():
    rig = Rig(thing("a", 0.3))
    rig.look()
    rig.prospects.held_up("a")
    request = rig.look()
    assert request.skip == 3
    rig.prospects.held_up("a")
    request = rig.look()
    assert request.skip == 6
    # A way that is no more says nothing of grasps.
    rig.prospects.soon()
    rig.prospects.look_again(thing("a", 0.3), object(), PALM, Q, rig.now)
    rig.prospects.answered(rig.prospects.asked, None, rig.now)
    rig.prospects.soon()
    request = rig.look()
    assert request.skip == 6
    rig.prospects.answered(request, None, rig.now)
    rig.prospects.soon()
    assert rig.look().skip == 0
    rig.prospects.held_up("a")
    rig.prospects.held()
    assert rig.look().skip == 0


def test_what_was_moved_or_turned_is_planned_for_anew():
    rig = Rig(thing("a", 0.3))
    planned = thing("a", 0.3)
    assert not rig.prospects.moved(planned)
    rig.show(thing("a", 0.305))
    assert not rig.prospects.moved(planned)
    rig.show(thing("a", 0.312))
    assert rig.prospects.moved(planned)
    c, s = np.cos(0.2), np.sin(0.2)
    rig.show(thing("a", 0.3, np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])))
    assert rig.prospects.moved(planned)
    rig.show()
    assert rig.prospects.moved(planned)
