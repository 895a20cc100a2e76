"""Grasps of an object whose shape and place are known, for the hand as a gripper (`opposition`).

Candidates are pairs of opposite sides of a primitive, and the ways along which the hand can come to
them (antipodal grasps: Nguyen 1988, "Constructing force-closure grasps"). The one is taken that is
nearest to where the operator has his hand, of those that the arm reaches, before and after, with
no part of the robot in the object or the table.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from manip_control.guide_config import GuideConfig
from manip_control.object_room import CLEAR, ObjectRoom
from manip_control.opposition import FRICTION, STYLES, WIDE, Opposition, Style
from manip_control.palm_reach import PalmReach
from manip_core.hand import RIGHT
from manip_core.primitive import BOX, CAPSULE, CUP, CYLINDER, WALL, KnownObject, Primitive
from manip_core.robot_model import ARM_JOINTS, TIP_RADIUS
from manip_core.rotation import angle

_ARM = slice(0, len(ARM_JOINTS))
_GRAVITY = 9.81
_UP = np.array([0.0, 0.0, 1.0])
# The hand opens so much wider than the object [m], and comes the last part in a straight line [m].
OPEN, STANDOFF = 0.03, 0.08
# The widest thing that is grasped [m]; wider ones with less room.
_WIDEST = 0.165
# Tips are kept so high over the table [m].
_OVER_TABLE = TIP_RADIUS + 0.0008
# Of what is round, tips are so near to where it is widest, in radii; it is held there if the line
# of closing leans less than so against its axis (cosine), and it is wider than so many radii.
_WIDEST_PART, _ACROSS = 0.5, 0.7
# Balls that touch an edge a little above their middle still hold what is below it [m].
_OVER_EDGE = 0.005
# Ways about the closing line, and closing lines about an axis [rad].
_TURNS = np.radians(np.arange(0.0, 360.0, 15.0))
# Places along the approach beside the middle, or the deepest one, and of a cup's wall below its
# rim [m].
_SHALLOWER, _BELOW_RIM = (-0.015, 0.0, 0.015, 0.03), (0.02, 0.03, 0.04)
# What costs as much as one: palm beside the operator's [m], turned against it [rad], which counts
# squared; tips beside the object's middle [m]; a closing line out of the level [-].
_BESIDE, _TURNED, _OFF_MIDDLE, _LEANING = 0.15, 1.0, 0.015, 0.25
# A hand is strong enough for twice the weight of a thing that is full and as dense as this
# [kg/m^3], and for so much at least, and at most [N]; what so much less costs as much as one [N].
# Strength is told for the torque that guided fingers have [N m].
_DENSE, _SAFE, _STRONG, _WEAKER = 3000.0, 2.0, (4.0, 14.0), 4.0
_TORQUE = GuideConfig.guide_torque
# Tips may miss their places by so much [m].
_MISSES = 0.004
# Places that are looked at on each part of the way from where the robot is; the way about the
# object goes so high over the start of the grasp [m].
_WAY, _OVER = 6, 0.12
# The hand does not come from below [-].
_UPWARDS = 0.05
# Rise that must be in reach [m]; most that a joint of the arm turns between two of these poses, and
# from where it is [rad].
_RISE, _MOVES, _FARTHEST = 0.12, 1.2, 2.6
_TRIES = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class Grasp:
    """A way to take hold of an object, in ``world``.

    Attributes:
        position, rotation: Of the palm when it grasps, ``(3,)`` [m] and ``(3, 3)``.
        approach: ``(3,)`` unit vector, the way the hand comes.
        centre: ``(3,)`` middle between the tips [m].
        way: Joints ``(22,)`` [rad] of the robot on the way to where the grasp begins, and there.
        gap: Width between the two sides [m].
        opened: Width to which the hand opens before [m].
        opposition: Postures of the fingers.
    """

    position: np.ndarray
    rotation: np.ndarray
    approach: np.ndarray
    centre: np.ndarray
    gap: float
    opened: float
    opposition: Opposition
    way: tuple[np.ndarray, ...]

    @property
    def before(self) -> np.ndarray:
        """``(3,)`` of the palm from where it goes in a straight line [m]."""
        return self.position - STANDOFF * self.approach


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What a plan is asked for.

    Attributes:
        name: Of the object.
        primitive: Its shape.
        place, turn: Of it in ``world``, ``(3,)`` [m] and ``(3, 3)``.
        palm, palm_turn: Where the operator has the palm, likewise.
        q: ``(22,)`` where the robot is [rad].
        skip: So many grasps that could be done are passed over: they were tried.
        led: The grasp that is led to already, with what is left of its way: only that is wanted.
        others: What else is known to stand about; nothing is grasped through it.
    """

    name: str
    primitive: Primitive
    place: np.ndarray
    turn: np.ndarray
    palm: np.ndarray
    palm_turn: np.ndarray
    q: np.ndarray
    skip: int = 0
    led: Grasp | None = None
    others: tuple[KnownObject, ...] = ()

    @property
    def thing(self) -> KnownObject:
        """What is to be grasped."""
        return KnownObject(
            name=self.name, primitive=self.primitive, place=self.place, turn=self.turn
        )


