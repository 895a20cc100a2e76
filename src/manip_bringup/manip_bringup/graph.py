"""The node graph: which nodes, with which parameters. The one description that both the launch
files and the ``manip`` command start, so that they cannot drift apart.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.util import find_spec

from manip_bringup.vendors import Vendor, vendors
from manip_core import interfaces, resources
from manip_core.hand import SIDES

# Exit status of a node whose own arguments are wrong: starting it again would not help.
USER_ERROR = 2


@dataclass(frozen=True)
class Argument:
    """A launch argument ``name:=value``."""

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeSpec:
    """One process: an executable of a package, its node name, parameters and renamed topics."""

    package: str
    executable: str
    parameters: dict[str, object] = field(default_factory=dict)
    remaps: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the node, which is that of its executable."""
        return self.executable


@dataclass(frozen=True)
class Graph:
    """A set of nodes that is started together, and the vendors' drivers that it needs."""

    help: str
    arguments: tuple[Argument, ...]
    nodes: Callable[[dict[str, str]], list[NodeSpec]]
    vendors: Callable[[dict[str, str]], list[Vendor]] = lambda a: []

    def resolve(self, given: dict[str, str]) -> dict[str, str]:
        """All arguments, given or default.

        Raises:
            ValueError: An unknown argument, or a value that is not among the choices.
        """
        known = {argument.name: argument for argument in self.arguments}
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ValueError(f"unknown arguments {unknown}; there are {', '.join(known)}")
        for name, value in given.items():
            choices = known[name].choices
            if choices and value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        return {name: given.get(name, argument.default) for name, argument in known.items()}


_SWITCH = ("true", "false")
# What computes the pose transformer, by the module that must be installed, and the set-up for it.
_RUNTIMES = {"openvino": "amt", "onnxruntime": "amt", "torch": "train"}

_PERCEPTION = (
    Argument("source", "auto", "webcam index, video file, image folder, demo, or auto"),
    Argument("rate", "-1", "frames/s of a file: -1 its own, 0 as fast as the graph keeps up"),
    Argument("loop", "true", "start a file again at its end", _SWITCH),
    Argument("calibration", "", "camera calibration YAML"),
    Argument("fov_deg", "60", "horizontal field of view without a calibration [degrees]"),
    Argument("estimator", "mediapipe", "hand pose estimator", ("mediapipe", "amt")),
    Argument("model", "", "(amt) folder of the exported model; empty: the one that ships"),
    Argument(
        "runtime",
        "auto",
        "(amt) what computes the network; auto: the fastest here",
        ("auto", *_RUNTIMES),
    ),
    Argument("smoothing", "one_euro", "what smooths hands", ("one_euro", "temporal")),
    Argument("bridge", "false", "go on through losses of up to half a second", _SWITCH),
    Argument("hand", "right", "which hand drives, and which Allegro is driven", SIDES),
    Argument("mirror", "false", "let the other hand drive, mirrored", _SWITCH),
    Argument("action", "false", "foretell what the hand is about to do", _SWITCH),
    Argument("hand_length", "0", "your wrist to middle fingertip [m]; 0 for a grown-up's mean"),
)
_VIEWS = (
    Argument("viewer", "true", "serve the operator page", _SWITCH),
    Argument("host", "127.0.0.1", "address that the operator page listens on"),
    Argument("port", "8080", "port of the operator page"),
    Argument("token", "", "token of the operator page; empty: MANIP_TOKEN, or one of its own"),
    Argument("rviz", "false", "publish for RViz 2, and start it where it is installed", _SWITCH),
    Argument("meshes", "", "folder with the robot's meshes, drawn instead of the primitives"),
    Argument("record", "", "folder to record every topic to"),
)
_ARM_SCALE = Argument("arm_scale", "1.0", "metres of the robot's palm per metre of the wrist")
_ASSIST = Argument(
    "assist", "false", "close the hand and hold where you are surely seen to grasp", _SWITCH
)
_HAND_DRIVER = Argument(
    "hand_driver", "v5", "Allegro driver's naming", ("v4", "v5", "ros2_control", "menagerie")
)
_ROBOT = (
    Argument("robot_ip", "", "address of the arm; empty: its driver runs already"),
    # Limits, kinematics and collision bodies are those of this one.
    Argument("ur_type", "ur5e", "type of the arm", ("ur5e",)),
    Argument(
        "arm_driver",
        "forward",
        "how the arm is commanded",
        ("forward", "scaled_trajectory", "trajectory"),
    ),
    Argument("arm_prefix", "", "the UR driver's tf_prefix"),
    Argument("headless", "false", "the UR driver runs without a program on the pendant", _SWITCH),
    Argument(
        "hand_driver",
        "v5",
        "Allegro driver; can: our own, on SocketCAN",
        ("v4", "v5", "ros2_control", "menagerie", "can"),
    ),
    Argument("can_channel", "can0", "CAN bus of the hand"),
    Argument("hand_launch", "true", "start the hand's driver too", _SWITCH),
    Argument("speed_fraction", "0.25", "share of the joints' speed limits to use"),
)


