"""Joint states in parts, under other names, made one."""

import numpy as np
import pytest

from manip_control.allegro_drivers import HAND_DRIVERS
from manip_control.arm_drivers import arm_names
from manip_control.joint_merge import JointMerge
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES, home

HOME = home("right")


def arm(merge, now, *, stamp=None, prefix=""):
    names = ("gripper", *arm_names(prefix))
    return merge.update(names, [9.0, *HOME[:6]], [0.0] * 7, now if stamp is None else stamp, now)


@pytest.mark.parametrize("name", HAND_DRIVERS)
def test_arm_and_hand_apart_become_one(name):
    driver, merge = HAND_DRIVERS[name], JointMerge("left_")
    assert arm(merge, 1.0, prefix="left_") and merge.measured_at == -np.inf
    assert set(merge.missing()) == set(JOINT_NAMES) - set(ARM_JOINTS)
    hand = driver.arrange(dict(zip(JOINT_NAMES[6:], HOME[6:], strict=True)))
    assert not merge.update(driver.names, hand, [], 1.5, 1.5)
    np.testing.assert_array_equal(merge.position, HOME)
    # As old as the older of the two.
    assert merge.measured_at == 1.0 and not merge.missing()
    arm(merge, 2.0, prefix="left_")
    assert merge.measured_at == 1.5


def test_joints_without_the_prefix_are_another_arm_s():
    merge = JointMerge("left_")
    assert not arm(merge, 1.0) and len(merge.missing()) == 22


def test_a_sender_that_repeats_itself_is_not_alive():
    merge = JointMerge()
    merge.update(JOINT_NAMES, HOME, [], 1.0, 1.0)
    assert not merge.update(JOINT_NAMES, HOME + 1.0, [], 1.0, 5.0)
    assert merge.measured_at == 1.0 and merge.repeated == 1
    np.testing.assert_array_equal(merge.position, HOME)
    assert merge.update(JOINT_NAMES, HOME, [], 5.0, 5.0) and merge.measured_at == 5.0
    # No stamps at all: then there is nothing to go by.
    assert merge.update(JOINT_NAMES, HOME, [], 0.0, 6.0)
    assert merge.update(JOINT_NAMES, HOME, [], 0.0, 7.0) and merge.measured_at == 7.0


def test_what_waited_on_its_way_is_as_old_as_it_waited():
    merge = JointMerge()
    # The sender's clock is 100 s behind, and messages take 2 ms.
    for i in range(20):
        merge.update(JOINT_NAMES, HOME, [], 1.0 + 0.008 * i, 101.002 + 0.008 * i)
        assert merge.measured_at == pytest.approx(101.002 + 0.008 * i)
    # The network stands still for 0.2 s, then all comes at once.
    back = 101.002 + 0.008 * 20 + 0.2
    for i in range(20, 46):
        merge.update(JOINT_NAMES, HOME, [], 1.0 + 0.008 * i, back)
        assert merge.measured_at == pytest.approx(min(101.002 + 0.008 * i, back))


@pytest.mark.parametrize("jump", [-30.0, 30.0])
def test_a_clock_that_is_set_is_believed_after_a_while(jump):
    merge = JointMerge()
    merge.update(JOINT_NAMES, HOME, [], 1.0, 1.0)
    for i in range(1, 300):
        merge.update(JOINT_NAMES, HOME, [], 1.0 + jump + 0.1 * i, 1.0 + 0.1 * i)
    assert merge.measured_at == pytest.approx(30.9)


def test_names_without_end_fill_no_memory():
    merge = JointMerge()
    for i in range(1000):
        merge.update((*JOINT_NAMES, f"other_{i}"), [*HOME, 0.0], [], 1.0 + i, 1.0 + i)
    assert len(merge._senders) < 100
    assert merge.measured_at == pytest.approx(1000.0)


@pytest.mark.parametrize(
    ("positions", "velocities", "message"),
    [(HOME[:5], [], "22 names"), (HOME, [0.0], "1 velocities"), (HOME * np.nan, [], "finite")],
)
def test_garbage_is_refused_and_changes_nothing(positions, velocities, message):
    merge = JointMerge()
    with pytest.raises(ValueError, match=message):
        merge.update(JOINT_NAMES, positions, velocities, 1.0, 1.0)
    assert len(merge.missing()) == 22
