"""Planned grasps: opposite sides, in reach, free of contact; and none where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from guided_rig import planner, reach
from manip_control.grasp_planner import OPEN, STANDOFF, GraspPlanner, Request, candidates
from manip_control.object_room import ObjectRoom
from manip_control.opposition import WIDE
from manip_core import robot_model
from manip_core.primitive import BOX, CAPSULE, CUP, CYLINDER, KnownObject, Primitive
from manip_core.rotation import angle, exponential

CAN = Primitive(CYLINDER, (0.066, 0.066, 0.1))


def request(primitive: Primitive = CAN, turn: np.ndarray | None = None, **changed) -> Request:
    turn = np.eye(3) if turn is None else turn
    height = float(np.abs(turn[2]) @ primitive.half)
    home = robot_model.home()
    palm, rotation = reach().pose(home)
    whole = Request(
        name="it",
        primitive=primitive,
        place=np.array([0.55, -0.1, height]),
        turn=turn,
        palm=palm,
        palm_turn=rotation,
        q=home,
    )
    return replace(whole, **changed)


@pytest.mark.parametrize(
    "primitive",
    [
        CAN,
        Primitive(BOX, (0.06, 0.16, 0.05)),
        Primitive(CAPSULE, (0.12, 0.018, 0.018)),
        Primitive(CUP, (0.16, 0.16, 0.055)),
    ],
)
def test_candidates_close_on_both_sides_and_come_from_across(primitive):
    centre, closing, approach, gap = candidates(primitive)
    assert len(centre) == len(closing) == len(approach) == len(gap) > 10
    np.testing.assert_allclose(np.linalg.norm(closing, axis=1), 1.0)
    np.testing.assert_allclose(np.linalg.norm(approach, axis=1), 1.0)
    np.testing.assert_allclose((closing * approach).sum(axis=1), 0.0, atol=1e-12)
    assert (gap > 0).all() and (gap <= 0.165).all()


def test_what_is_too_wide_all_over_has_no_candidates():
    assert not len(candidates(Primitive(BOX, (0.3, 0.3, 0.3)))[0])
    assert planner().plan(request(Primitive(BOX, (0.3, 0.3, 0.3)))) is None


@pytest.mark.parametrize(
    "primitive",
    [CAN, Primitive(BOX, (0.05, 0.09, 0.17)), Primitive(CAPSULE, (0.12, 0.018, 0.018))],
)
def test_a_plan_is_in_reach_and_touches_nothing(primitive):
    wanted = request(primitive)
    grasp = planner().plan(wanted)
    assert grasp is not None and grasp.opened == pytest.approx(grasp.gap + OPEN)
    before = grasp.way[-1]
    place, turn = reach().pose(before)
    np.testing.assert_allclose(place, grasp.position - STANDOFF * grasp.approach, atol=2e-3)
    assert angle(turn @ grasp.rotation.T) < 0.01
    at, found = reach().solve(grasp.position, grasp.rotation, before)
    assert found
    room = ObjectRoom()
    room.put([wanted.thing])
    assert not room.touches(at) and not room.touches(before)
    # The same posture, with the object moved into the palm, is seen to touch.
    room.put([replace(wanted.thing, place=grasp.position)])
    assert room.touches(at)


def test_the_nearest_is_taken_and_others_can_be_asked_for():
    first = planner().plan(request())
    near = planner().plan(request(palm=first.position, palm_turn=first.rotation))
    np.testing.assert_allclose(near.position, first.position, atol=0.05)
    second = planner().plan(request(), skip=1)
    assert np.abs(second.position - first.position).max() > 1e-3


@pytest.mark.parametrize("kind", [CYLINDER, CAPSULE, CUP])
def test_what_is_round_is_held_where_it_is_widest(kind):
    """A slice of it, off its axis, would be squeezed out of the hand."""
    wanted = request(Primitive(kind, (0.066, 0.066, 0.11)))
    for hand in planner()._oppositions:
        _, _, _, _, centres, gaps = planner()._offered(hand, wanted)
        whole = np.abs(gaps - 0.066) < 1e-6
        beside = np.linalg.norm((centres - wanted.place)[whole, :2], axis=-1)
        assert whole.any() and beside.max() <= 0.5 * 0.033


def test_what_lies_low_is_grasped_from_above_with_the_tips_over_the_table():
    marker = Primitive(CAPSULE, (0.12, 0.018, 0.018))
    # At 0.4 rad, say, a wrist would have to turn by 3 rad from home, which is too far.
    for yaw in (0.0, 0.8, 1.2, 2.0):
        wanted = request(marker, exponential(np.array([0.0, 0.0, yaw])))
        grasp = planner().plan(wanted)
        assert grasp.approach[2] < -0.9 and grasp.centre[2] > robot_model.TIP_RADIUS
        assert grasp.gap == pytest.approx(0.018)


def test_nothing_is_grasped_through_what_stands_beside_it():
    free = planner().plan(request())
    place = free.position + 0.06 * free.rotation[:, 2]
    wall = KnownObject(
        name="wall", primitive=Primitive(BOX, (0.04, 0.04, 0.1)), place=place, turn=np.eye(3)
    )
    wanted = request(others=(wall,))
    beside = planner().plan(wanted)
    assert beside is not None and np.abs(beside.position - free.position).max() > 1e-3
    room = ObjectRoom()
    room.put([wanted.thing, wall])
    assert not room.touches(beside.way[-1])
    assert room.touches(reach().solve(free.position, free.rotation, free.way[-1])[0])


def test_out_of_reach_there_is_no_plan():
    assert planner().plan(request(place=np.array([2.0, 0.0, 0.05]))) is None


def test_a_heavy_thing_is_taken_by_the_stronger_hand():
    lying = Primitive(BOX, (0.18, 0.046, 0.035))
    grasp = planner().plan(request(lying))
    up = grasp.opposition.frame.T @ grasp.rotation.T @ (0.0, 0.0, 1.0)
    strength = grasp.opposition.strength(np.array([grasp.gap]), up[None], 0.69)[0]
    weak = GraspPlanner(styles=(WIDE,)).plan(request(lying))
    up = weak.opposition.frame.T @ weak.rotation.T @ (0.0, 0.0, 1.0)
    assert strength > 1.05 * weak.opposition.strength(np.array([weak.gap]), up[None], 0.69)[0]


def test_what_is_wider_than_13_cm_is_taken_by_the_wide_hand():
    bowl = Primitive(CUP, (0.159, 0.159, 0.053))
    down = np.diag([1.0, -1.0, -1.0])
    grasp = planner().plan(request(bowl, turn=down))
    assert grasp is not None and grasp.gap == pytest.approx(0.159)
    assert grasp.opposition.style is WIDE
