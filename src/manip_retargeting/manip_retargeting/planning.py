"""The robot as the solver sees it: margins round every part, and all near pairs at once."""

import mink
import mujoco
import numpy as np

from manip_core import robot_model, scene


def planning_model(side: str, margin: float, *, hand_only: bool = False) -> mujoco.MjModel:
    """The robot and its table, compiled so that MuJoCo linearises the distances of near pairs.

    Every contact is frictionless, so it has one constraint row, whose Jacobian is that of the
    pair's distance; the margin makes it appear before the surfaces touch.

    Args:
        side: ``"left"`` or ``"right"``.
        margin: Pairs nearer than this are reported [m].
        hand_only: Weld the arm at its home posture; the model then has the hand's 16 joints.
    """
    spec = robot_model.robot_spec(side)
    scene.add_table(spec)
    for geom in spec.geoms:
        geom.margin = margin / 2  # MuJoCo adds up the two geoms' margins
    robot_model.only_distances(spec)
    if hand_only:
        _weld_arm(spec, robot_model.home(side))
    return spec.compile()


def _weld_arm(spec: mujoco.MjSpec, home: np.ndarray) -> None:
    turn = np.empty(4)
    for actuator in spec.actuators:
        if actuator.name in robot_model.ARM_JOINTS:
            spec.delete(actuator)
    for name, angle in zip(robot_model.ARM_JOINTS, home, strict=False):
        joint = spec.joint(name)
        body = joint.parent
        mujoco.mju_axisAngle2Quat(turn, joint.axis, angle)
        turned = np.empty(4)
        mujoco.mju_mulQuat(turned, body.quat, turn)
        body.quat = turned
        spec.delete(joint)
    # The palm is now part of the world, whose children MuJoCo does not spare as a parent's.
    palm = spec.body(robot_model.PALM_FRAME)
    spared = {frozenset((pair.bodyname1, pair.bodyname2)) for pair in spec.excludes}
    for child in palm.bodies:
        if {palm.name, child.name} not in spared:
            spec.add_exclude(bodyname1=palm.name, bodyname2=child.name)


class Planner(mink.Configuration):
    """A mink configuration that also knows every near pair of parts.

    ``update`` runs kinematics and collision, in C. ``distance_rows`` linearises the distances found
    and is worth calling only where a QP is built.
    """

    def update(self, q: np.ndarray | None = None) -> None:
        if q is not None:
            self.data.qpos[:] = q
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)

    @property
    def least_distance(self) -> float:
        """Of all near pairs [m], negative where they penetrate; inf where none is near."""
        return self.data.contact.dist.min() if self.data.ncon else np.inf

    def distance_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Jacobian ``(k, nv)`` [m/rad] of the distances ``(k,)`` [m] of the near pairs."""
        mujoco.mj_makeConstraint(self.model, self.data)
        return self.data.efc_J.reshape(-1, self.model.nv), self.data.efc_pos


class DistanceLimit(mink.Limit):
    r"""Keeps every pair of parts at least a clearance apart, to first order.

    .. math:: -J_d \Delta q \le g\,(d - d_{min})

    Attributes:
        recovering: True: a pair that is nearer than the clearance must part again, which may be
            impossible within a step. False: it must come no nearer, which standing still fulfils.
    """

    def __init__(self, clearance: float, gain: float):
        self._clearance = clearance
        self._gain = gain
        self.recovering = True

    def compute_qp_inequalities(self, configuration: Planner, dt: float) -> mink.Constraint:
        del dt
        jacobian, distance = configuration.distance_rows()
        if not len(distance):
            return mink.Constraint()
        bound = self._gain * (distance - self._clearance)
        return mink.Constraint(G=-jacobian, h=bound if self.recovering else np.maximum(bound, 0.0))
