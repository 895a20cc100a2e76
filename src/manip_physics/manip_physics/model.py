"""The suite's robot as MJX simulates it: the same joints, masses and servos, and fewer contacts.

What is chosen for the sake of gradients, and on whose advice:

- **Newton's solver, dense, run until it has converged.** MJX's manual advises Newton and few
  iterations; with more than one its loop has no reverse mode. `step.py` takes
  the derivative at the solution instead of through the loop, so that the loop may run as long as it
  needs.
- **Only listed pairs collide** ("contact/pair" in MJX's manual on performance): parts of the hand
  with the object and, with their tips, the table. The hand does not touch itself and the arm
  nothing: keeping those apart is the controller's work.
- **Contacts begin softly.** MuJoCo's default impedance is 0.9 as soon as two surfaces meet, so that
  a touch is a step in the force. Here it grows from zero over `contact_width`.
- **Pyramidal cones**: their constraint is linear where the elliptic one has a root in it.
- The table is a plane, which has one contact point for a sphere and two for a capsule.
"""

from dataclasses import dataclass

import mujoco
import numpy as np

from manip_core import robot_model
from manip_core.robot_model import ARM_JOINTS, FINGER_PREFIXES, HAND_JOINTS, PALM_FRAME, check_side

KINDS = {
    "sphere": mujoco.mjtGeom.mjGEOM_SPHERE,
    "capsule": mujoco.mjtGeom.mjGEOM_CAPSULE,
    "box": mujoco.mjtGeom.mjGEOM_BOX,
}
# Parts of a finger that may touch, by the end of their bodies' names.
PARTS = ("tip", "distal", "medial", "proximal")
THING, CARRIAGE = "thing", "carriage"
# Servo of the carriage: stiffness [N/m], damping [N s/m]; range [m] and force [N].
_CARRIAGE_SERVO = (4000.0, 160.0)
_CARRIAGE_RANGE, _CARRIAGE_FORCE = (-0.05, 0.30), 100.0
# Who meets whom: bits of MuJoCo's contype and conaffinity.
_ON_THING, _ON_TABLE, _THING_ON_TABLE = 1, 2, 4


@dataclass(frozen=True, kw_only=True)
class Thing:
    """An object to handle.

    Attributes:
        kind: ``sphere``, ``capsule`` or ``box``.
        size: Half sizes [m] as MuJoCo has them: radius; radius and half length; three half edges.
        mass: [kg].
        place: ``(3,)`` its centre in ``world`` [m].
        turn: ``(4,)`` its orientation in ``world``, w first.
    """

    kind: str = "sphere"
    size: tuple[float, ...] = (0.032,)
    mass: float = 0.06
    place: tuple[float, float, float] = (0.5, 0.0, 0.032)
    turn: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        needed = {"sphere": 1, "capsule": 2, "box": 3}[self.kind]
        if len(self.size) != needed or min(self.size) <= 0:
            raise ValueError(f"a {self.kind} has {needed} positive sizes, got {self.size}")
        if not self.mass > 0:
            raise ValueError(f"mass must be positive, got {self.mass}")


