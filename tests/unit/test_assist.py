"""Help with grasping: what it may do to a target, when it ends, and with what force it holds."""

from dataclasses import replace
from functools import cache

import mujoco
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from manip_control.assist import HAND, Assist, takes_part
from manip_control.assist_config import AssistConfig, GraspIntent
from manip_control.controller import ENGAGED, HOLD, ControlConfig, Controller
from manip_control.fingertips import FINGERS, THUMB, Fingertips
from manip_core import robot_model
from manip_core.grasp_types import GraspType
from manip_core.robot_model import JOINT_NAMES, PALM_FRAME
from safety_fuzz import HOME, LIMITS, Rig, near

CONFIG = AssistConfig(assist=True)
DT = 0.008
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
# Fingers half bent about something, the thumb opposite.
ABOUT = HOME.copy()
ABOUT[HAND] = np.ravel([(0.0, 0.7, 0.7, 0.5)] * 3 + [(1.2, 0.3, 0.5, 0.5)])
ABOUT.setflags(write=False)
PROBABILITY = st.floats(0.0, 1.0)
# Joints that bend a finger; the others lay it across.
BENDS = [
    JOINT_NAMES.index(name)
    for finger, names in robot_model.FINGER_JOINTS.items()
    for name in names[2 if finger == "thumb" else 1 :]
]


@cache
def fingertips() -> Fingertips:
    return Fingertips()


@cache
def helper() -> Assist:
    return Assist(CONFIG)


def fresh_helper() -> Assist:
    """Compiled once; as if it were new."""
    made = helper()
    made._intent = made._measured = None
    made._let_go = False
    made.release()
    return made


def intent(stamp: float, **given_) -> GraspIntent:
    whole = {
        "grasping": 1.0,
        "confidence": 1.0,
        "grasp_type": GraspType.PRISMATIC_4_FINGER,
        "aperture": 0.06,
        "force": 5.0,
    }
    return GraspIntent(**{**whole, **given_}, stamp=stamp)


def helped(assist: Assist, operator: np.ndarray, now: float) -> np.ndarray:
    return assist.aim(operator, np.zeros(22), now)[0]


def grasping(assist: Assist, operator: np.ndarray, now: float = 10.0) -> Assist:
    """Told of a grasp, and at it for a step."""
    assist.feel(operator, operator, now)
    assist.intend(intent(now - 0.01), now)
    assert (helped(assist, operator, now) != operator).any() and assist.holding
    return assist


def test_intents_check_themselves():
    for wrong in (
        {"grasping": 1.1},
        {"confidence": np.nan},
        {"force": -1.0},
        {"aperture": np.inf},
        {"grasp_type": 10},
    ):
        with pytest.raises(ValueError):
            intent(1.0, **wrong)
    with pytest.raises(ValueError, match="grasp_end must lie below"):
        AssistConfig(grasp_begin=0.4)


@pytest.mark.parametrize("lead, told", [(0.0, 0.1), (0.1, 0.3), (0.12, 0.4), (9.0, 0.4)])
def test_the_moment_ahead_is_read(lead, told):
    steps = [0.1, 0.2, 0.3, 0.4]
    same = {"grasp_type": GraspType.TRIPOD, "confidence": 1.0, "stamp": 5.0}
    read = GraspIntent.ahead(lead, step=1 / 30, grasping=steps, aperture=steps, force=steps, **same)
    assert read.grasping == read.aperture == read.force == told
    with pytest.raises(ValueError, match="one length"):
        GraspIntent.ahead(lead, step=0.1, grasping=steps, aperture=steps, force=[], **same)
    with pytest.raises(ValueError, match="step must be positive"):
        GraspIntent.ahead(lead, step=0.0, grasping=steps, aperture=steps, force=steps, **same)


@pytest.mark.parametrize("seed", range(3))
def test_levers_are_the_derivative_of_the_tips(seed):
    rng = np.random.default_rng(seed)
    hand = rng.uniform(LIMITS.lower, LIMITS.upper)[HAND]
    _, levers = fingertips().jacobian(hand)
    for joint in range(16):
        step = np.zeros(16)
        step[joint] = 1e-6
        moved = (fingertips().places(hand + step) - fingertips().places(hand - step)) / 2e-6
        finger = joint // 4
        np.testing.assert_allclose(moved[finger], levers[finger, joint % 4], atol=1e-6)
        assert np.abs(np.delete(moved, finger, axis=0)).max() < 1e-9


