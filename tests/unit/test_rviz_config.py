"""config/manip.rviz names topics, types, qualities of service and frames that the suite has."""

import mujoco
import numpy as np
import pytest
import yaml

from manip_bringup.robot_frames import RobotFrames, hand_shape
from manip_core import resources
from manip_core.hand import Hand
from manip_core.hand_skeleton import TIPS
from manip_core.interfaces import (
    HAND_MARKERS,
    IMAGE,
    ROBOT_DESCRIPTION,
    TOPICS,
    Qos,
)
from manip_core.robot_model import JOINT_NAMES, build_model, camera_mount, home

# What each RViz 2 display subscribes to, and under which key its topic stands.
DISPLAYS = {
    "rviz_default_plugins/RobotModel": ("Description Topic", "std_msgs/msg/String"),
    "rviz_default_plugins/MarkerArray": ("Topic", "visualization_msgs/msg/MarkerArray"),
    "rviz_default_plugins/Image": ("Topic", "sensor_msgs/msg/Image"),
}
OFFERED = {
    Qos.SENSOR: ("Best Effort", "Volatile"),
    Qos.RELIABLE: ("Reliable", "Volatile"),
    Qos.LATCHED: ("Reliable", "Transient Local"),
}


@pytest.fixture(scope="module")
def manager():
    text = resources.find("config/manip.rviz").read_text()
    return yaml.safe_load(text)["Visualization Manager"]


def test_topics_agree_with_the_interfaces(manager):
    by_name = {topic.name: topic for topic in TOPICS}
    shown = set()
    for display in manager["Displays"]:
        if display["Class"] not in DISPLAYS:
            continue
        key, type_name = DISPLAYS[display["Class"]]
        topic = by_name[display[key]["Value"]]
        assert topic.type == type_name
        policies = (display[key]["Reliability Policy"], display[key]["Durability Policy"])
        assert policies == OFFERED[topic.qos], topic.name
        assert display["Enabled"] and display["Value"]
        shown.add(topic.name)
    assert shown == {ROBOT_DESCRIPTION.name, HAND_MARKERS.name, IMAGE.name}


def test_every_kind_of_marker_is_shown(manager):
    source = resources.find("src/manip_bringup/manip_bringup/rviz_node.py").read_text()
    (display,) = (d for d in manager["Displays"] if d["Class"].endswith("/MarkerArray"))
    for space, shown in display["Namespaces"].items():
        assert shown and f'"{space}"' in source


def test_frames_exist(manager):
    frames = {"world"} | {t.child for t in RobotFrames().fixed()}
    frames |= {t.child for t in RobotFrames().moving(JOINT_NAMES, home())}
    (tf,) = (d for d in manager["Displays"] if d["Class"].endswith("/TF"))
    named = set(tf["Frames"]) - {"All Enabled"}
    assert named <= frames and len(named) >= 3
    assert manager["Global Options"]["Fixed Frame"] in frames
    assert manager["Views"]["Current"]["Target Frame"] in frames


@pytest.mark.parametrize("side", ["right", "left"])
def test_chained_frames_are_the_model_s_poses(side):
    frames = RobotFrames(side)
    rng = np.random.default_rng(3)
    positions = home(side) + rng.uniform(-0.2, 0.2, len(JOINT_NAMES))
    order = rng.permutation(len(JOINT_NAMES))
    moving = frames.moving([JOINT_NAMES[i] for i in order], positions[order])
    known = {"world": np.eye(4)}
    waiting = [*frames.fixed(), *moving]
    assert len({t.child for t in waiting}) == len(waiting)
    while waiting:
        ready = [t for t in waiting if t.parent in known]
        assert ready, f"no tree: {[(t.parent, t.child) for t in waiting]}"
        for t in ready:
            pose = np.eye(4)
            rotation = np.empty(9)
            mujoco.mju_quat2Mat(rotation, np.roll(t.quaternion, 1))
            pose[:3, :3], pose[:3, 3] = rotation.reshape(3, 3), t.translation
            known[t.child] = known[t.parent] @ pose
        waiting = [t for t in waiting if t.child not in known]
    model = build_model(side)
    data = mujoco.MjData(model)
    data.qpos[: len(JOINT_NAMES)] = positions
    mujoco.mj_kinematics(model, data)
    for name, pose in known.items():
        np.testing.assert_allclose(pose[:3, 3], data.body(name).xpos, atol=1e-9)
        np.testing.assert_allclose(pose[:3, :3], data.body(name).xmat.reshape(3, 3), atol=1e-9)
    rotation, translation = camera_mount(side)
    np.testing.assert_allclose(known["camera_optical_frame"][:3, 3], translation, atol=1e-9)
    np.testing.assert_allclose(known["camera_optical_frame"][:3, :3], rotation, atol=1e-9)


def test_wrong_joint_states_are_rejected():
    frames = RobotFrames()
    with pytest.raises(ValueError, match="names"):
        frames.moving(JOINT_NAMES, np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        frames.moving(JOINT_NAMES, np.full(len(JOINT_NAMES), np.nan))
    assert frames.moving(["no_such_joint"], [1.0])


def test_hand_shape_draws_only_hands():
    assert hand_shape(Hand(stamp=0.0)) is None
    keypoints = np.random.default_rng(0).normal(size=(21, 3))
    shape = hand_shape(Hand(stamp=0.0, keypoints=keypoints, tracked=True, confidence=1.0))
    assert shape.lines.shape == (20, 2, 3) and (shape.tips == keypoints[TIPS]).all()
    broken = Hand(stamp=0.0, keypoints=keypoints * np.nan, tracked=True, confidence=1.0)
    assert hand_shape(broken) is None
