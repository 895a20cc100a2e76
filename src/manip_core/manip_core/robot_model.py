"""The robot: a UR5e arm with an Allegro Hand V4, loaded from ``urdf/ur5e_allegro.urdf.xacro``.

Joint order everywhere is `JOINT_NAMES`: six of the arm, then four each of index, middle, ring
finger and thumb. Positions in [rad], SI units throughout.
"""

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import mujoco
import numpy as np

from manip_core import resources, scene
from manip_core.hand import LEFT, RIGHT, SIDES
from manip_core.meshes import show_meshes

XACRO = Path("urdf") / "ur5e_allegro.urdf.xacro"

ARM_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
# The robot's fingers by the name of the human finger that drives each.
FINGER_PREFIXES = {"index": "ff", "middle": "mf", "ring": "rf", "thumb": "th"}
FINGER_JOINTS = {
    finger: tuple(f"{prefix}j{i}" for i in range(4)) for finger, prefix in FINGER_PREFIXES.items()
}
HAND_JOINTS = tuple(name for names in FINGER_JOINTS.values() for name in names)
JOINT_NAMES = ARM_JOINTS + HAND_JOINTS
NUM_JOINTS = len(JOINT_NAMES)

# Fingertip frames, at the centre of the rubber sphere of radius `TIP_RADIUS` [m].
TIP_FRAMES = {finger: f"{prefix}_tip" for finger, prefix in FINGER_PREFIXES.items()}
TIP_RADIUS = 0.012
PALM_FRAME = "allegro_palm"

# Acceleration [rad/s^2], which URDF has no place for. Universal Robots publish none; ours stay
# below what the joint torques allow at home, with gravity (tests/unit/test_robot_model.py).
ARM_ACCELERATION = (10.0, 10.0, 10.0, 20.0, 20.0, 20.0)
HAND_ACCELERATION = 100.0

# Position servos: stiffness [N m/rad], damping [N m s/rad], rotor inertia [kg m^2] seen at the
# joint. Near critically damped at home; they trail a moving target by damping / stiffness, 20 to
# 35 ms, about what a UR's servoj and an Allegro's PD loop do.
ARM_SERVO = {"kp": (10000.0,) * 3 + (3000.0,) * 3, "kv": (350.0,) * 3 + (60.0,) * 3}
HAND_SERVO = {"kp": 6.0, "kv": 0.2}
ARM_ARMATURE, HAND_ARMATURE = 0.1, 0.001

# Palm upright, leaning forward by 10 degrees and facing +x, as an operator's hand shown to a webcam
# does; allegro_palm at (0.6, -0.1333, 0.5) m on the right, mirrored on the left, so that the arm
# bends in one vertical plane with the elbow up. From here the palm turns by 60 degrees either way
# about any axis, and moves by 0.2 m along any, without a collision.
_HOME_ARM = {
    RIGHT: (-np.pi, 1.1870923 - np.pi, -1.8608822, 2.0700533 - np.pi, -np.pi / 2, -np.pi / 2),
    LEFT: (0.0, -1.1870923, 1.8608822, -2.0700533, np.pi / 2, -np.pi / 2),
}
_HOME_FINGER = (0.0, 0.2, 0.25, 0.2)
_HOME_THUMB = (0.75, 0.3, 0.3, 0.3)


def check_side(side: str) -> str:
    """``side`` itself, or a ValueError that lists the choices."""
    if side not in SIDES:
        raise ValueError(f"side must be one of {SIDES}, got {side!r}")
    return side


def home(side: str = RIGHT) -> np.ndarray:
    """Home configuration, ``(22,)`` in [rad]."""
    return np.array(_HOME_ARM[check_side(side)] + 3 * _HOME_FINGER + _HOME_THUMB)


def load_urdf(side: str = RIGHT, xacro_path: str | Path | None = None, meshes: str = "") -> str:
    """The robot description as a URDF string.

    Args:
        side: ``"left"`` or ``"right"``.
        xacro_path: Another xacro file than the suite's own.
        meshes: Folder with meshes to show instead of the primitives, see `meshes.show_meshes`;
            empty for none. Collision geometry stays as it is.

    Raises:
        ValueError: No such side.
        FileNotFoundError: ``meshes`` is given and holds no meshes.
    """
    path = Path(xacro_path) if xacro_path is not None else resources.find(XACRO)
    return _process_xacro(path.resolve(), check_side(side), str(meshes))


