"""Topic and service names, their types and their quality of service: the one place for them.

Plain data, so that pure code and tests may read it; ``manip_ros.topics`` turns it into rclpy
publishers and subscriptions.
"""

from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec

CAMERA_FRAME = "camera_link"
CAMERA_OPTICAL_FRAME = "camera_optical_frame"
WORLD_FRAME = "world"
PALM_FRAME = "allegro_palm"


class Qos(Enum):
    """How messages of a topic are carried."""

    # Newest wins, losses are borne: images.
    SENSOR = "best effort, volatile, depth 2"
    # Every message arrives: hands, targets, commands.
    RELIABLE = "reliable, volatile, depth 10"
    # Late joiners get the last one: states and descriptions.
    LATCHED = "reliable, transient local, depth 1"


@dataclass(frozen=True)
class Topic:
    """A topic: ``type`` is ``package/msg/Name``; ``optional`` where its package may be missing."""

    name: str
    type: str
    qos: Qos = Qos.RELIABLE
    optional: bool = False


@dataclass(frozen=True)
class Service:
    """A service: ``type`` is ``package/srv/Name``."""

    name: str
    type: str


def missing(described: Topic | Service) -> str:
    """The package that a topic or service needs and that is not installed; empty where it is."""
    package = described.type.split("/")[0]
    return "" if find_spec(package) else package


IMAGE = Topic("/camera/image_raw", "sensor_msgs/msg/Image", Qos.SENSOR)
# Reliable, so that every frame can be counted; best-effort subscribers get it too.
CAMERA_INFO = Topic("/camera/camera_info", "sensor_msgs/msg/CameraInfo")
OBSERVATION = Topic("/hand/observation", "manip_msgs/msg/HandObservation")
# The hand as it truly is, where the source of the pictures knows: the bundled clip.
TRUTH = Topic("/hand/truth", "manip_msgs/msg/HandObservation")
# 9 kB a picture: sent only while somebody listens.
HAND_MESH = Topic("/hand/mesh", "manip_msgs/msg/HandMesh")
SMOOTHED = Topic("/hand/smoothed", "manip_msgs/msg/HandObservation")
TARGET = Topic("/teleop/target", "manip_msgs/msg/JointTarget")
MANIPULATION = Topic("/manipulation/command", "manip_msgs/msg/ManipulationCommand")
TELEOP_STATE = Topic("/teleop/state", "manip_msgs/msg/TeleopState", Qos.LATCHED)
# The operator: buttons and pedals, a sign of life of who drives, the software emergency stop.
JOY = Topic("/joy", "sensor_msgs/msg/Joy")
HEARTBEAT = Topic("/teleop/heartbeat", "std_msgs/msg/Empty")
# True stops; false is not read: only RESET_STOP lets the robot move again.
STOP = Topic("/teleop/stop", "std_msgs/msg/Bool")
# An operator's word on the recording: `manip_bringup.episodes` says which there are.
EPISODE_MARK = Topic("/episode/mark", "std_msgs/msg/String")
# Names and order as the UR and Allegro drivers define them (manip_control.arm_drivers and
# allegro_drivers say which driver has which).
ARM_COMMAND = Topic("/forward_position_controller/commands", "std_msgs/msg/Float64MultiArray")
SCALED_TRAJECTORY = Topic(
    "/scaled_joint_trajectory_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"
)
TRAJECTORY = Topic(
    "/joint_trajectory_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"
)
HAND_COMMAND = Topic("/allegroHand/joint_cmd", "sensor_msgs/msg/JointState")
HAND_POSITIONS = Topic(
    "/allegro_hand_position_controller/commands", "std_msgs/msg/Float64MultiArray"
)
JOINT_STATES = Topic("/joint_states", "sensor_msgs/msg/JointState")
# Allegro's own drivers send their joints apart from the arm's.
HAND_STATES = Topic("/allegroHand/joint_states", "sensor_msgs/msg/JointState")
# All 22 joints by our names, made of both, where the drivers send them apart.
MERGED_STATES = Topic("/robot/joint_states", "sensor_msgs/msg/JointState")
PROGRAM_RUNNING = Topic(
    "/io_and_status_controller/robot_program_running", "std_msgs/msg/Bool", Qos.LATCHED
)
SAFETY_MODE = Topic(
    "/io_and_status_controller/safety_mode",
    "ur_dashboard_msgs/msg/SafetyMode",
    Qos.LATCHED,
    optional=True,
)
ROBOT_MODE = Topic(
    "/io_and_status_controller/robot_mode",
    "ur_dashboard_msgs/msg/RobotMode",
    Qos.LATCHED,
    optional=True,
)
# In percent.
SPEED_SCALING = Topic("/speed_scaling_state_broadcaster/speed_scaling", "std_msgs/msg/Float64")
# From the simulation, which knows them, and from the hand pose node, which sees them: `source`.
SCENE_OBJECTS = Topic("/scene/objects", "manip_msgs/msg/SceneObjects")
SCENE_CONTACTS = Topic("/scene/contacts", "manip_msgs/msg/Contacts")
ROBOT_IMAGE = Topic("/robot/image_raw", "sensor_msgs/msg/Image", Qos.SENSOR)
DIAGNOSTICS = Topic("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray")
ROBOT_DESCRIPTION = Topic("/robot_description", "std_msgs/msg/String", Qos.LATCHED)
HAND_MARKERS = Topic("/hand/markers", "visualization_msgs/msg/MarkerArray")
TRAINING_STATE = Topic("/training/state", "manip_msgs/msg/TrainingState", Qos.LATCHED)
TF = Topic("/tf", "tf2_msgs/msg/TFMessage")
TF_STATIC = Topic("/tf_static", "tf2_msgs/msg/TFMessage", Qos.LATCHED)

