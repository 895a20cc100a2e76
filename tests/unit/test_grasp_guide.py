"""Guidance onto grasps: when it leads, what it may add to a target, and how it ends."""

from dataclasses import replace

import numpy as np
import pytest

from guided_rig import ASSIST, CAN, GUIDE, HAND, PERIOD, BusyRig, Rig, opposition, reach
from manip_control.controller import HOLD, ControlConfig, Controller
from manip_control.grasp_guide import (
    CLOSING,
    ENTERING,
    FREE,
    HOLDING,
    LEAVING,
    NEARING,
    REACHING,
    GraspGuide,
)
from manip_control.grip import opposing
from manip_control.guard import GuardConfig
from manip_control.guide_config import GuideConfig
from manip_core import robot_model
from manip_core.primitive import BOX, KnownObject, Primitive
from manip_core.robot_model import NUM_JOINTS


def holding() -> Rig:
    rig = Rig()
    rig.go(rig.over, 2.0)
    rig.wait(3.0)
    rig.grasping = 1.0
    rig.wait(5.0, until=HOLDING)
    assert rig.guide.phase == HOLDING
    return rig


def test_it_reaches_waits_grasps_lifts_and_lets_go():
    rig = Rig()
    rig.go(rig.over, 2.0)
    rig.wait(3.0)
    # Before the can and open, however the operator holds his fingers; and there it waits.
    assert rig.guide.phase == REACHING and rig.controller.guiding
    place, _ = reach().pose(rig.data.qpos[:NUM_JOINTS])
    np.testing.assert_allclose(place, rig.guide.grasp.before, atol=0.01)
    assert abs(rig.height) < 2e-3
    rig.grasping, rig.target[HAND] = 1.0, opposition().joints(0.06)
    rig.wait(0.05)
    assert rig.guide.phase == ENTERING
    rig.wait(3.0, until=CLOSING)
    rig.wait(3.0, until=HOLDING)
    assert rig.guide.phase == HOLDING and rig.controller.assisting
    rig.by(0.0, 0.0, 0.15, seconds=1.5)
    rig.wait(2.0)
    assert rig.height > 0.1
    # Down again, and open: released at once, and the operator's again when he has gone away.
    rig.by(0.0, 0.0, -0.149, seconds=2.0)
    rig.wait(1.0)
    rig.target[HAND] = opposition().joints(0.15)
    rig.wait(0.5, until=LEAVING)
    assert rig.guide.phase == LEAVING
    rig.by(-0.1, 0.1, 0.35, seconds=3.0)
    rig.wait(4.0)
    assert rig.guide.phase in (FREE, NEARING) and not rig.controller.guiding
    place, _ = reach().pose(rig.data.qpos[:NUM_JOINTS])
    np.testing.assert_allclose(place, rig.palm, atol=0.01)


def test_without_a_decoder_a_hand_that_closes_at_the_object_grasps():
    rig = Rig()
    rig.decodes = False
    rig.target[HAND] = opposition().joints(0.11)
    rig.go(rig.over, 2.0)
    rig.wait(3.0)
    assert rig.guide.phase == REACHING
    rig.close(0.11, 0.07)
    rig.wait(5.0, until=HOLDING)
    assert rig.guide.phase == HOLDING
    # Opened it lets go, and closed once more it takes hold again.
    rig.close(0.07, 0.12)
    rig.wait(1.0, until=LEAVING)
    assert rig.guide.phase == LEAVING
    rig.by(-0.1, 0.1, 0.35, seconds=3.0)
    rig.wait(4.0)
    rig.go(rig.over, 2.0)
    rig.wait(3.0)
    assert rig.guide.phase == REACHING
    rig.close(0.12, 0.07)
    rig.wait(6.0, until=HOLDING)
    assert rig.guide.phase == HOLDING


def test_objects_that_nobody_tells_of_any_more_are_not_reached_for():
    rig = Rig()
    rig.shows = False
    rig.go(rig.over + np.array([0.0, 0.0, 0.12]), 2.0)
    assert rig.guide.phase == FREE and not rig.controller.guiding


def test_far_from_everything_the_target_is_the_operators_to_the_bit():
    rig = Rig()
    rig.by(-0.05, 0.1, 0.1, seconds=1.0)
    assert rig.guide.phase == FREE and not rig.controller.guiding
    target, velocity = rig.guide.aim(rig.target, np.zeros(NUM_JOINTS), rig.now + PERIOD)
    assert (target == rig.target).all() and not velocity.any()


def test_who_grasps_and_lifts_his_hand_at_once_still_gets_it():
    rig = Rig()
    rig.go(rig.over + np.array([0.0, 0.0, 0.05]), 1.0)
    assert rig.guide.phase == REACHING
    rig.grasping = 1.0
    rig.by(0.0, 0.0, 0.35, seconds=0.7)
    assert rig.guide.phase in (REACHING, ENTERING) and rig.height < 2e-3
    rig.wait(6.0)
    assert rig.guide.phase == HOLDING and rig.height > 0.2