def _true(arguments: dict[str, str], name: str) -> bool:
    return arguments.get(name) == "true"


def _perception(a: dict[str, str]) -> list[NodeSpec]:
    other = SIDES[1 - SIDES.index(a["hand"])]
    seen = other if _true(a, "mirror") else a["hand"]
    camera = {
        "source": a["source"],
        "rate": float(a["rate"]),
        "loop": _true(a, "loop"),
        "calibration": a["calibration"],
        "fov_deg": float(a["fov_deg"]),
    }
    estimator = {
        "estimator": a["estimator"],
        "hand": seen,
        "hand_length": float(a["hand_length"]),
        "model": a["model"],
        "runtime": "" if a["runtime"] == "auto" else a["runtime"],
    }
    nodes = [
        NodeSpec("manip_perception", "camera_node", camera),
        NodeSpec("manip_perception", "hand_pose_node", estimator),
        NodeSpec(
            "manip_perception",
            "smoothing_node",
            {"smoothing": a["smoothing"], "bridge": _true(a, "bridge")},
        ),
    ]
    # Assistance acts on what is foretold.
    if _true(a, "action") or _true(a, "assist"):
        nodes.append(NodeSpec("manip_perception", "action_node"))
    return nodes


def _views(a: dict[str, str]) -> list[NodeSpec]:
    nodes = []
    if _true(a, "viewer"):
        viewer = {
            **{"hand": a["hand"], "host": a["host"], "port": int(a["port"])},
            "token": a["token"],
        }
        nodes.append(NodeSpec("manip_bringup", "viewer_node", viewer))
    if _true(a, "rviz"):
        nodes.append(
            NodeSpec("manip_bringup", "rviz_node", {"hand": a["hand"], "meshes": a["meshes"]})
        )
    if a["record"]:
        nodes.append(NodeSpec("manip_bringup", "recorder_node", {"directory": a["record"]}))
    return nodes


def _following(a: dict[str, str], **control) -> list[NodeSpec]:
    retargeting = {
        "hand": a["hand"],
        "mirror": _true(a, "mirror"),
        "arm_scale": float(a["arm_scale"]),
    }
    control |= {
        **{"hand": a["hand"], "hand_driver": a["hand_driver"]},
        "assist": _true(a, "assist"),
    }
    return [
        NodeSpec("manip_retargeting", "retargeting_node", retargeting),
        NodeSpec("manip_control", "control_node", control),
    ]


def _sim(a: dict[str, str]) -> list[NodeSpec]:
    robot = {"hand": a["hand"], "meshes": a["meshes"], "hand_driver": a["hand_driver"]}
    # Where the type of the question is not installed, the simulated driver asks for no switching.
    switch = not interfaces.missing(interfaces.SWITCH_CONTROLLER)
    return [
        NodeSpec("manip_control", "mujoco_robot_node", robot),
        *_following(a, auto_engage=_true(a, "engage"), switch_controllers=switch),
        *_perception(a),
        *_views(a),
    ]


