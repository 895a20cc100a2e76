"""What stands around the robot in MuJoCo, and how it looks: table, objects, lights, cameras."""

import mujoco
import numpy as np

VISUAL_GROUP, COLLISION_GROUP = 2, 3

# Table top is z = 0: the robot stands on it. Half sizes and centre in [m].
TABLE_SIZE = (0.62, 0.75, 0.02)
TABLE_CENTRE = (0.32, 0.0, -0.02)
FLOOR_Z = -0.75

_GEOM = mujoco.mjtGeom


def dress_geoms(spec: mujoco.MjSpec) -> None:
    """Sort what URDF gave into visual and collision geoms, and make capsules of the cylinders."""
    for geom in spec.geoms:
        if geom.contype == 0:
            geom.group = VISUAL_GROUP
            continue
        geom.group = COLLISION_GROUP
        geom.condim = 4
        geom.friction = [1.0, 0.01, 0.0001]
        if geom.type == _GEOM.mjGEOM_CYLINDER:
            radius, half = geom.size[0], geom.size[1]
            geom.type = _GEOM.mjGEOM_CAPSULE
            geom.size = [radius, max(half - radius, 1e-4), 0]


def add_table(spec: mujoco.MjSpec) -> None:
    """The table as one box named ``table``."""
    spec.worldbody.add_geom(
        name="table",
        type=_GEOM.mjGEOM_BOX,
        size=TABLE_SIZE,
        pos=TABLE_CENTRE,
        rgba=[0.72, 0.60, 0.47, 1],
        group=VISUAL_GROUP,
    )


def add_surroundings(spec: mujoco.MjSpec, side: str) -> None:
    """Floor, lights, cameras, and graspable objects on the table."""
    mirror = 1.0 if side == "right" else -1.0
    world = spec.worldbody
    world.add_geom(
        name="floor", type=_GEOM.mjGEOM_PLANE, size=[4, 4, 0.05], pos=[0, 0, FLOOR_Z], group=VISUAL_GROUP
    )
    world.add_light(pos=[0.5, -1.0, 2.5], dir=[0, 0.4, -1], type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
    objects = {
        "cube": (_GEOM.mjGEOM_BOX, [0.025, 0.025, 0.025], (0.45, -0.30), 0.12, [0.85, 0.33, 0.25, 1]),
        "can": (_GEOM.mjGEOM_CYLINDER, [0.033, 0.055, 0], (0.60, -0.12), 0.30, [0.20, 0.50, 0.75, 1]),
        "ball": (_GEOM.mjGEOM_SPHERE, [0.032, 0, 0], (0.52, 0.10), 0.06, [0.95, 0.75, 0.20, 1]),
        "block": (_GEOM.mjGEOM_BOX, [0.02, 0.02, 0.06], (0.62, -0.36), 0.20, [0.35, 0.62, 0.38, 1]),
    }
    for name, (kind, size, (x, y), mass, rgba) in objects.items():
        height = size[0] if kind == _GEOM.mjGEOM_SPHERE else size[1 if kind == _GEOM.mjGEOM_CYLINDER else 2]
        body = world.add_body(name=name, pos=[x, mirror * y, height])
        body.add_freejoint(name=name)
        body.add_geom(
            name=name, type=kind, size=size, mass=mass, rgba=rgba, group=VISUAL_GROUP,
            condim=4, friction=[1.0, 0.01, 0.0005],
        )
    _add_camera(world, "overview", eye=(1.55, -1.25 * mirror, 0.95), target=(0.25, 0.0, 0.28))
    _add_camera(world, "operator", eye=(-0.75, 0.25 * mirror, 0.95), target=(0.55, -0.12 * mirror, 0.30))
    key = spec.keys[0]
    objects_qpos = [
        value for body in spec.bodies if body.name in objects for value in (*body.pos, 1, 0, 0, 0)
    ]
    key.qpos = np.concatenate((key.qpos, objects_qpos))


def _add_camera(world: mujoco.MjsBody, name: str, *, eye: tuple, target: tuple) -> None:
    back = np.subtract(eye, target)
    back /= np.linalg.norm(back)
    right = np.cross((0, 0, 1), back)
    right /= np.linalg.norm(right)
    axes = np.column_stack((right, np.cross(back, right), back))
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    world.add_camera(name=name, pos=eye, quat=quat, fovy=42)
