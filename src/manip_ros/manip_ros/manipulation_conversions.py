"""What a hand is about to do, to a message and back.

A palm's position in the message is the wrist's, its orientation that of
:func:`manip_core.hand.palm_rotation`, as in HandObservation.
"""

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose
from manip_msgs.msg import ManipulationCommand

from manip_core.grasp_types import NUM_GRASP_TYPES
from manip_core.hand import LEFT, RIGHT
from manip_core.interfaces import CAMERA_OPTICAL_FRAME
from manip_core.manipulation import Manipulation
from manip_core.rotation import matrix_from_quaternion, quaternion_from_matrix
from manip_ros.conversions import to_seconds


def manipulation_to_msg(said: Manipulation, stamp: Time) -> ManipulationCommand:
    """ManipulationCommand; ``stamp`` is passed on untouched, to the nanosecond."""
    msg = ManipulationCommand(
        handedness=ManipulationCommand.RIGHT if said.side == RIGHT else ManipulationCommand.LEFT,
        step=float(said.step),
        palm=[_pose(*one) for one in zip(said.position, said.rotation, strict=True)],
        aperture=said.aperture.astype(np.float32),
        force=said.force.astype(np.float32),
        grasping=said.grasping.astype(np.float32),
        grasp_type=said.grasp_type,
        grasp_types=said.grasp_types.astype(np.float32),
        confidence=float(said.confidence),
    )
    msg.header.stamp = stamp
    msg.header.frame_id = CAMERA_OPTICAL_FRAME
    msg.approach.x, msg.approach.y, msg.approach.z = map(float, said.approach)
    return msg


def manipulation_from_msg(msg: ManipulationCommand) -> Manipulation:
    """What a ManipulationCommand says.

    Raises:
        ValueError: Its content is unsound.
    """
    turns = [_quaternion(pose) for pose in msg.palm]
    if min(np.linalg.norm(turn) for turn in turns) < 0.1:
        raise ValueError("palm orientations must be rotations, got a quaternion of zeros")
    said = Manipulation(
        stamp=to_seconds(msg.header.stamp),
        side=RIGHT if msg.handedness == ManipulationCommand.RIGHT else LEFT,
        step=float(msg.step),
        position=np.array([(p.position.x, p.position.y, p.position.z) for p in msg.palm]),
        rotation=np.stack([matrix_from_quaternion(turn) for turn in turns]),
        aperture=np.asarray(msg.aperture, dtype=float),
        force=np.asarray(msg.force, dtype=float),
        grasping=np.asarray(msg.grasping, dtype=float),
        approach=np.array((msg.approach.x, msg.approach.y, msg.approach.z)),
        grasp_types=np.asarray(msg.grasp_types, dtype=float),
        confidence=float(msg.confidence),
    )
    if problem := said.problem():
        raise ValueError(problem)
    if msg.grasp_type != said.grasp_type:
        raise ValueError(
            f"grasp_type must be the likeliest of {NUM_GRASP_TYPES}, {said.grasp_type}, "
            f"got {msg.grasp_type!r}"
        )
    return said


def _pose(position: np.ndarray, rotation: np.ndarray) -> Pose:
    pose = Pose()
    turn = quaternion_from_matrix(rotation)
    for field, values in ((pose.position, position), (pose.orientation, turn)):
        for name, value in zip("xyzw", values.tolist(), strict=False):
            setattr(field, name, value)
    return pose


def _quaternion(pose: Pose) -> np.ndarray:
    turn = pose.orientation
    return np.array((turn.x, turn.y, turn.z, turn.w))
