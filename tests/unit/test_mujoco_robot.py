"""The simulated robot: which finger moves which way through each driver; what faults do to it."""

import mujoco
import numpy as np
import pytest

from manip_control.allegro_drivers import HAND_DRIVERS, hand_driver
from manip_control.emulated_arm import ArmConfig
from manip_control.faults import Fault
from manip_control.mujoco_robot import MujocoRobot, RobotConfig
from manip_core.robot_model import (
    ARM_JOINTS,
    FINGER_JOINTS,
    HAND_JOINTS,
    JOINT_NAMES,
    PALM_FRAME,
    home,
)
from manip_core.robot_model import TIP_FRAMES as TIPS

HOME = home("right")
FORWARD = "forward_position_controller"


class Bench:
    def __init__(self):
        self.robot = MujocoRobot(RobotConfig(), ArmConfig(active=FORWARD, unlock_after=0.0))
        self.now = 10.0

    def run(self, seconds):
        states = []
        for _ in range(round(seconds / self.robot.period)):
            self.now += self.robot.period
            states.append(self.robot.advance(self.now)[0])
        return states

    def tips(self):
        """Fingertips in the palm's frame [m]."""
        data = self.robot.data
        mujoco.mj_kinematics(self.robot.model, data)
        palm = data.body(PALM_FRAME)
        turn = palm.xmat.reshape(3, 3)
        return {f: turn.T @ (data.body(tip).xpos - palm.xpos) for f, tip in TIPS.items()}


@pytest.fixture
def bench():
    return Bench()


@pytest.mark.parametrize("finger", FINGER_JOINTS)
@pytest.mark.parametrize("driver", HAND_DRIVERS)
def test_each_driver_bends_the_right_finger_inwards(bench, driver, finger):
    bench.run(0.1)
    before = bench.tips()
    wanted = dict(zip(HAND_JOINTS, HOME[-16:], strict=True))
    # The second joint from the tip: bends the fingertip towards the palm's front.
    wanted[FINGER_JOINTS[finger][2]] += 0.5
    spoken = hand_driver(driver)
    bench.robot.command_hand(*spoken.read(spoken.names, spoken.arrange(wanted)))
    bench.run(0.5)
    moved = {name: tip - before[name] for name, tip in bench.tips().items()}
    # Fingers come forward out of the palm's plane; the thumb, beside the palm, comes over it.
    inwards = -moved[finger][1] if finger == "thumb" else moved[finger][0]
    assert inwards > 0.015
    others = [np.linalg.norm(way) for name, way in moved.items() if name != finger]
    assert max(others) < 1e-3


def test_names_in_a_positional_driver_s_command_are_not_read(bench):
    driver = hand_driver("v5")
    positions = driver.arrange(dict(zip(HAND_JOINTS, HOME[-16:] + 0.1, strict=True)))
    assert driver.read(["nonsense"] * 16, positions)[0] == HAND_JOINTS
    with pytest.raises(ValueError, match="16 positions, got"):
        driver.read(driver.names, positions[:15])
    with pytest.raises(ValueError, match="unknown joints"):
        hand_driver("menagerie").read(["index"], [0.1])