@lru_cache(maxsize=8)
def _process_xacro(path: Path, side: str, mesh_folder: str) -> str:
    import xacro

    urdf = xacro.process_file(str(path), mappings={"side": side}).toxml()
    return show_meshes(urdf, Path(mesh_folder), side) if mesh_folder else urdf


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of all joints in the order of `JOINT_NAMES`, each ``(22,)``.

    Attributes:
        lower, upper: Positions [rad].
        velocity: Greatest speed [rad/s].
        acceleration: Greatest acceleration [rad/s^2].
        effort: Greatest torque [N m].
    """

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    effort: np.ndarray

    @classmethod
    def from_urdf(cls, urdf: str) -> "Limits":
        """Read from the text of a URDF that has all of `JOINT_NAMES`."""
        found = {
            joint.get("name"): joint.find("limit")
            for joint in ET.fromstring(urdf).iter("joint")
            if joint.find("limit") is not None
        }
        missing = [name for name in JOINT_NAMES if name not in found]
        if missing:
            raise ValueError(f"URDF has no limits for {missing}; it has {sorted(found)}")

        def read(key: str) -> np.ndarray:
            return np.array([float(found[name].get(key)) for name in JOINT_NAMES])

        return cls(
            lower=read("lower"),
            upper=read("upper"),
            velocity=read("velocity"),
            acceleration=np.array(ARM_ACCELERATION + (HAND_ACCELERATION,) * len(HAND_JOINTS)),
            effort=read("effort"),
        )


def limits(side: str = RIGHT) -> Limits:
    """Limits of the suite's own robot."""
    return Limits.from_urdf(load_urdf(side))


def robot_spec(side: str = RIGHT, meshes: str = "") -> mujoco.MjSpec:
    """The robot alone as an editable MuJoCo specification: servos, sites, contact exclusions."""
    spec = mujoco.MjSpec.from_string(load_urdf(side, meshes=meshes).replace("file://", ""))
    spec.modelname = f"ur5e_allegro_{side}"
    spec.option.timestep = 0.002
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1920, 1080
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    scene.dress_geoms(spec)
    for body in spec.bodies[1:]:
        # A UR controller compensates the weight of arm and payload, Allegro's library the hand's.
        body.gravcomp = 1.0
    for finger in FINGER_PREFIXES.values():
        spec.body(f"{finger}_tip").add_site(name=f"{finger}_tip", size=[0.002, 0, 0], group=4)
    spec.body(PALM_FRAME).add_site(name=PALM_FRAME, size=[0.002, 0, 0], group=4)
    spec.body("tool0").add_site(name="tool0", size=[0.002, 0, 0], group=4)
    _add_servos(spec, limits(side))
    # MuJoCo leaves out parent and child, except where the parent stands still. This one pair is all
    # that overlaps by construction.
    spec.add_exclude(name="base-shoulder", bodyname1="base_link_inertia", bodyname2="shoulder_link")
    spec.add_key(name="home", qpos=home(side), ctrl=home(side))
    return spec


def build_model(side: str = RIGHT, *, with_scene: bool = True, meshes: str = "") -> mujoco.MjModel:
    """Compile the robot on its table.

    The robot's joints, degrees of freedom and actuators come first, in the order of `JOINT_NAMES`.

    Args:
        side: ``"left"`` or ``"right"``.
        with_scene: With objects, floor, lights and cameras; else the robot and the table alone,
            as retargeting needs it.
        meshes: Folder with meshes to show instead of the primitives; empty for none.
    """
    spec = robot_spec(side, meshes)
    scene.add_table(spec)
    if with_scene:
        scene.add_surroundings(spec, side)
    return spec.compile()


def only_distances(spec: mujoco.MjSpec) -> None:
    """Have MuJoCo linearise distances and nothing else: ``mj_makeConstraint`` then gives one row of
    a dense Jacobian for each pair of geoms within their margins, which add up."""
    for geom in spec.geoms:
        geom.condim = 1
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    spec.option.disableflags |= (
        mujoco.mjtDisableBit.mjDSBL_LIMIT
        | mujoco.mjtDisableBit.mjDSBL_FRICTIONLOSS
        | mujoco.mjtDisableBit.mjDSBL_EQUALITY
    )
    for key in spec.keys:
        spec.delete(key)


def camera_mount(side: str = RIGHT) -> tuple[np.ndarray, np.ndarray]:
    """Pose of ``camera_optical_frame`` in world: ``(3, 3)`` and ``(3,)`` in [m]."""
    model = build_model(side, with_scene=False)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    frame = data.body("camera_optical_frame")
    return frame.xmat.reshape(3, 3).copy(), frame.xpos.copy()


def _add_servos(spec: mujoco.MjSpec, bounds: Limits) -> None:
    hand = len(HAND_JOINTS)
    kp = ARM_SERVO["kp"] + (HAND_SERVO["kp"],) * hand
    kv = ARM_SERVO["kv"] + (HAND_SERVO["kv"],) * hand
    for i, name in enumerate(JOINT_NAMES):
        spec.joint(name).armature = ARM_ARMATURE if name in ARM_JOINTS else HAND_ARMATURE
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=kp[i], kv=kv[i])
        actuator.ctrlrange = [bounds.lower[i], bounds.upper[i]]
        actuator.forcerange = [-bounds.effort[i], bounds.effort[i]]