SET_MODE = Service("/teleop/set_mode", "manip_msgs/srv/SetMode")
CALIBRATE = Service("/teleop/calibrate", "manip_msgs/srv/Calibrate")
START_TRAINING = Service("/training/start", "manip_msgs/srv/StartTraining")
CANCEL_TRAINING = Service("/training/cancel", "std_srvs/srv/Trigger")
RESET_ROBOT = Service("/robot/reset", "std_srvs/srv/Trigger")
SET_FAULT = Service("/robot/set_fault", "manip_msgs/srv/SetFault")
EMERGENCY_STOP = Service("/teleop/emergency_stop", "std_srvs/srv/Trigger")
RESET_STOP = Service("/teleop/reset_stop", "std_srvs/srv/Trigger")
# Brings the arm's driver back after a stop of its own; a deliberate act of the operator.
RECOVER = Service("/teleop/recover", "std_srvs/srv/Trigger")
# The drivers' own.
SWITCH_CONTROLLER = Service(
    "/controller_manager/switch_controller", "controller_manager_msgs/srv/SwitchController"
)
UNLOCK_PROTECTIVE_STOP = Service("/dashboard_client/unlock_protective_stop", "std_srvs/srv/Trigger")
STOP_PROGRAM = Service("/dashboard_client/stop", "std_srvs/srv/Trigger")
PLAY_PROGRAM = Service("/dashboard_client/play", "std_srvs/srv/Trigger")
RESEND_PROGRAM = Service("/io_and_status_controller/resend_robot_program", "std_srvs/srv/Trigger")

_ALL = tuple(value for value in globals().copy().values() if isinstance(value, Topic))
# Those whose types every installation has: what a recorder can listen to.
TOPICS = tuple(topic for topic in _ALL if not topic.optional)
OPTIONAL_TOPICS = tuple(topic for topic in _ALL if topic.optional)
SERVICES = tuple(value for value in globals().copy().values() if isinstance(value, Service))
