"""Help with grasping on real nodes: a decoder's word closes the fingers, its end opens them."""

import time

import numpy as np
from harness import only, running, sim
from manip_msgs.msg import JointTarget, ManipulationCommand, TeleopState

from manip_control.opposition import Opposition
from manip_control.palm_reach import PalmReach
from manip_core.interfaces import (
    JOINT_STATES,
    MANIPULATION,
    SCENE_OBJECTS,
    TARGET,
    TELEOP_STATE,
)
from manip_core.robot_model import JOINT_NAMES, home
from manip_ros.conversions import to_stamp

HOME = home("right")
BENT = [JOINT_NAMES.index(f"{finger}j2") for finger in ("ff", "mf", "rf", "th")]


def word(grasping: float, name: str = "prismatic_4_finger") -> ManipulationCommand:
    msg = ManipulationCommand(step=1 / 30, grasp_type=name, confidence=1.0)
    msg.header.stamp = to_stamp(time.time() - 0.01)
    msg.grasping = np.full(10, grasping, np.float32)
    msg.aperture = np.full(10, 0.06, np.float32)
    msg.force = np.full(10, 3.0, np.float32)
    return msg


def target() -> JointTarget:
    msg = JointTarget(names=list(JOINT_NAMES), positions=HOME.tolist(), confidence=1.0)
    msg.header.stamp = to_stamp(time.time() - 0.01)
    return msg


def test_a_grasp_that_is_told_closes_the_fingers_until_it_is_told_no_more(probe):
    with running(only(sim(assist="true"), "mujoco_robot_node", "control_node")):
        listener = probe(JOINT_STATES, TELEOP_STATE)
        listener.wait(lambda: listener.count(JOINT_STATES), what="joint states")

        def state():
            return listener.last(TELEOP_STATE)

        listener.wait(lambda: state() and state().mode == TeleopState.ENGAGED, what="engagement")
        targets, words = listener.publisher(TARGET), listener.publisher(MANIPULATION)

        def bent() -> np.ndarray:
            return np.array(listener.last(JOINT_STATES).position)[BENT] - HOME[BENT]

        def tell(*said, seconds=20.0, until=lambda: False) -> None:
            end = time.time() + seconds
            while time.time() < end and not until():
                targets.publish(target())
                for msg in said:
                    words.publish(word(*msg))
                time.sleep(1 / 30)

        def closed() -> bool:
            return bool((bent() > 0.1).all())

        def opened() -> bool:
            return bool((np.abs(bent()) < 0.05).all())

        tell((1.0,), until=closed)
        assert closed()
        tell((0.0,), until=opened)
        assert opened()
        # What is no word is refused, and closes nothing.
        tell((np.nan,), (1.0, "fist"), seconds=1.0)
        assert opened()
        # In silence after a grasp the hand opens too.
        tell((1.0,), until=closed)
        assert closed()
        tell(until=opened)
        assert opened()


def test_reaching_for_a_known_object_and_grasping_lifts_it(probe):
    """The palm is led onto the scene's can, which the operator's own hand would miss by 4 cm."""
    with running(only(sim(assist="true"), "mujoco_robot_node", "control_node")):
        listener = probe(JOINT_STATES, TELEOP_STATE, SCENE_OBJECTS)
        listener.wait(lambda: listener.count(JOINT_STATES), what="joint states")
        listener.wait(lambda: listener.count(SCENE_OBJECTS), what="the scene's objects")

        def state():
            return listener.last(TELEOP_STATE)

        def can() -> np.ndarray:
            (item,) = [one for one in listener.last(SCENE_OBJECTS).objects if one.name == "can"]
            return np.array([getattr(item.pose.position, axis) for axis in "xyz"])

        listener.wait(lambda: state() and state().mode == TeleopState.ENGAGED, what="engagement")
        targets, words = listener.publisher(TARGET), listener.publisher(MANIPULATION)
        reach, rested = PalmReach(), can()
        palm, rotation = reach.pose(HOME)
        over = rested - rotation @ Opposition().centre + (0.0, 0.04, 0.06)
        q = HOME.copy()

        def lead(goal: np.ndarray, seconds: float, grasping: float, until=lambda: False) -> None:
            nonlocal palm, q
            start, began = palm, time.time()
            while (share := (time.time() - began) / seconds) < 1.0 and not until():
                palm = start + min(1.0, 1.5 * share) * (goal - start)
                q, _ = reach.solve(palm, rotation, q)
                msg = target()
                msg.positions = q.tolist()
                targets.publish(msg)
                words.publish(word(grasping))
                time.sleep(1 / 30)

        lead(over, 5.0, 0.0)
        # It waits for the fingers, whatever the operator's palm does meanwhile.
        up = over + np.array([0.0, 0.0, 0.2])
        lead(up, 30.0, 1.0, until=lambda: not -0.015 < can()[2] - rested[2] < 0.1)
        assert can()[2] > rested[2] + 0.1
