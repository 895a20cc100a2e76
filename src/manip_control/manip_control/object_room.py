"""How near the robot is to one object whose shape and place are known."""

from functools import lru_cache

import mujoco
import numpy as np

from manip_core import robot_model, scene
from manip_core.hand import RIGHT
from manip_core.primitive import Primitive
from manip_core.robot_model import ARM_JOINTS, NUM_JOINTS
from manip_core.rotation import quaternion_from_matrix

_ARM = slice(0, len(ARM_JOINTS))
# Distances from the object are known up to this [m].
FAR = 0.05


class ObjectRoom:
    """The robot, its table, and an object that stands somewhere; one thread's own."""

    def __init__(self, side: str = RIGHT):
        self._side = side
        self._palm = 0
        self._object = 0
        self._model: mujoco.MjModel | None = None
        self._data: mujoco.MjData | None = None

    def put(self, primitive: Primitive, place: np.ndarray, turn: np.ndarray) -> None:
        """The object is there: ``place`` ``(3,)`` [m] and ``turn`` ``(3, 3)`` in ``world``.

        A shape that is new in this process takes a tenth of a second.
        """
        model = _with_object(self._side, primitive)
        if model is not self._model:
            self._model, self._data = model, mujoco.MjData(model)
        self._palm = model.body(robot_model.PALM_FRAME).id
        self._object = model.body("object").id
        x, y, z, w = quaternion_from_matrix(turn)
        self._data.qpos[NUM_JOINTS:] = *place, w, x, y, z

    def touches(self, q: np.ndarray) -> bool:
        """Whether the robot touches the object, the table or itself at ``q`` ``(22,)`` [rad]."""
        met, *_ = self._look(q)
        return bool(met.any())

    def is_clear(self, q: np.ndarray, clear: float) -> bool:
        """Whether all of the robot keeps so far from the object [m], and its arm meets nothing.

        Fingers among themselves do not count: they are the guard's.
        """
        met, of_object, of_world = self._look(q)
        contact = self._data.contact
        of_arm = (self._model.geom_bodyid[contact.geom] < self._palm).any(axis=1)
        near = of_object & ~of_world & (contact.dist < clear)
        return not (near | (met & (of_world | of_arm))).any()

    def distance(self, q: np.ndarray) -> float:
        """Between robot and object at ``q`` ``(22,)`` [rad], up to FAR [m]."""
        _, of_object, of_world = self._look(q)
        return float(self._data.contact.dist[of_object & ~of_world].min(initial=FAR))

    def near_rows(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """To first order, how distances from the object that are below FAR change with the arm.

        Args:
            q: ``(22,)`` posture [rad].

        Returns:
            Jacobian ``(c, 6)`` [m/rad] of distances ``(c,)`` [m].
        """
        _, of_object, of_world = self._look(q)
        model, data = self._model, self._data
        mujoco.mj_makeConstraint(model, data)
        rows = (of_object & ~of_world)[data.efc_id]
        return data.efc_J.reshape(-1, model.nv)[rows, _ARM], data.efc_pos[rows]

    def _look(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks of the contacts: of what touches, of the object's and of the world's."""
        model, data = self._model, self._data
        data.qpos[:NUM_JOINTS] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        pairs = model.geom_bodyid[data.contact.geom]
        of_object, of_world = (pairs == self._object).any(axis=1), (pairs == 0).any(axis=1)
        return (data.contact.dist < 0.0) & ~(of_object & of_world), of_object, of_world


@lru_cache(maxsize=32)
def _with_object(side: str, primitive: Primitive) -> mujoco.MjModel:
    spec = robot_model.robot_spec(side)
    scene.add_table(spec)
    primitive.add_to(spec, "object", margin=FAR)
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
    return spec.compile()
