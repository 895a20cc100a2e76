"""The makers' drivers: which are started with a real robot, and what is said of the others."""

import sys
import types

import pytest

from manip_bringup.graph import GRAPHS
from manip_bringup.vendors import vendors

REAL = GRAPHS["real"]


def plan(**given):
    return {one.package: one for one in vendors(REAL.resolve(given))}


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """An ament prefix in which the UR driver is installed."""
    (tmp_path / "share/ur_robot_driver/launch").mkdir(parents=True)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"/no/such:{tmp_path}")
    return tmp_path


def test_the_arm_s_driver_is_started_with_what_it_needs(prefix):
    arm = plan(robot_ip="192.168.56.101", arm_prefix="left_", headless="true")["ur_robot_driver"]
    assert arm.file() == prefix / "share/ur_robot_driver/launch/ur_control.launch.py"
    assert arm.arguments == {
        "robot_ip": "192.168.56.101",
        "ur_type": "ur5e",
        "tf_prefix": "left_",
        "headless_mode": "true",
        "launch_rviz": "false",
    }


def test_without_an_address_the_arm_s_driver_runs_elsewhere(prefix):
    assert "not started from here" in plan()["ur_robot_driver"].file()


def test_a_package_that_is_missing_is_named(prefix):
    missing = plan(robot_ip="10.0.0.2", hand_driver="v5")["allegro_hand_controllers"]
    assert missing.file().startswith("package allegro_hand_controllers is not installed")


@pytest.mark.parametrize(
    ("driver", "package"),
    [("v5", "allegro_hand_controllers"), ("ros2_control", "allegro_hand_bringup")],
)
def test_each_hand_has_its_own_package(driver, package):
    assert set(plan(hand_driver=driver)) == {"ur_robot_driver", package}


@pytest.mark.parametrize("driver", ["v4", "can", "menagerie"])
def test_hands_without_a_maker_s_ros_2_driver_have_none(driver):
    assert set(plan(hand_driver=driver)) == {"ur_robot_driver"}


def test_the_can_hand_is_ours():
    nodes = REAL.nodes(REAL.resolve({"hand_driver": "can", "can_channel": "can1"}))
    (hand,) = (node for node in nodes if node.executable == "can_hand_node")
    assert hand.parameters["can_channel"] == "can1"


def test_viewers_of_a_real_robot_hear_of_the_whole_and_the_control_node_of_the_parts():
    nodes = {n.executable: n for n in REAL.nodes(REAL.resolve({"rviz": "true", "record": "/b"}))}
    whole = {"/joint_states": "/robot/joint_states"}
    assert nodes["control_node"].remaps == {} and nodes["control_node"].parameters["merged_states"]
    assert nodes["retargeting_node"].remaps == nodes["viewer_node"].remaps == whole
    assert nodes["rviz_node"].remaps == whole and nodes["recorder_node"].remaps == {}
    assert not any(node.remaps for node in GRAPHS["sim"].nodes(GRAPHS["sim"].resolve({})))


def test_another_arm_than_the_model_s_is_refused():
    with pytest.raises(ValueError, match="ur_type must be one of ur5e"):
        REAL.resolve({"ur_type": "ur10e"})


def test_the_launch_description_includes_or_says(prefix, monkeypatch):
    """With stand-ins for ``launch``, which comes with ROS 2 alone."""
    made = []

    def stand_in(name):
        def make(*args, **kwargs):
            made.append((name, args, kwargs))
            return types.SimpleNamespace(name=name, args=args, kwargs=kwargs)

        return make

    names = {
        "launch": ["LaunchDescription"],
        "launch.actions": [
            "DeclareLaunchArgument IncludeLaunchDescription LogInfo OpaqueFunction",
            "SetEnvironmentVariable",
        ],
        "launch.launch_description_sources": ["AnyLaunchDescriptionSource"],
        "launch_ros": [],
        "launch_ros.actions": ["Node"],
    }
    for module, members in names.items():
        fake = types.ModuleType(module)
        for member in " ".join(members).split():
            setattr(fake, member, stand_in(member))
        monkeypatch.setitem(sys.modules, module, fake)
    given = {"robot_ip": "10.0.0.2", "viewer": "false", "params": "mine.yaml"}
    substitutions = types.ModuleType("launch.substitutions")
    defaults = {argument.name: argument.default for argument in REAL.arguments} | given
    substitutions.LaunchConfiguration = lambda name: types.SimpleNamespace(
        perform=lambda _context: defaults[name]
    )
    monkeypatch.setitem(sys.modules, "launch.substitutions", substitutions)
    monkeypatch.delitem(sys.modules, "manip_bringup.launching", raising=False)
    from manip_bringup.launching import describe

    describe("real")
    start = next(kwargs["function"] for name, _, kwargs in made if name == "OpaqueFunction")
    actions = start(None)
    kinds = [action.name for action in actions]
    assert kinds[:2] == ["IncludeLaunchDescription", "LogInfo"] and set(kinds[2:]) == {"Node"}
    assert actions[0].args[0].args[0].endswith("ur_control.launch.py")
    assert dict(actions[0].kwargs["launch_arguments"])["robot_ip"] == "10.0.0.2"
    assert "allegro_hand_controllers is not installed" in actions[1].kwargs["msg"]
    assert all(a.kwargs["parameters"][0] == "mine.yaml" for a in actions[2:])
    retargeting = next(a for a in actions if a.kwargs.get("executable") == "retargeting_node")
    assert retargeting.kwargs["remappings"] == [("/joint_states", "/robot/joint_states")]
    monkeypatch.delitem(sys.modules, "manip_bringup.launching")