@given(
    seed=st.integers(0, 2**31),
    grasping=PROBABILITY,
    confidence=PROBABILITY,
    kind=st.sampled_from(GraspType),
    force=st.floats(0.0, 1e3),
    aperture=st.floats(0.0, 0.3),
    steps=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_it_never_opens_and_never_closes_by_more_than_it_may(
    seed, grasping, confidence, kind, force, aperture, steps
):
    rng = np.random.default_rng(seed)
    assist, now = fresh_helper(), 10.0
    operator = near(rng, ABOUT, 0.3)
    others = np.setdiff1d(np.arange(HAND.start, HAND.stop), BENDS)
    for _ in range(steps):
        now += DT
        # What is measured and was commanded may differ by anything: something is in the way.
        assist.feel(near(rng, ABOUT, 0.3), near(rng, ABOUT, 0.5), now)
        said = {"grasping": grasping, "confidence": confidence, "grasp_type": kind}
        assist.intend(intent(now, force=force, aperture=aperture, **said), now)
        off = helped(assist, operator, now) - operator
        assert np.isfinite(off).all() and (off[: HAND.start] == 0).all()
        assert (off[BENDS] >= 0).all() and (off[BENDS] <= CONFIG.close_by + 1e-9).all()
        assert (np.abs(off[others]) <= CONFIG.steady + CONFIG.carry + 1e-9).all()
        left = ~np.repeat(takes_part(kind), 4)
        assert (off[HAND][left] == 0).all()
        if min(grasping / CONFIG.grasp_begin, confidence / CONFIG.grasp_confidence) < 1:
            assert (off == 0).all() and not assist.holding


def opens(assist, now):
    wide = ABOUT.copy()
    wide[BENDS] -= 0.5
    return wide


def doubts(assist, now):
    assist.intend(intent(now, grasping=0.45), now)


def is_unsure(assist, now):
    assist.intend(intent(now, confidence=0.1), now)


def falls_silent(assist, now):
    return None


@pytest.mark.parametrize("event", [opens, doubts, is_unsure, falls_silent])
def test_the_hand_is_let_go_of_at_once(event):
    assist, now = grasping(fresh_helper(), ABOUT), 10.1
    assist.feel(ABOUT, ABOUT, now)
    assist.intend(intent(now), now)
    helped(assist, ABOUT, now)
    assert assist.holding
    now += 0.008 if event is not falls_silent else CONFIG.intent_timeout + 0.01
    operator = event(assist, now)
    operator = ABOUT if operator is None else operator
    assist.feel(ABOUT, ABOUT, now)
    np.testing.assert_array_equal(helped(assist, operator, now), operator)
    assert not assist.holding


def test_a_hand_that_was_opened_is_not_taken_again_in_the_same_grasp():
    assist, now = grasping(fresh_helper(), ABOUT), 10.1
    helped(assist, opens(assist, now), now)
    for _ in range(3):
        now += DT
        assist.feel(ABOUT, ABOUT, now)
        assist.intend(intent(now), now)
        np.testing.assert_array_equal(helped(assist, ABOUT, now), ABOUT)
    assist.intend(intent(now + DT, grasping=0.0), now + DT)
    assist.intend(intent(now + 2 * DT), now + 2 * DT)
    helped(assist, ABOUT, now + 2 * DT)
    assert assist.holding


def test_between_its_bounds_it_neither_begins_nor_ends():
    middle = 0.5 * (CONFIG.grasp_begin + CONFIG.grasp_end)
    assist = fresh_helper()
    assist.feel(ABOUT, ABOUT, 10.0)
    assist.intend(intent(10.0, grasping=middle), 10.0)
    helped(assist, ABOUT, 10.0)
    assert not assist.holding
    grasping(assist, ABOUT, 10.05)
    assist.intend(intent(10.1, grasping=middle), 10.1)
    helped(assist, ABOUT, 10.1)
    assert assist.holding


def test_words_that_are_stale_early_or_out_of_order_are_refused_and_counted():
    controller = Controller(ControlConfig(), JOINT_NAMES, LIMITS, assist=fresh_helper())
    controller.on_intent(intent(9.99), 10.0)
    for stamp in (9.7, 10.2, 9.99, 9.95):
        with pytest.raises(ValueError, match=r"old|future|before"):
            controller.on_intent(intent(stamp), 10.0)
    assert controller.rejected == 4
    # Without assist they are nothing to it.
    Controller(ControlConfig(), JOINT_NAMES, LIMITS).on_intent(intent(1.0), 10.0)


@settings(max_examples=12, deadline=None, phases=NO_SHRINKING)
@given(st.integers(0, 2**31), st.sampled_from(GraspType))
def test_with_assist_too_no_command_breaks_a_law(seed, kind):
    rng = np.random.default_rng(seed)
    rig = Rig(assist=Assist(replace(CONFIG, close_by=1.5)))
    rig.tick()
    rig.engage()
    for _ in range(10):
        target = near(rng, ABOUT, 0.4)
        probability = rng.choice([1.0, 1.0, rng.random()])
        # Fingers are held up by something now and then, as they are by an object.
        rig.robot.dead = rng.choice([None, rng.integers(HAND.start, HAND.stop)])
        for step in range(rng.integers(5, 25)):
            if step % 4 == 0:
                rig.aim(target)
                said = {"grasping": probability, "grasp_type": kind, "force": 12 * rng.random()}
                rig.controller.on_intent(intent(rig.now - 0.001, **said), rig.now)
            rig.tick()
    assert rig.judge.violations == dict.fromkeys(rig.judge.violations, 0)


class Held:
    """The robot's hand about a rod that is fixed to its palm, and a controller without guard."""

    def __init__(self, radius: float):
        spec = robot_model.robot_spec()
        tips = fingertips().places(ABOUT[HAND])
        middle = 0.5 * (tips[THUMB] + tips[:THUMB].mean(axis=0))
        rod = spec.body(PALM_FRAME).add_body(name="rod", pos=middle)
        along_y = [np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0]
        size = [radius, 0.07, 0.0]
        rod.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=size, quat=along_y, mass=0.01)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        self.data.qpos[:] = self.data.ctrl[:] = ABOUT
        self.controller = Controller(ControlConfig(), JOINT_NAMES, LIMITS, assist=Assist(CONFIG))
        self.now = 100.0
        self.tick()
        assert self.controller.set_mode(ENGAGED, self.now)[0]

    def tick(self) -> None:
        self.now += DT
        self.controller.on_joint_states(JOINT_NAMES, self.data.qpos, self.now)
        command = self.controller.step(self.now)
        if command is not None:
            self.data.ctrl[:] = command.positions
        mujoco.mj_step(self.model, self.data, 4)

    def follow(self, seconds: float, **said) -> None:
        for step in range(round(seconds / DT)):
            if step % 4 == 0:
                stamp = self.now - 0.01
                self.controller.on_target(JOINT_NAMES, ABOUT, stamp, 1.0, self.now)
                self.controller.on_intent(intent(stamp, **said), self.now)
            self.tick()

    def forces(self) -> np.ndarray:
        """Force ``(4, 3)`` of each of FINGERS on the rod, in ``world`` [N]."""
        found, force = np.zeros((4, 3)), np.empty(6)
        prefixes = [robot_model.FINGER_PREFIXES[finger] for finger in FINGERS]
        for i, contact in enumerate(self.data.contact):
            names = [self.model.body(self.model.geom_bodyid[geom]).name for geom in contact.geom]
            if "rod" not in names:
                continue
            mujoco.mj_contactForce(self.model, self.data, i, force)
            row = contact.frame.reshape(3, 3).T @ force[:3]
            other = names[1 - names.index("rod")]
            found[prefixes.index(other[:2])] += row if names[1] == "rod" else -row
        return found


@pytest.mark.parametrize("asked", [3.0, 6.0])
def test_it_holds_with_the_force_that_is_asked_for_and_lets_go(asked):
    held = Held(radius=0.018)
    assert np.abs(held.forces()).max() == 0.0
    held.follow(1.0, force=asked)
    forces = held.forces()
    assert np.linalg.norm(forces[THUMB]) == pytest.approx(asked, rel=0.3)
    # Thumb and fingers push against each other, and not the rod away.
    assert np.linalg.norm(forces.sum(axis=0)) < 0.5 * asked
    assert held.controller.assisting
    held.follow(0.5, grasping=0.0)
    assert np.abs(held.forces()).max() == 0.0 and not held.controller.assisting
    np.testing.assert_allclose(held.data.qpos[HAND], ABOUT[HAND], atol=0.02)


def test_a_hold_of_the_clutch_ends_it():
    held = Held(radius=0.018)
    held.follow(0.5)
    assert held.controller.assisting
    held.controller.set_mode(HOLD, held.now)
    held.tick()
    assert not held.controller.assisting