def test_who_grasps_and_goes_far_away_does_not():
    rig = Rig()
    rig.go(rig.over + np.array([0.0, 0.0, 0.1]), 0.7)
    assert rig.guide.phase == REACHING
    rig.grasping = 1.0
    rig.wait(0.05)
    assert rig.guide.phase == REACHING
    rig.palm = rig.palm + np.array([-0.3, 0.5, 0.5])
    rig.wait(0.05)
    assert rig.guide.phase == FREE


def test_a_hand_that_lets_go_draws_back_and_leaves_the_can_standing():
    rig = holding()
    rig.target[HAND] = opposition().joints(0.06)
    rig.wait(0.5)
    rig.target[HAND] = opposition().joints(0.15)
    rig.wait(0.5, until=LEAVING)
    assert rig.guide.phase == LEAVING
    # Off to the side, while fingers and thumb are still about the can.
    rig.by(-0.1, 0.1, 0.35, seconds=1.5)
    assert rig.data.xmat[rig.body, 8] > 0.99
    np.testing.assert_allclose(rig.data.xpos[rig.body], (0.6, -0.1, CAN.half[2]), atol=0.01)


def test_fingers_open_no_faster_than_the_arm_comes():
    rig = Rig()
    rig.go(rig.over, 2.0, until=REACHING)
    hand, goal = rig.data.qpos[HAND].copy(), rig.guide.grasp.way[-1][HAND]
    rig.wait(0.2)
    first = np.abs(rig.data.qpos[HAND] - hand).max()
    assert len(rig.guide.grasp.way) == 1 and first < 0.5 * np.abs(goal - hand).max()
    rig.go(rig.over, 3.0)
    np.testing.assert_allclose(rig.data.qpos[HAND], goal, atol=0.05)


@pytest.mark.parametrize("beside", [(0.0, 0.04, 0.06), (0.05, -0.02, 0.03), (0.0, 0.04, 0.0)])
@pytest.mark.parametrize("seed", [5, 7])
def test_on_a_busy_computer_the_can_is_not_knocked_over_either(seed, beside):
    """The operator comes down on the can beside which his hand is led, wrist first."""
    rig = BusyRig(seed, stall=0.15, late=0.3)
    rig.go(rig.over + np.array(beside), 3.3)
    rig.wait(2.0)
    assert rig.guide.phase == REACHING
    np.testing.assert_allclose(rig.data.xpos[rig.body], (0.6, -0.1, CAN.half[2]), atol=1e-3)
    rig.grasping = 1.0
    rig.by(0.0, 0.0, 0.2, seconds=8.0)
    assert rig.guide.phase == HOLDING and rig.height > 0.05


def test_nearing_it_is_the_operators_to_the_bit():
    rig = Rig()
    way = rig.over + np.array([0.0, 0.0, 0.3]) - rig.palm
    rig.go(rig.palm + 0.5 * way, 1.0, until=NEARING)
    assert rig.guide.phase == NEARING and not rig.controller.guiding
    velocity = np.full(NUM_JOINTS, 0.01)
    for _ in range(3):
        rig.now += PERIOD
        target, told = rig.guide.aim(rig.target, velocity, rig.now)
        np.testing.assert_array_equal(target, rig.target)
        np.testing.assert_array_equal(told, velocity)


def test_nearing_something_known_the_fingers_still_take_what_is_unknown():
    rig = Rig()
    way = rig.over + np.array([0.0, 0.0, 0.3]) - rig.palm
    rig.go(rig.palm + 0.5 * way, 1.0, until=NEARING)
    open_hand = rig.data.qpos[HAND].copy()
    rig.grasping = 1.0
    rig.wait(1.5)
    assert rig.guide.phase in (FREE, NEARING) and rig.controller.assisting
    assert (rig.data.qpos[HAND] - open_hand).max() > 0.1


def test_who_passes_by_one_thing_to_another_gets_that_and_moves_neither():
    cube = Primitive(BOX, (0.052, 0.052, 0.052))
    others = {"cube": (cube, (0.42, -0.34))}
    rig = Rig(others=others)
    names, stood = [], rig.data.body("cube").xpos.copy()
    rig.go(rig.over + np.array([0.0, 0.03, 0.1]), 2.0)
    names.append(rig.guide._thing.name)
    target = stood - rig.rotation @ opposition().centre
    rig.go(target + np.array([0.0, 0.03, 0.05]), 2.0)
    rig.wait(2.0)
    assert rig.guide.phase == REACHING
    names.append(rig.guide._thing.name)
    assert names == ["can", "cube"]
    np.testing.assert_allclose(rig.data.xpos[rig.body], (0.6, -0.1, CAN.half[2]), atol=1e-3)
    np.testing.assert_allclose(rig.data.body("cube").xpos, stood, atol=1e-3)
    rig.grasping = 1.0
    rig.wait(4.0, until=HOLDING)
    rig.by(0.0, 0.0, 0.2, seconds=4.0)
    assert rig.guide.phase == HOLDING and rig.data.body("cube").xpos[2] > 0.15
    np.testing.assert_allclose(rig.data.xpos[rig.body], (0.6, -0.1, CAN.half[2]), atol=1e-3)