@dataclass(frozen=True, kw_only=True)
class PhysicsConfig:
    """What is simulated, and how.

    Attributes:
        side: The Allegro Hand's, ``right`` or ``left``.
        mount: ``(7,)`` pose of ``allegro_palm`` in ``world``, position [m] and quaternion, w first:
            the hand alone, held there. Empty: the whole robot, with its arm.
        carriage: A mount that can be driven up and down, in place of the arm; joint ``carriage``.
        thing: The object, or None.
        table: With the table's top as a plane at z = 0.
        touching: Parts of the fingers that touch, of `PARTS`, and ``palm``.
        timestep: Of the simulation [s].
        iterations: Most of Newton's iterations a step.
        ls_iterations: Most of the line search's.
        contact_time: Time constant of contacts [s]; MuJoCo's ``solref``.
        contact_width: Depth over which a contact stiffens [m]; MuJoCo's ``solimp``.
        contact_onset: Impedance of a contact of no depth, 0 to 1; MuJoCo's default is 0.9.
        friction: Sliding friction of all contacts.
    """

    side: str = "right"
    mount: tuple[float, ...] = ()
    carriage: bool = False
    thing: Thing | None = None
    table: bool = True
    touching: tuple[str, ...] = ("tip", "distal")
    timestep: float = 0.002
    iterations: int = 20
    ls_iterations: int = 20
    contact_time: float = 0.02
    contact_width: float = 0.004
    contact_onset: float = 0.0
    friction: float = 1.0

    def __post_init__(self):
        check_side(self.side)
        if len(self.mount) not in (0, 7):
            raise ValueError(f"mount must have 7 numbers or none, got {len(self.mount)}")
        if self.carriage and not self.mount:
            raise ValueError("a carriage needs a mount to move")
        known = (*PARTS, "palm")
        unknown = sorted(set(self.touching) - set(known))
        if unknown:
            raise ValueError(f"touching must name {', '.join(known)}; got {unknown}")
        if not 1e-4 <= self.timestep <= 0.01:
            raise ValueError(f"timestep must be within 0.1 and 10 ms, got {self.timestep} s")
        if self.iterations < 1 or self.ls_iterations < 1:
            raise ValueError(
                f"iterations must be at least 1, got {self.iterations} and {self.ls_iterations}"
            )
        if not (self.contact_time > 0 and self.contact_width > 0):
            raise ValueError(
                "contact_time and contact_width must be positive, got "
                f"{self.contact_time} s and {self.contact_width} m"
            )
        if not 0.0 <= self.contact_onset < 1.0:
            raise ValueError(f"contact_onset must be within 0 and 1, got {self.contact_onset}")


def build(config: PhysicsConfig, *, sensors: bool = False) -> mujoco.MjModel:
    """Compile the model, for MuJoCo and MJX alike.

    Args:
        config: What is in it.
        sensors: With sensors of what a loss looks at, for roll-outs in plain MuJoCo: fingertips,
            thing, servos' forces.
    """
    spec = robot_model.robot_spec(config.side)
    for unused in (*spec.keys, *spec.excludes):
        spec.delete(unused)
    # What stands still relative to its parent becomes part of it: MJX unrolls a tree by its levels,
    # and with 4 levels instead of 17 a hand compiles several times as fast.
    spec.compiler.fusestatic = True
    _choose_contacts(spec, config)
    if config.mount:
        _mount(spec, config)
    if config.table:
        spec.worldbody.add_geom(
            name="table",
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[0, 0, 1],
            contype=0,
            conaffinity=_ON_TABLE | _THING_ON_TABLE,
        )
    if config.thing is not None:
        _add_thing(spec, config.thing)
    for geom in spec.geoms:
        geom.condim = 3
        geom.friction = [config.friction, 0.01, 0.0001]
        geom.solref = [config.contact_time, 1.0]
        # Impedance from `contact_onset` to 0.95 over the width, half way at its middle, smoothly.
        geom.solimp = [config.contact_onset, 0.95, config.contact_width, 0.5, 2.0]
    if sensors:
        _add_sensors(spec, config)
    _set_options(spec, config)
    return spec.compile()


def _set_options(spec: mujoco.MjSpec, config: PhysicsConfig) -> None:
    option = spec.option
    option.timestep = config.timestep
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    option.iterations, option.ls_iterations = config.iterations, config.ls_iterations
    option.disableflags |= mujoco.mjtDisableBit.mjDSBL_EULERDAMP


def _touch_bodies(config: PhysicsConfig) -> dict[str, int]:
    """Bodies that touch, and what: bits for contype."""
    bodies = {
        f"{prefix}_{part}": _ON_THING | (_ON_TABLE if part == "tip" else 0)
        for prefix in FINGER_PREFIXES.values()
        for part in config.touching
        if part != "palm"
    }
    if "palm" in config.touching:
        bodies[PALM_FRAME] = _ON_THING
    return bodies


