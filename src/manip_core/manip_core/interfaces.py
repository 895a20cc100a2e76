"""Topic and service names, their types and their quality of service: the one place for them.

Plain data, so that pure code and tests may read it; ``manip_ros.topics`` turns it into rclpy
publishers and subscriptions.
"""

from dataclasses import dataclass
from enum import Enum

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
    """A topic: ``type`` is ``package/msg/Name``."""

    name: str
    type: str
    qos: Qos = Qos.RELIABLE


@dataclass(frozen=True)
class Service:
    """A service: ``type`` is ``package/srv/Name``."""

    name: str
    type: str


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
TELEOP_STATE = Topic("/teleop/state", "manip_msgs/msg/TeleopState", Qos.LATCHED)
# Names and order as the UR and Allegro drivers define them.
ARM_COMMAND = Topic("/forward_position_controller/commands", "std_msgs/msg/Float64MultiArray")
HAND_COMMAND = Topic("/allegroHand/joint_cmd", "sensor_msgs/msg/JointState")
JOINT_STATES = Topic("/joint_states", "sensor_msgs/msg/JointState")
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

TOPICS = tuple(value for value in globals().copy().values() if isinstance(value, Topic))
SERVICES = tuple(value for value in globals().copy().values() if isinstance(value, Service))
