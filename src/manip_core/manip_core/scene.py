"""What stands around the robot in MuJoCo, and how it looks: table, objects, lights, cameras."""

from dataclasses import dataclass

import mujoco
import numpy as np

from manip_core.hand import RIGHT

VISUAL_GROUP, COLLISION_GROUP = 2, 3

# The table's top is z = 0: the robot stands on it. Half sizes and centre in [m].
TABLE_SIZE = (0.60, 0.65, 0.02)
TABLE_CENTRE = (0.35, 0.0, -0.02)
FLOOR_Z = -0.74

_GEOM = mujoco.mjtGeom


@dataclass(frozen=True)
class Prop:
    """An object on the table: kind and half sizes [m] as MuJoCo has them, place of the right-hand
    scene [m], mass [kg], colour."""

    name: str
    kind: mujoco.mjtGeom
    size: tuple[float, float, float]
    place: tuple[float, float]
    mass: float
    rgba: tuple[float, float, float, float]

    @property
    def height(self) -> float:
        """Of the centre over what it stands on [m]."""
        return self.size[{_GEOM.mjGEOM_SPHERE: 0, _GEOM.mjGEOM_CYLINDER: 1}.get(self.kind, 2)]


# All fit an Allegro's grasp and lie within reach of the home pose.
PROPS = (
    Prop(
        "cube", _GEOM.mjGEOM_BOX, (0.026, 0.026, 0.026), (0.42, -0.34), 0.10, (0.85, 0.30, 0.24, 1)
    ),
    Prop(
        "can", _GEOM.mjGEOM_CYLINDER, (0.033, 0.055, 0), (0.62, -0.10), 0.25, (0.16, 0.47, 0.72, 1)
    ),
    Prop("ball", _GEOM.mjGEOM_SPHERE, (0.032, 0, 0), (0.50, 0.12), 0.06, (0.95, 0.72, 0.16, 1)),
    Prop("block", _GEOM.mjGEOM_BOX, (0.02, 0.02, 0.06), (0.64, -0.36), 0.15, (0.30, 0.60, 0.36, 1)),
)


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
    """The table top, one box named ``table``."""
    spec.worldbody.add_geom(
        name="table",
        type=_GEOM.mjGEOM_BOX,
        size=TABLE_SIZE,
        pos=TABLE_CENTRE,
        rgba=[0.78, 0.68, 0.56, 1],
        group=VISUAL_GROUP,
    )


def add_surroundings(spec: mujoco.MjSpec, side: str) -> None:
    """Floor, table legs, sky, lights, cameras ``overview`` and ``operator``, and the objects."""
    mirror = 1.0 if side == RIGHT else -1.0
    _add_room(spec, mirror)
    for prop in PROPS:
        x, y = prop.place
        body = spec.worldbody.add_body(name=prop.name, pos=[x, mirror * y, prop.height])
        body.add_freejoint(name=prop.name)
        body.add_geom(
            name=prop.name,
            type=prop.kind,
            size=prop.size,
            mass=prop.mass,
            rgba=prop.rgba,
            group=VISUAL_GROUP,
            condim=4,
            friction=[1.0, 0.01, 0.0005],
        )
        for key in spec.keys:
            key.qpos = np.concatenate((key.qpos, body.pos, (1, 0, 0, 0)))
    _add_camera(spec, "overview", eye=(1.4, -1.05 * mirror, 0.85), target=(0.32, 0, 0.28))
    _add_camera(spec, "operator", eye=(-0.6, -0.6 * mirror, 0.9), target=(0.5, -0.1 * mirror, 0.27))


def _add_room(spec: mujoco.MjSpec, mirror: float) -> None:
    world = spec.worldbody
    texture = mujoco.mjtTexture
    gradient = mujoco.mjtBuiltin
    spec.add_texture(
        name="sky",
        type=texture.mjTEXTURE_SKYBOX,
        builtin=gradient.mjBUILTIN_GRADIENT,
        rgb1=[0.86, 0.90, 0.94],
        rgb2=[0.52, 0.60, 0.68],
        width=256,
        height=1536,
    )
    spec.add_texture(
        name="tiles",
        type=texture.mjTEXTURE_2D,
        builtin=gradient.mjBUILTIN_CHECKER,
        rgb1=[0.60, 0.63, 0.66],
        rgb2=[0.57, 0.60, 0.63],
        width=256,
        height=256,
    )
    tiles = spec.add_material(name="tiles", texuniform=True, specular=0.1)
    tiles.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"
    world.add_geom(
        name="floor",
        type=_GEOM.mjGEOM_PLANE,
        size=[0, 0, 0.5],
        pos=[0, 0, FLOOR_Z],
        material="tiles",
        group=VISUAL_GROUP,
    )
    leg = (TABLE_CENTRE[2] - TABLE_SIZE[2] - FLOOR_Z) / 2
    for x in (-1, 1):
        for y in (-1, 1):
            world.add_geom(
                type=_GEOM.mjGEOM_BOX,
                size=[0.025, 0.025, leg],
                pos=[
                    TABLE_CENTRE[0] + x * (TABLE_SIZE[0] - 0.05),
                    y * (TABLE_SIZE[1] - 0.05),
                    FLOOR_Z + leg,
                ],
                rgba=[0.35, 0.36, 0.38, 1],
                group=VISUAL_GROUP,
                contype=0,
                conaffinity=0,
            )
    spec.visual.headlight.ambient = [0.38, 0.38, 0.38]
    spec.visual.headlight.diffuse = [0.30, 0.30, 0.30]
    spec.visual.headlight.specular = [0.1, 0.1, 0.1]
    spec.visual.quality.shadowsize = 4096
    spec.visual.map.shadowclip = 0.8
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 12
    spec.visual.rgba.haze = [0.70, 0.75, 0.80, 1]
    world.add_light(
        name="sun",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[-0.28, -0.88 * mirror, 2.5],
        dir=[0.25, 0.35 * mirror, -1],
        diffuse=[0.55, 0.55, 0.53],
        specular=[0.2, 0.2, 0.2],
    )
    world.add_light(
        name="fill",
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0, 0, 2.0],
        dir=[-0.6, 0.5, -0.5],
        diffuse=[0.16, 0.17, 0.19],
        specular=[0, 0, 0],
        castshadow=False,
    )


def _add_camera(spec: mujoco.MjSpec, name: str, *, eye: tuple, target: tuple) -> None:
    back = np.subtract(eye, target)
    back /= np.linalg.norm(back)
    right = np.cross((0, 0, 1), back)
    right /= np.linalg.norm(right)
    axes = np.column_stack((right, np.cross(back, right), back))
    quat = np.empty(4)
    mujoco.mju_mat2Quat(quat, axes.ravel())
    spec.worldbody.add_camera(name=name, pos=eye, quat=quat, fovy=40)