def _choose_contacts(spec: mujoco.MjSpec, config: PhysicsConfig) -> None:
    """Leave only the shapes that can touch something; masses are stated, not taken from shapes."""
    chosen = _touch_bodies(config)
    for geom in list(spec.geoms):
        bits = chosen.get(geom.parent.name, 0)
        if geom.contype == 0 or not bits:
            spec.delete(geom)
        else:
            geom.contype, geom.conaffinity = bits, 0


def _mount(spec: mujoco.MjSpec, config: PhysicsConfig) -> None:
    """Take the arm away: all up to the palm becomes part of the world, the palm where told."""
    for actuator in list(spec.actuators):
        if actuator.name in ARM_JOINTS:
            spec.delete(actuator)
    for name in ARM_JOINTS:
        spec.delete(spec.joint(name))
    palm = body = spec.body(PALM_FRAME)
    while body.name != spec.worldbody.name:
        body.pos, body.quat = [0, 0, 0], [1, 0, 0, 0]
        body = body.parent
    palm.pos, palm.quat = config.mount[:3], config.mount[3:]
    if config.carriage:
        matrix = np.empty(9)
        mujoco.mju_quat2Mat(matrix, np.asarray(palm.quat, float))
        palm.add_joint(
            name=CARRIAGE,
            type=mujoco.mjtJoint.mjJNT_SLIDE,
            axis=matrix.reshape(3, 3).T @ [0.0, 0.0, 1.0],
            range=_CARRIAGE_RANGE,
            limited=True,
        )
        servo = spec.add_actuator(name=CARRIAGE, target=CARRIAGE, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.set_to_position(kp=_CARRIAGE_SERVO[0], kv=_CARRIAGE_SERVO[1])
        servo.ctrlrange = _CARRIAGE_RANGE
        servo.forcerange = [-_CARRIAGE_FORCE, _CARRIAGE_FORCE]


def _add_thing(spec: mujoco.MjSpec, thing: Thing) -> None:
    body = spec.worldbody.add_body(name=THING, pos=thing.place, quat=thing.turn)
    body.add_freejoint(name=THING)
    body.add_geom(
        name=THING,
        type=KINDS[thing.kind],
        size=[*thing.size, 0.0, 0.0][:3],
        mass=thing.mass,
        contype=_THING_ON_TABLE,
        conaffinity=_ON_THING,
    )


def _add_sensors(spec: mujoco.MjSpec, config: PhysicsConfig) -> None:
    site, body = mujoco.mjtObj.mjOBJ_SITE, mujoco.mjtObj.mjOBJ_BODY
    sensor = mujoco.mjtSensor
    for name in robot_model.TIP_FRAMES.values():
        spec.add_sensor(name=name, type=sensor.mjSENS_FRAMEPOS, objtype=site, objname=name)
    if config.thing is not None:
        for name, kind in (("place", sensor.mjSENS_FRAMEPOS), ("turn", sensor.mjSENS_FRAMEQUAT)):
            spec.add_sensor(name=f"{THING}_{name}", type=kind, objtype=body, objname=THING)
    for kind, prefix in (
        (sensor.mjSENS_ACTUATORPOS, "position"),
        (sensor.mjSENS_ACTUATORFRC, "force"),
    ):
        for actuator in spec.actuators:
            spec.add_sensor(
                name=f"{prefix}_{actuator.name}",
                type=kind,
                objtype=mujoco.mjtObj.mjOBJ_ACTUATOR,
                objname=actuator.name,
            )


def servo_names(config: PhysicsConfig) -> tuple[str, ...]:
    """Joints with a servo, in the order of the controls."""
    if not config.mount:
        return robot_model.JOINT_NAMES
    return (*HAND_JOINTS, CARRIAGE) if config.carriage else HAND_JOINTS
