"""What the arm's driver says, and what is made of it."""

import pytest

from manip_control.arm_status import DriverStatus, RobotMode, SafetyMode


def ready():
    status = DriverStatus()
    status.program_running = True
    status.safety_mode, status.robot_mode = SafetyMode.NORMAL, RobotMode.RUNNING
    return status


def test_a_driver_that_says_nothing_of_its_program_is_not_ready():
    status = DriverStatus()
    assert "has not said" in status.problem and status.word == status.problem
    status.program_running = True
    # Without the package of its modes the program's state has to do.
    assert status.problem == "" and status.safe


@pytest.mark.parametrize("mode", SafetyMode)
def test_only_normal_and_reduced_let_the_arm_move(mode):
    status = ready()
    status.safety_mode = int(mode)
    moving = mode in (SafetyMode.NORMAL, SafetyMode.REDUCED)
    assert status.safe == moving and (status.problem == "") == moving
    assert moving or mode.name.lower().replace("_", " ") in status.problem


@pytest.mark.parametrize("mode", RobotMode)
def test_only_running_lets_the_arm_move(mode):
    status = ready()
    status.robot_mode = int(mode)
    assert status.safe == (mode == RobotMode.RUNNING) == (status.problem == "")


def test_a_mode_that_nobody_knows_is_a_stop():
    status = ready()
    status.safety_mode = 99
    assert "unknown mode 99" in status.problem and not status.safe


def test_speed_scaling_comes_in_per_cent_and_garbage_is_a_stop():
    status = ready()
    status.on_speed_scaling(30.0)
    assert status.speed_scaling == pytest.approx(0.3) and "30%" in status.word
    status.on_speed_scaling(100.0)
    assert status.word == "ready"
    for bad in (float("nan"), -5.0, 250.0, float("inf")):
        status.on_speed_scaling(100.0)
        with pytest.raises(ValueError, match="within 0 and 100"):
            status.on_speed_scaling(bad)
        assert status.speed_scaling == 0.0


def test_a_stopped_program_is_a_problem():
    status = ready()
    status.program_running = False
    assert "program does not run" in status.problem and status.safe
