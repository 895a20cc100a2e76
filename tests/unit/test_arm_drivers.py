"""Commands for the arm, and the switch between its controllers, against an emulated driver."""

import numpy as np
import pytest

from manip_control.arm_drivers import (
    ARM_DRIVERS,
    HOME_CONTROLLERS,
    Switch,
    arm_driver,
    arm_names,
    checked,
)
from manip_control.arm_status import SafetyMode
from manip_control.emulated_arm import ArmConfig, EmulatedArm
from manip_control.faults import Fault, Faults

FORWARD = "forward_position_controller"
START = np.linspace(-1.0, 1.0, 6)
FASTEST = np.full(6, np.pi)
DT = 0.008


class Bench:
    """An emulated driver with an arm that is where its setpoint is."""

    def __init__(self, **config):
        self.faults = Faults()
        self.arm = EmulatedArm(ArmConfig(**config), self.faults, START, FASTEST)
        self.now = 50.0

    def run(self, seconds):
        path = []
        for _ in range(round(seconds / DT)):
            self.now += DT
            path.append(self.arm.step(DT, self.arm.setpoint, self.now).copy())
        return np.array(path)


@pytest.mark.parametrize("bad", [START[:5], np.append(START, 0.0), START * np.nan, [START]])
def test_nothing_but_six_finite_numbers_ever_goes_out(bad):
    with pytest.raises(ValueError, match="6 finite"):
        checked(bad)


def test_names_carry_the_prefix_in_the_driver_s_order():
    assert arm_names("left_")[:2] == ("left_shoulder_pan_joint", "left_shoulder_lift_joint")
    with pytest.raises(ValueError, match="forward, scaled_trajectory, trajectory"):
        arm_driver("servo")


@pytest.mark.parametrize("name", ARM_DRIVERS)
@pytest.mark.parametrize("active", [*HOME_CONTROLLERS, FORWARD, "forward_velocity_controller"])
def test_one_request_is_enough_whatever_was_active_before(name, active):
    bench, switch = Bench(active=active), Switch(ARM_DRIVERS[name])
    assert not switch.active and "not active" in switch.problem
    switch.done(*bench.arm.switch(*switch.request(0.0)))
    assert switch.active and switch.problem == ""
    assert bench.arm.active == ARM_DRIVERS[name].controller
    assert switch.request(10.0) is None


def test_it_asks_again_but_not_all_the_time():
    switch = Switch(ARM_DRIVERS["forward"])
    assert switch.request(0.0) and switch.request(0.5) is None
    switch.done(False, "no controller forward_position_controller")
    assert "could not be activated: no controller" in switch.problem
    assert switch.request(1.1)
    switch.done(True)
    switch.lost("protective stop")
    assert switch.problem == "protective stop" and switch.request(1.2)


def test_the_arm_is_given_back_to_the_controller_that_there_is():
    for known in HOME_CONTROLLERS:
        bench, switch = Bench(), Switch(ARM_DRIVERS["forward"])
        switch.done(*bench.arm.switch(*switch.request(0.0)))
        answers = []
        for activate, deactivate in switch.back():
            there = [name for name in activate if name == known]
            answers.append(bool(there) and bench.arm.switch(there, deactivate)[0])
            if answers[-1]:
                break
        assert answers[-1] and bench.arm.active == known and not switch.active
    assert Switch(ARM_DRIVERS["forward"]).back() == []
    trajectory = Switch(ARM_DRIVERS["trajectory"])
    trajectory.done(True)
    assert trajectory.back() == []


def test_an_inactive_controller_and_a_wrong_length_are_ignored_without_a_word():
    bench = Bench()
    bench.arm.command(FORWARD, START + 0.1)
    bench.arm.switch([FORWARD], HOME_CONTROLLERS)
    bench.arm.command(FORWARD, np.zeros(5))
    bench.run(0.1)
    np.testing.assert_array_equal(bench.arm.setpoint, START)
    assert bench.arm.ignored == 2
    bench.arm.command(FORWARD, START + 0.1)
    bench.run(0.05)
    np.testing.assert_allclose(bench.arm.setpoint, START + 0.1)


def test_jumps_and_nan_are_refused():
    bench = Bench(active=FORWARD)
    for bad, message in ((START + 0.5, "jumps by 0.50"), (START * np.nan, "finite")):
        with pytest.raises(ValueError, match=message):
            bench.arm.command(FORWARD, bad)
    bench.run(0.1)
    np.testing.assert_array_equal(bench.arm.setpoint, START)


def test_a_trajectory_takes_its_time_and_a_new_one_replaces_it():
    name = HOME_CONTROLLERS[0]
    bench = Bench(active=name)
    bench.arm.command(name, START + 0.1, 0.08)
    half = bench.run(0.04)[-1]
    np.testing.assert_allclose(half, START + 0.05, atol=1e-9)
    bench.arm.command(name, START, 0.04)
    np.testing.assert_allclose(bench.run(0.04)[-1], START, atol=1e-9)


def test_slowed_to_thirty_per_cent_it_moves_at_thirty_per_cent():
    bench = Bench(active=FORWARD)
    bench.faults.begin(Fault(kind="speed_scaling"), bench.now)
    assert bench.arm.speed_scaling == pytest.approx(0.3)
    bench.arm.command(FORWARD, START + 0.19)
    speed = np.abs(np.diff(bench.run(0.1), axis=0)) / DT
    assert speed.max() <= 0.3 * np.pi + 1e-9 and speed.max() > 0.29 * np.pi


def test_a_protective_stop_holds_until_it_is_unlocked_and_the_program_played():
    bench = Bench(active=FORWARD)
    bench.arm.command(FORWARD, START + 0.1)
    bench.run(0.1)
    bench.faults.begin(Fault(kind="protective_stop"), bench.now)
    bench.run(0.1)
    arm = bench.arm
    assert arm.safety_mode == SafetyMode.PROTECTIVE_STOP and not arm.program_running
    assert arm.active == "" and arm.speed_scaling == 0.0
    held = arm.setpoint.copy()
    arm.command(FORWARD, held + 0.1)
    bench.run(0.5)
    np.testing.assert_array_equal(arm.setpoint, held)
    assert not arm.switch([FORWARD], [])[0] and not arm.play()[0]
    done, message = arm.unlock(bench.now)
    assert not done and "to go" in message
    bench.run(4.5)
    assert arm.unlock(bench.now)[0] and arm.safety_mode == SafetyMode.NORMAL
    assert not arm.program_running
    assert arm.play()[0] and arm.program_running and arm.active == FORWARD
    bench.run(0.1)
    np.testing.assert_array_equal(arm.setpoint, held)


def test_a_stopped_program_starts_again_where_the_arm_is():
    bench = Bench(active=FORWARD)
    bench.faults.begin(Fault(kind="program_stop"), bench.now)
    bench.run(0.1)
    assert not bench.arm.program_running and bench.arm.safety_mode == SafetyMode.NORMAL
    assert bench.arm.play()[0] and bench.faults.kinds == ()
    bench.run(0.1)
    assert bench.arm.program_running and bench.arm.active == FORWARD


def test_strict_switching_fails_on_what_is_not_there():
    arm = Bench().arm
    assert not arm.switch([FORWARD], ["no_such"], strict=True)[0]
    assert not arm.switch(["no_such"], [])[0]
    assert not arm.switch([FORWARD], [])[0], "its joints are claimed"
    assert arm.switch([FORWARD], [*HOME_CONTROLLERS, "no_such"])[0]
