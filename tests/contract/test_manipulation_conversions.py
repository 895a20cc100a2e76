"""What a hand is about to do: to its message and back, and refused where it is unsound."""

from dataclasses import replace

import numpy as np
import pytest
from manip_msgs.msg import HandObservation, ManipulationCommand
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation

from manip_core.grasp_types import GRASP_NAMES, NUM_GRASP_TYPES
from manip_core.hand import LEFT
from manip_core.interfaces import CAMERA_OPTICAL_FRAME
from manip_core.manipulation import NUM_STEPS, Manipulation
from manip_ros.conversions import to_stamp
from manip_ros.manipulation_conversions import manipulation_from_msg, manipulation_to_msg

STAMP = to_stamp(12.000000001)


def some() -> Manipulation:
    rng = np.random.default_rng(0)
    types = rng.random(NUM_GRASP_TYPES)
    return Manipulation(
        stamp=12.000000001,
        side=LEFT,
        position=rng.normal(size=(NUM_STEPS, 3)),
        rotation=Rotation.random(NUM_STEPS, random_state=0).as_matrix(),
        aperture=rng.random(NUM_STEPS),
        force=rng.random(NUM_STEPS),
        grasping=rng.random(NUM_STEPS),
        approach=np.array((0.0, 0.6, 0.8)),
        grasp_types=types / types.sum(),
        confidence=0.75,
    )


def sent(said):
    msg = manipulation_to_msg(said, STAMP)
    assert (msg.header.stamp, msg.header.frame_id) == (STAMP, CAMERA_OPTICAL_FRAME)
    return deserialize_message(serialize_message(msg), ManipulationCommand)


def test_it_survives_the_message():
    said = some()
    msg = sent(said)
    back = manipulation_from_msg(msg)
    for name in ("position", "rotation", "aperture", "force", "grasping", "approach",
                 "grasp_types"):  # fmt: skip
        np.testing.assert_allclose(getattr(back, name), getattr(said, name), atol=1e-6)
    assert (back.side, back.confidence) == (LEFT, 0.75)
    assert back.step == pytest.approx(said.step)
    assert back.stamp == pytest.approx(said.stamp, abs=1e-9)
    assert msg.grasp_type == said.grasp_type in GRASP_NAMES
    nothing = manipulation_from_msg(sent(Manipulation(stamp=1.0)))
    assert nothing.confidence == 0.0 and not nothing.approach.any()


def test_constants_agree():
    assert (ManipulationCommand.LEFT, ManipulationCommand.RIGHT) == (
        HandObservation.LEFT,
        HandObservation.RIGHT,
    )
    msg = ManipulationCommand()
    assert len(msg.palm) == len(msg.aperture) == len(msg.grasping) == NUM_STEPS
    assert len(msg.grasp_types) == NUM_GRASP_TYPES


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("aperture", [np.nan] * NUM_STEPS, "aperture must be finite, got 10"),
        ("force", [-1.0] * NUM_STEPS, "force must be at least 0"),
        ("grasping", [1.5] * NUM_STEPS, "grasping must be within 0 and 1"),
        ("step", 0.0, "step must be positive"),
        ("confidence", -0.5, "confidence must be within 0 and 1"),
        ("grasp_type", "fist", "grasp_type must be the likeliest"),
    ],
)
def test_unsound_messages_are_refused(name, value, said):
    msg = sent(some())
    setattr(msg, name, value)
    with pytest.raises(ValueError, match=said):
        manipulation_from_msg(msg)


def test_a_palm_without_a_turn_is_refused():
    msg = sent(some())
    turn = msg.palm[3].orientation
    turn.x = turn.y = turn.z = turn.w = 0.0
    with pytest.raises(ValueError, match="orientations must be rotations"):
        manipulation_from_msg(msg)
    assert "position must be (10, 3)" in replace(some(), position=np.zeros((9, 3))).problem()