def _real(a: dict[str, str]) -> list[NodeSpec]:
    # A real robot waits for its operator, and starts slowly.
    following = _following(
        a,
        auto_engage=False,
        arm_driver=a["arm_driver"],
        speed_fraction=float(a["speed_fraction"]),
        arm_prefix=a["arm_prefix"],
        headless=_true(a, "headless"),
        merged_states=True,
    )
    nodes = [*following, *_perception(a), *_views(a)]
    # The drivers send arm and hand apart and under their own names: all but the control node, which
    # puts them together, hear of the whole.
    whole = {interfaces.JOINT_STATES.name: interfaces.MERGED_STATES.name}
    nodes = [
        node
        if node.executable in ("control_node", "recorder_node")
        else replace(node, remaps=whole)
        for node in nodes
    ]
    if a["hand_driver"] == "can":
        can = {"hand": a["hand"], "can_channel": a["can_channel"]}
        nodes.insert(0, NodeSpec("manip_control", "can_hand_node", can))
    return nodes


GRAPHS = {
    "sim": Graph(
        "a hand on video moves the robot in MuJoCo",
        (
            *_PERCEPTION,
            *_VIEWS,
            _ARM_SCALE,
            _ASSIST,
            _HAND_DRIVER,
            Argument("engage", "true", "engage by itself", _SWITCH),
        ),
        _sim,
    ),
    "perception": Graph(
        "camera, hand pose and smoothing alone",
        (*_PERCEPTION, *_VIEWS),
        lambda a: [*_perception(a), *_views(a)],
    ),
    "real": Graph(
        "the same for a real UR5e and Allegro Hand; ros2 launch starts their drivers too",
        (*_PERCEPTION, *_VIEWS, _ARM_SCALE, _ASSIST, *_ROBOT),
        _real,
        vendors,
    ),
}


def check_installed(arguments: dict[str, str]) -> None:
    """See that what the chosen estimator computes with is there.

    Raises:
        ValueError: It is not; the message says what to run.
    """
    if arguments["estimator"] != "amt":
        return
    asked = arguments["runtime"]
    wanted = [name for name in _RUNTIMES if asked in (name, "auto")]
    if not any(find_spec(name) for name in wanted):
        raise ValueError(
            f"estimator amt needs {' or '.join(wanted)}, which is not installed: "
            f"run scripts/setup.sh {_RUNTIMES[wanted[0]]}"
        )


def replay(graph: Graph, arguments: dict[str, str], bag: str) -> list[NodeSpec]:
    """The nodes of ``graph`` with a recorded bag in the camera's place."""
    nodes = graph.nodes(arguments)
    player = NodeSpec(
        "manip_bringup", "replay_node", {"bag": bag, "loop": _true(arguments, "loop")}
    )
    return [player if node.executable == "camera_node" else node for node in nodes]


def environment() -> dict[str, str]:
    """Variables that every node is started with: transport of pictures without losses.

    The shared-memory profile and the malloc thresholds took a 640x480 picture between two
    processes from 14 ms to 3 ms; without the profile, 67 % and more of them were lost. A profile
    that the environment names already stands: nodes on several machines need another one.
    """
    given = os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE")
    profile = given or str(resources.find("config/fastdds_shm.xml"))
    return {
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "MALLOC_MMAP_THRESHOLD_": "67108864",
        "MALLOC_TRIM_THRESHOLD_": "268435456",
        "MALLOC_TOP_PAD_": "33554432",
        # One thread a node: numpy's own would only get in each other's way on small arrays.
        # OpenVINO and ONNX Runtime do not read it (measured); PyTorch is told by the estimator.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        # MuJoCo draws off screen; without a display its default way has nothing to draw on.
        "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl"),
    }