class GraspPlanner:
    """Finds grasps; some milliseconds for most, so it is asked outside of the control loop."""

    def __init__(self, side: str = RIGHT, styles: tuple[Style, ...] = STYLES):
        self._oppositions = [Opposition(side, style) for style in styles]
        self._reach = PalmReach(side)
        self._room = ObjectRoom(side)

    def plan(self, request: Request, skip: int = 0) -> Grasp | None:
        """The nearest grasp that can be done, or None.

        Args:
            request: What is to be grasped.
            skip: So many more that could be done are passed over.

        Returns:
            A grasp; the one that is led to with a way from where the robot is, None for no way.
        """
        self._room.put((request.thing, *request.others))
        if request.led is not None:
            return self._again(request.led, request)
        skip += request.skip
        rows = [self._offered(hand, request) for hand in self._oppositions]
        which = np.repeat(np.arange(len(rows)), [len(row[0]) for row in rows])
        cost, palms, turns, approach, centre, gaps = (
            np.concatenate(parts) for parts in zip(*rows, strict=True)
        )
        passed = []
        for i in np.argsort(cost)[:_TRIES]:
            hand = self._oppositions[which[i]]
            grasp = Grasp(
                position=palms[i],
                rotation=turns[i],
                approach=approach[i],
                centre=centre[i],
                gap=float(gaps[i]),
                opened=float(min(gaps[i] + OPEN, hand.widest)),
                opposition=hand,
                way=(),
            )
            before = self._before(grasp, request)
            if before is None:
                continue
            way = self._way(grasp, before, request)
            if way is None:
                passed.append(replace(grasp, way=(before,)))
            elif not skip:
                return replace(grasp, way=way)
            else:
                skip -= 1
        # The operator may find a way about it.
        return passed[skip] if skip < len(passed) else None

    def _offered(self, hand: Opposition, request: Request) -> tuple[np.ndarray, ...]:
        """Grasps that one opposition has for it, whether the arm gets there or not.

        Returns:
            Cost ``(n,)``; palm ``(n, 3)`` [m] and ``(n, 3, 3)``; approach ``(n, 3)``; middle
            between the tips ``(n, 3)`` [m]; width ``(n,)`` [m].
        """
        *about, gaps = (
            np.concatenate(rows)
            for rows in zip(
                candidates(request.primitive, hand.style.room),
                _from_above(request.primitive, request.turn[2]),
                strict=True,
            )
        )
        offset, closing, approach = (rows @ request.turn.T for rows in about)
        centre = request.place + offset
        palms, turns = hand.palm(centre, closing, approach)
        up = turns[:, 2] @ hand.frame
        raised = np.maximum(0.0, _OVER_TABLE - centre[:, 2] - _lowest(hand, up, gaps))
        centre[:, 2] += raised
        palms[:, 2] += raised
        cost = np.linalg.norm(palms - request.palm, axis=-1) / _BESIDE
        cost += (angle(turns @ request.palm_turn.T) / _TURNED) ** 2
        cost += np.linalg.norm(centre - request.place, axis=-1) / _OFF_MIDDLE
        cost += np.abs(closing[:, 2]) / _LEANING
        weaker = _needed(request.primitive) - hand.strength(gaps, up, _TORQUE)
        cost += np.maximum(weaker, 0.0) / _WEAKER
        local = np.abs((centre - request.place) @ request.turn)
        inside = (local <= request.primitive.half + _OVER_EDGE).all(axis=-1)
        if request.primitive.kind != BOX:
            # What is round is held where it is widest, or slips out.
            half, along = request.primitive.half, 2
            if request.primitive.kind == CAPSULE:
                along = int(half.argmax())
            radius = np.delete(half, along).min()
            beside = np.linalg.norm(np.delete(local, along, axis=-1), axis=-1)
            across = np.abs(closing @ request.turn[:, along]) < _ACROSS
            round_there = across & (gaps > _ACROSS * radius)
            inside &= ~round_there | (beside < _WIDEST_PART * radius)
        there = inside & (approach[:, 2] <= _UPWARDS) & (hand.misses(gaps) < _MISSES)
        return tuple(part[there] for part in (cost, palms, turns, approach, centre, gaps))

    def _again(self, grasp: Grasp, request: Request) -> Grasp | None:
        """A grasp with what is left of its way, or with another, where that is free no more."""
        if self._is_free(request.q, grasp.way[0]):
            return grasp
        way = self._way(grasp, grasp.way[-1], request)
        return None if way is None else replace(grasp, way=way)

    def _way(self, grasp: Grasp, before: np.ndarray, request: Request) -> tuple | None:
        """Joints on a free way to the start of the grasp: straight, over it, or up and over it;
        None for no way."""
        if self._is_free(request.q, before):
            return (before,)
        over = grasp.before + _OVER * _UP
        above, found = self._reach.solve(over, grasp.rotation, before)
        if not found or _apart(above, before) > _MOVES:
            return None
        if not self._is_free(above, before):
            return None
        if self._is_free(request.q, above):
            return above, before
        place, turn = self._reach.pose(request.q)
        raised, found = self._reach.solve(place + _OVER * _UP, turn, request.q)
        free = found and self._is_free(request.q, raised)
        return (raised, above, before) if free and self._is_free(raised, above) else None

    def _is_free(self, start: np.ndarray, end: np.ndarray) -> bool:
        """Nothing of the robot meets objects or table between two postures."""
        shares = np.linspace(0.0, 1.0, _WAY + 1)[1:, None]
        return all(self._room.is_clear(q, CLEAR) for q in (1.0 - shares) * start + shares * end)

    def _before(self, grasp: Grasp, request: Request) -> np.ndarray | None:
        """Joints ``(22,)`` [rad] from where the grasp begins; None where it cannot be done."""
        start = np.concatenate((request.q[_ARM], grasp.opposition.joints(grasp.opened)))
        at, found = self._reach.solve(grasp.position, grasp.rotation, start)
        if not found or self._room.touches(at):
            return None
        before, found = self._reach.solve(grasp.before, grasp.rotation, at)
        if not found or _apart(before, at) > _MOVES or self._room.touches(before):
            return None
        if _apart(before, request.q) > _FARTHEST:
            return None
        raised = grasp.position + _RISE * _UP
        after, found = self._reach.solve(raised, grasp.rotation, at)
        return before if found and _apart(after, at) <= _MOVES else None


