"""The judge of a soak: what it counts against the control node, and what it must not."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

from soak_watch import CommandJudge, StopWatch

from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES, home, limits

PERIOD = 1 / 125
ARM = len(ARM_JOINTS)
# A period's worth of the arm's slowest joint.
STEP = limits("right").velocity[:ARM].min() * PERIOD


def judge_of(commands, states=(), first=1):
    """A judge that heard ``(time, number, change)`` of the arm, then ``(time, change)`` of the
    robot, whose ``first`` word that was."""
    judge = CommandJudge(1 / PERIOD)
    for at, number, change in commands:
        judge.on_arm(home()[:ARM] + change, at, number)
    for number, (at, change) in enumerate(states, first):
        posture = home()
        posture[:ARM] += change
        judge.on_state(JOINT_NAMES, posture, at, number)
    judge.close()
    return judge


def test_steps_at_the_speed_limit_are_allowed_and_faster_ones_are_not():
    steady = [(n * PERIOD, n, n * STEP) for n in range(4)]
    assert not judge_of(steady).violations
    assert judge_of([*steady, (4 * PERIOD, 4, 5 * STEP)]).violations == {"speed": 1}
    # What was not heard counts for its share.
    assert not judge_of([*steady, (4 * PERIOD, 6, 6 * STEP)]).violations


def test_after_a_pause_it_goes_on_from_where_the_robot_is_whatever_is_heard_first():
    commands = [(0.0, 1, 0.0), (1.0, 2, 0.3)]
    assert judge_of(commands).violations == {"jump": 1}
    # The robot's word was sent before the command, and read after it.
    assert not judge_of(commands, [(0.99, 0.3), (1.5, 0.3)]).violations
    # What the robot says later, or said long before, explains nothing.
    assert judge_of(commands, [(1.01, 0.3), (1.5, 0.3)]).violations == {"jump": 1}
    assert judge_of(commands, [(0.4, 0.3), (1.5, 0.3)]).violations == {"jump": 1}


def test_a_robot_that_spoke_before_it_was_heard_is_given_the_benefit_of_its_first_word():
    commands = [(0.0, 1, 0.0), (1.0, 2, 0.3)]
    assert not judge_of(commands, [(1.2, 0.3), (1.5, 0.3)], first=60).violations
    # Only as far as it may have gone since.
    assert judge_of(commands, [(1.2, 2.5), (1.5, 2.5)], first=60).violations == {"jump": 1}
    # Nor where it was heard all the time.
    assert judge_of(commands, [(0.9, 0.0), (1.2, 0.3), (1.5, 0.3)]).violations == {"jump": 1}


def test_malformed_commands_and_postures_beyond_limits_or_in_the_table_count():
    judge = CommandJudge(1 / PERIOD)
    judge.on_arm(np.full(ARM, np.nan), 0.0, 1)
    judge.on_arm(np.zeros(5), 0.1, 2)
    assert judge.violations == {"malformed": 2}
    judge = judge_of([(0.0, 1, 20.0)])
    assert judge.violations["position"] == 1
    judge = CommandJudge(1 / PERIOD)
    folded = home()[:ARM].copy()
    folded[1] = 0.6
    judge.on_arm(folded, 0.0, 1)
    hand = home()[judge._hand_order]
    judge.on_hand(hand, 0.001, 1)
    assert judge.violations["collision"] == 1


def word(engaged, holding=False):
    return SimpleNamespace(mode=int(engaged), holding=holding, reason="no fresh target")


def test_a_stop_that_nothing_explains_is_told_from_those_that_something_does():
    stops = StopWatch()
    for now in np.arange(0, 3, 0.1):
        stops.on_state(word(True, holding=1 < now < 2), now)
    assert len(stops.unplanned) == 1
    stops = StopWatch()
    for now in np.arange(0, 5, 0.1):
        if abs(now - 1) < 0.01:
            stops.planned("kill camera_node", now)
        stops.on_state(word(True, holding=1 < now < 2), now)
    assert not stops.unplanned and not stops.open
    assert stops.incidents[0].stopped and 0.9 < stops.incidents[0].recovered_s < 1.2