def test_bad_hand_commands_change_nothing(bench):
    for names, positions, message in (
        (HAND_JOINTS, HOME[:3], "16 positions"),
        (HAND_JOINTS, np.full(16, np.nan), "finite"),
        (("ffj9",), [0.1], "unknown"),
        (ARM_JOINTS[:1], [0.1], "unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            bench.robot.command_hand(names, positions)
    state = bench.run(0.3)[-1]
    np.testing.assert_allclose(state.position, HOME, atol=2e-3)


def test_the_arm_goes_where_its_controller_is_told(bench):
    bench.robot.command_arm(FORWARD, HOME[:6] + 0.1)
    np.testing.assert_allclose(bench.run(1.0)[-1].position[:6], HOME[:6] + 0.1, atol=2e-3)


def test_a_protective_stop_stops_the_arm_and_leaves_the_hand_alone(bench):
    bench.robot.command_arm(FORWARD, HOME[:6] + 0.15)
    moving = bench.run(0.03)[-1]
    assert np.abs(moving.velocity[:6]).max() > 0.3
    bench.robot.begin(Fault(kind="protective_stop"), bench.now)
    bench.run(0.2)
    stopped = bench.run(0.3)
    assert np.abs(stopped[-1].velocity[:6]).max() < 0.01
    assert np.abs(stopped[-1].position[:6] - HOME[:6]).max() < 0.12
    bench.robot.command_hand(("ffj1",), [1.0])
    moved = bench.run(0.5)[-1].position[JOINT_NAMES.index("ffj1")]
    assert moved == pytest.approx(1.0, abs=0.05)
    assert bench.robot.end("protective_stop") == (False, "protective_stop ends by recovery alone")
    assert bench.robot.arm.unlock(bench.now)[0] and bench.robot.arm.play()[0]
    bench.robot.command_arm(FORWARD, bench.robot.arm.setpoint + 0.05)
    assert np.abs(bench.run(0.5)[-1].position[:6] - stopped[-1].position[:6]).min() > 0.04


def test_frozen_states_repeat_stamp_and_values_and_the_robot_goes_on(bench):
    bench.run(0.1)
    bench.robot.begin(Fault(kind="frozen_states", duration=0.2), bench.now)
    bench.robot.command_arm(FORWARD, HOME[:6] + 0.1)
    frozen = bench.run(0.15)
    assert len({state.stamp for state in frozen}) == 1
    assert all(np.array_equal(state.position, frozen[0].position) for state in frozen)
    thawed = bench.run(0.5)[-1]
    assert thawed.stamp == pytest.approx(bench.now)
    assert thawed.position[0] == pytest.approx(HOME[0] + 0.1, abs=5e-3)


def test_a_dead_joint_follows_no_more_and_comes_back(bench):
    i = JOINT_NAMES.index("mfj1")
    bench.robot.begin(Fault(kind="dead_joint", joint="mfj1", duration=0.6), bench.now)
    bench.robot.command_hand(("mfj1", "ffj1"), [1.2, 1.2])
    state = bench.run(0.5)[-1]
    assert state.position[i] < 0.8 and state.effort[i] == 0.0
    assert state.position[JOINT_NAMES.index("ffj1")] == pytest.approx(1.2, abs=0.05)
    assert bench.run(0.8)[-1].position[i] == pytest.approx(1.2, abs=0.05)


def test_a_payload_weighs_on_the_arm_and_goes_away(bench):
    before = bench.run(0.3)[-1]
    bench.robot.begin(Fault(kind="payload", amount=2.0, duration=0.6), bench.now)
    loaded = bench.run(0.5)[-1]
    lift = JOINT_NAMES.index("shoulder_lift_joint")
    # Two kilograms at about 0.6 m.
    more = abs(loaded.effort[lift] - before.effort[lift])
    assert 5.0 < more < 20.0
    assert abs(bench.run(0.8)[-1].effort[lift] - before.effort[lift]) < 1.0


def test_reset_puts_everything_back_and_keeps_the_faults(bench):
    bench.robot.begin(Fault(kind="payload"), bench.now)
    bench.robot.command_arm(FORWARD, HOME[:6] + 0.1)
    bench.run(0.3)
    bench.robot.reset()
    state = bench.run(0.3)[-1]
    np.testing.assert_allclose(state.position[:6], HOME[:6], atol=3e-3)
    assert bench.robot.data.xfrc_applied[:, 2].min() == pytest.approx(-9.81)


@pytest.mark.parametrize("change", [{"rate": 0.0}, {"fault_gap": 0.0}])
def test_config_checks_itself(change):
    with pytest.raises(ValueError):
        RobotConfig(**change)