def _lowest(hand: Opposition, up: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """How high the lowest tip's centre is over the middle between both sides ``(n,)`` [m], opened
    or closed, where ``up`` ``(n, 3)`` points against gravity in the opposition's frame."""
    lowest = np.empty(len(gaps))
    for gap in np.unique(gaps):
        wide = min(gap + OPEN, hand.widest)
        tips = np.concatenate((hand.tips(gap), hand.tips(wide)))
        lowest[gaps == gap] = (up[gaps == gap] @ tips.T).min(axis=1)
    return lowest


def _needed(primitive: Primitive) -> float:
    """With how much each side should be able to press [N], for what weighs nobody knows what."""
    weight = _SAFE * _DENSE * _GRAVITY * float(np.prod(2 * primitive.half))
    return float(np.clip(weight / (2 * FRICTION), *_STRONG))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b)[_ARM].max())


@lru_cache(maxsize=64)
def candidates(
    primitive: Primitive, room: float = WIDE.room
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Grasps of a shape, in its own frame, with so much room for it [m] from the line between the
    tips to the palm.

    Returns:
        Middle between the tips ``(n, 3)`` [m]; unit vectors ``(n, 3)`` from the fingers to the
        thumb, and along which the hand comes; and width ``(n,)`` [m].
    """
    find = {BOX: _of_box, CYLINDER: _of_cylinder, CAPSULE: _of_capsule, CUP: _of_cup}
    rows = [row for row in find[primitive.kind](primitive.half, room) if row[3] <= _WIDEST]
    if not rows:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    centre, closing, approach, gap = zip(*rows, strict=True)
    return np.array(centre), np.array(closing), np.array(approach), np.array(gap)


def _across(closing, ways, widths, gap, room) -> list[tuple]:
    """Both ways of closing along a line, from all sides about it, as deep as there is room."""
    rows = []
    for turn in _TURNS:
        approach = np.cos(turn) * ways[0] + np.sin(turn) * ways[1]
        extent = abs(np.cos(turn)) * widths[0] + abs(np.sin(turn)) * widths[1]
        for more in _SHALLOWER:
            back = max(0.0, extent - room) + more
            rows += [(-back * approach, sign * closing, approach, gap) for sign in (1.0, -1.0)]
    return rows


def _from_above(primitive: Primitive, up: np.ndarray) -> tuple[np.ndarray, ...]:
    """As `candidates`: those of round things that lie, exactly from above."""
    half, along = primitive.half, 2
    if primitive.kind == CAPSULE:
        along = int(half.argmax())
    axis = np.eye(3)[along]
    closing = np.cross(axis, up)
    length = np.linalg.norm(closing)
    width = 2 * float(np.delete(half, along).min())
    if primitive.kind == BOX or length < 0.5 or width > _WIDEST:
        return tuple(rows[:0] for rows in candidates(primitive))
    closing /= length
    approach = np.cross(axis, closing)
    approach *= -np.sign(approach @ up)
    rows = [
        (off * half[along] * axis - more * approach, sign * closing, approach, width)
        for off in (0.0, 0.2, -0.2)
        for more in _SHALLOWER[:3]
        for sign in (1.0, -1.0)
    ]
    return tuple(np.array(part) for part in zip(*rows, strict=True))


def _of_box(half: np.ndarray, room: float) -> list[tuple]:
    axes, rows = np.eye(3), []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        rows += _across(axes[i], (axes[j], axes[k]), (half[j], half[k]), 2 * half[i], room)
    return rows


def _of_cylinder(half: np.ndarray, room: float) -> list[tuple]:
    radius, height = half[0], half[2]
    up, rows = np.array([0.0, 0.0, 1.0]), []
    for turn in _TURNS[: len(_TURNS) // 2]:
        closing = np.array([np.cos(turn), np.sin(turn), 0.0])
        beside = np.cross(up, closing)
        rows += _across(closing, (beside, up), (radius, height), 2 * radius, room)
    x, y = np.eye(3)[:2]
    return rows + _across(up, (x, y), (radius, radius), 2 * height, room)


def _of_capsule(half: np.ndarray, room: float) -> list[tuple]:
    along = int(half.argmax())
    radius, rows = half.min(), []
    axis = np.eye(3)[along]
    first, second = np.eye(3)[(along + 1) % 3], np.eye(3)[(along + 2) % 3]
    for turn in _TURNS:
        closing = np.cos(turn) * first + np.sin(turn) * second
        beside = np.cross(axis, closing)
        for off in (0.0, 0.2, -0.2):
            place = off * half[along] * axis
            rows += [(place, closing, sign * beside, 2 * radius) for sign in (1.0, -1.0)]
    return rows


def _of_cup(half: np.ndarray, room: float) -> list[tuple]:
    """About the whole, as a cylinder; and across the wall, from above."""
    up = np.array([0.0, 0.0, 1.0])
    rows = _of_cylinder(half, room)
    for turn in _TURNS:
        out = np.array([np.cos(turn), np.sin(turn), 0.0])
        for below in _BELOW_RIM:
            if below < 2 * half[2] - 0.013:
                place = (half[0] - WALL / 2) * out + (half[2] - below) * up
                rows += [(place, sign * out, -up, WALL) for sign in (1.0, -1.0)]
    return rows