def test_who_grasps_one_thing_is_not_turned_to_another():
    rig = Rig(others={"cube": (Primitive(BOX, (0.052, 0.052, 0.052)), (0.42, -0.34))})
    rig.go(rig.over + np.array([0.0, 0.0, 0.05]), 1.0)
    assert rig.guide._thing.name == "can"
    rig.grasping = 1.0
    rig.by(-0.15, -0.18, 0.0, seconds=0.6)
    assert rig.guide._thing.name == "can"
    rig.wait(6.0, until=HOLDING)
    assert rig.guide.phase == HOLDING and rig.guide._thing.name == "can"


def test_going_away_ends_it_before_it_has_begun():
    rig = Rig()
    rig.go(rig.over, 2.0)
    assert rig.guide.phase == REACHING
    rig.by(-0.1, 0.1, 0.4, seconds=2.0)
    rig.wait(3.0)
    assert rig.guide.phase == FREE and not rig.controller.guiding and abs(rig.height) < 2e-3


def test_what_is_held_up_twice_in_one_place_is_the_operators_again():
    rig = Rig()
    rig.go(rig.over, 2.0, until=REACHING)
    first = rig.guide.grasp
    rig.stuck, phases, grasps = True, [], []
    rig.go(rig.over, 0.3)
    for _ in range(round(2.5 / PERIOD)):
        rig.step()
        phases.append(rig.guide.phase)
        grasps.append(rig.guide.grasp)
    given_up = phases.index(FREE)
    assert set(phases[:given_up]) == {REACHING} and given_up > 50
    # Another grasp was tried before.
    others = [grasp for grasp in grasps[:given_up] if grasp is not first]
    assert others and np.abs(others[0].position - first.position).max() > 1e-3


def test_hold_takes_it_back_at_once():
    rig = holding()
    rig.controller.set_mode(HOLD, rig.now)
    rig.step()
    assert rig.guide.phase == FREE and not rig.controller.guiding
    before = rig.data.ctrl.copy()
    rig.wait(0.5)
    # The hand stays closed as it is; nothing of the guidance moves the robot any more.
    np.testing.assert_allclose(rig.data.ctrl, before, atol=0.05)


def test_it_is_for_those_who_want_it():
    plain = Controller.for_robot(
        ControlConfig(), GuardConfig(), assist=ASSIST, guide=replace(GUIDE, guide=False)
    )
    assert not isinstance(plain._assist, GraspGuide)
    plain.on_objects([], 0.0)
    assert plain.grasp_wanted() is None and not plain.guiding


def test_plans_that_nobody_waits_for_are_passed_over():
    guide = GraspGuide(ASSIST, GUIDE, opposition=opposition())
    home = robot_model.home()
    guide.feel(home, home, 1.0)
    palm, rotation = reach().pose(home)
    place = palm + rotation @ opposition().centre
    can = KnownObject(name="can", primitive=CAN, place=place, turn=np.eye(3))
    for now in (1.0, 1.05):
        guide.see([can], now)
    guide.aim(home, np.zeros(NUM_JOINTS), 1.1)
    request = guide.wanted()
    assert request is not None and request.name == "can"
    guide.accept(replace(request), None, 1.2)
    assert guide.wanted() is request
    guide.accept(request, None, 1.2)
    assert guide.wanted() is None and guide.phase == FREE
    # Asked again after a while, not at once; and where something has changed.
    for at, seen, asks in ((1.25, can, False), (1.9, can, False), (2.0, moved(can), True)):
        for now in (at - 0.1, at - 0.05):
            guide.see([seen], now)
        guide.aim(home, np.zeros(NUM_JOINTS), at)
        assert (guide.wanted() is not None) == asks


def moved(thing: KnownObject) -> KnownObject:
    return replace(thing, place=thing.place + 0.02)


def test_what_moves_is_not_reached_for():
    guide = GraspGuide(ASSIST, GUIDE, opposition=opposition())
    home = robot_model.home()
    guide.feel(home, home, 1.0)
    palm, rotation = reach().pose(home)
    place = palm + rotation @ opposition().centre
    for k in range(5):
        can = KnownObject(name="can", primitive=CAN, place=place + 0.01 * k, turn=np.eye(3))
        guide.see([can], 1.0 + 0.05 * k)
        guide.aim(home, np.zeros(NUM_JOINTS), 1.0 + 0.05 * k)
        assert guide.wanted() is None


@pytest.mark.parametrize("thumb", [-0.09, -0.045, -0.01, 0.0, 0.02, 0.045, 0.08])
def test_fingers_share_the_force_about_the_thumb(thumb):
    places = np.array([0.045, 0.0, -0.045])
    shares = opposing(places, thumb)
    assert shares.sum() == pytest.approx(1.0) and (shares >= 0).all()
    assert shares @ places == pytest.approx(np.clip(thumb, -0.045, 0.045), abs=1e-9)


def test_settings_check_themselves():
    for wrong in ({"guide_near": 0.4}, {"guide_speed": -1.0}, {"guide_reach": np.nan}):
        with pytest.raises(ValueError, match="guide_"):
            GuideConfig(**wrong)
