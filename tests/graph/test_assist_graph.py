"""Help with grasping on real nodes: a decoder's word closes the fingers, its end opens them."""

import time

import numpy as np
from harness import only, running, sim
from manip_msgs.msg import JointTarget, ManipulationCommand, TeleopState

from manip_core.interfaces import JOINT_STATES, MANIPULATION, TARGET, TELEOP_STATE
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

        def tell(seconds: float, *said) -> np.ndarray:
            until = time.time() + seconds
            while time.time() < until:
                targets.publish(target())
                for msg in said:
                    words.publish(word(*msg))
                time.sleep(1 / 30)
            return np.array(listener.last(JOINT_STATES).position)[BENT]

        assert (tell(1.5, (1.0,)) > HOME[BENT] + 0.1).all()
        np.testing.assert_allclose(tell(1.0, (0.0,)), HOME[BENT], atol=0.05)
        # What is no word is refused, and closes nothing.
        wrong = tell(1.0, (np.nan,), (1.0, "fist"))
        np.testing.assert_allclose(wrong, HOME[BENT], atol=0.05)
        # In silence after a grasp the hand opens too.
        assert (tell(1.5, (1.0,)) > HOME[BENT] + 0.1).all()
        np.testing.assert_allclose(tell(1.2), HOME[BENT], atol=0.05)
