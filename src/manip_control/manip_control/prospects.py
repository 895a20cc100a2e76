"""The objects that are known, and what a plan is asked for."""

from collections.abc import Callable

import numpy as np

from manip_control.grasp_planner import Grasp, Request
from manip_core.primitive import KnownObject
from manip_core.rotation import logarithm

# An object that moved by so much is planned for anew [m, rad].
_MOVED, _ROLLED = 0.01, 0.15
# So long after a plan the next one is asked for, and after a look at a way the next [s].
_AGAIN, _LOOK = 0.5, 0.1
# A plan would be the last one over again where palm, robot and object have moved by less [m, rad].
_PALM_MOVED, _PALM_TURNED, _JOINTS = 0.03, 0.2, 0.1
# So many objects about the one that is grasped are looked at.
_MOST = 12
# A way that was held up is given up for one that lies so many grasps farther.
_OTHERS = 3


class Prospects:
    """Times are arguments, in [s].

    Attributes:
        things: The known objects by name.
        asked: What a plan is wanted for, or None.
    """

    def __init__(self):
        self.things: dict[str, KnownObject] = {}
        self.asked: Request | None = None
        self._seen_at = -np.inf
        self._speeds: dict[str, float] = {}
        self._after = -np.inf
        self._last: Request | None = None
        # Grasps of each object that something held up, as are passed over by the next plan.
        self._failed: dict[str, int] = {}

    def release(self) -> None:
        """Nothing is wanted, and nothing has failed."""
        self.asked, self._last, self._after, self._failed = None, None, -np.inf, {}

    def see(self, things: list[KnownObject], now: float) -> None:
        """Take where all known objects are; those that are not named are known no more."""
        gap = now - self._seen_at
        before, self.things = self.things, {thing.name: thing for thing in things}
        self._speeds = {
            name: float(np.linalg.norm(thing.place - before[name].place) / gap)
            for name, thing in self.things.items()
            if name in before and gap > 0.0
        }
        self._seen_at = now

    def expect(self, now: float, timeout: float) -> None:
        """Where nobody has told of objects for so long, they may be anywhere: none is known."""
        if now - self._seen_at > timeout:
            self.things = {}

    def moved(self, planned: KnownObject) -> bool:
        """The object is no longer where it was planned for."""
        thing = self.things.get(planned.name)
        if thing is None:
            return True
        rolled = np.linalg.norm(logarithm(thing.turn @ planned.turn.T))
        return bool(np.linalg.norm(thing.place - planned.place) > _MOVED or rolled > _ROLLED)

    def nearest(
        self, away: Callable[[np.ndarray], float], within: float, rest: float
    ) -> tuple[float, str]:
        """The nearest object that can be reached for: how far it is [m], and its name; infinitely
        far, and no name, for none.

        Args:
            away: How far the operator is from a place [m].
            within: Objects that are farther are left out [m].
            rest: Those that are faster as well [m/s].
        """
        near = [
            (away(thing.place), name)
            for name, thing in self.things.items()
            if self._speeds.get(name, np.inf) < rest
        ]
        found = min(near, default=(np.inf, ""))
        return found if found[0] <= within else (np.inf, "")

    def look(
        self, name: str, palm: tuple[np.ndarray, np.ndarray], q: np.ndarray, now: float
    ) -> None:
        """Ask for a grasp of an object, if it is time to; of none where it has no name.

        Args:
            name: Of the object.
            palm: The operator's.
            q: ``(22,)`` where the robot is [rad].
            now: The present.
        """
        if not name or now < self._after:
            self.asked = None
        elif self.asked is None or self.asked.name != name:
            self._ask(self._request(self.things[name], palm, q))

    def look_again(
        self,
        thing: KnownObject,
        led: Grasp | None,
        palm: tuple[np.ndarray, np.ndarray],
        q: np.ndarray,
        now: float,
    ) -> None:
        """Ask whether the way that is left to a grasp is still free, if it is time to; or for
        another grasp of the same object, with None for the one that is ``led`` to."""
        if self.asked is None and now >= self._after:
            self._ask(self._request(thing, palm, q, led))

    def answered(self, request: Request, grasp: Grasp | None, now: float) -> bool:
        """A plan has come; False where it is not what is asked for."""
        if self.asked is not request:
            return False
        self.asked = None
        self._after = now + (_AGAIN if request.led is None else _LOOK)
        if request.led is None:
            self._last = request
            if grasp is None:
                self._failed.pop(request.name, None)
        return True

    def rest(self, now: float) -> None:
        """Nothing is asked for a while."""
        self.asked, self._last, self._after = None, None, now + _AGAIN

    def soon(self) -> None:
        """What comes next is asked for at once."""
        self.asked, self._last, self._after = None, None, -np.inf

    def held_up(self, name: str) -> None:
        """Grasps like the last one of this object are passed over."""
        self._failed[name] = self._failed.get(name, 0) + _OTHERS
        self.soon()

    def held(self) -> None:
        """Something is held: what failed before has not."""
        self._failed = {}

    def _ask(self, request: Request) -> None:
        last = self._last
        again = request.led is None and last is not None and _alike(request, last)
        self.asked = None if again else request

    def _request(self, thing: KnownObject, palm, q, led: Grasp | None = None) -> Request:
        return Request(
            name=thing.name,
            primitive=thing.primitive,
            place=thing.place,
            turn=thing.turn,
            palm=palm[0],
            palm_turn=palm[1],
            q=q.copy(),
            skip=self._failed.get(thing.name, 0),
            led=led,
            others=tuple(self._about(thing)),
        )

    def _about(self, thing: KnownObject) -> list[KnownObject]:
        """The nearest others."""
        others = [one for one in self.things.values() if one.name != thing.name]
        others.sort(key=lambda one: np.linalg.norm(one.place - thing.place))
        return others[:_MOST]


def _alike(one: Request, other: Request) -> bool:
    """A plan for one is as good as for the other."""
    return bool(
        one.name == other.name
        and one.skip == other.skip
        and np.linalg.norm(one.place - other.place) < _MOVED
        and np.linalg.norm(logarithm(one.turn @ other.turn.T)) < _ROLLED
        and np.linalg.norm(one.palm - other.palm) < _PALM_MOVED
        and np.linalg.norm(logarithm(one.palm_turn @ other.palm_turn.T)) < _PALM_TURNED
        and np.abs(one.q - other.q).max() < _JOINTS
    )
