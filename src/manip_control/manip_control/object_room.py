"""How near the robot is to objects whose shapes and places are known."""

from collections.abc import Sequence
from functools import lru_cache

import mujoco
import numpy as np

from manip_core import robot_model, scene
from manip_core.hand import RIGHT
from manip_core.primitive import KnownObject, Primitive
from manip_core.robot_model import ARM_JOINTS, NUM_JOINTS
from manip_core.rotation import quaternion_from_matrix

_ARM = slice(0, len(ARM_JOINTS))
# Distances from objects are known up to this [m].
FAR = 0.05
# On its way to a grasp the robot keeps so far from them [m].
CLEAR = 0.02
# The guard keeps the arm 5 mm from all else (`GuardConfig.arm_clearance`), and a posture may miss a
# little [m].
_ARM_CLEAR = 0.007
# Kinds of bodies.
_WORLD, _OF_ARM, _OF_HAND, _OBJECT = range(4)


class ObjectRoom:
    """The robot, its table, and objects that stand somewhere; one thread's own."""

    def __init__(self, side: str = RIGHT):
        self._side = side
        self._model: mujoco.MjModel | None = None
        self._data: mujoco.MjData | None = None
        self._kind = np.zeros(0, int)

    def put(self, things: Sequence[KnownObject]) -> None:
        """These objects are there, and no others.

        Shapes that are new in this process take some milliseconds.
        """
        things = sorted(things, key=lambda thing: thing.name)
        model = _with_objects(self._side, tuple(thing.primitive for thing in things))
        if model is not self._model:
            self._model, self._data = model, mujoco.MjData(model)
            palm = model.body(robot_model.PALM_FRAME).id
            robot = model.nbody - len(things)
            bodies = np.arange(model.nbody)
            # Bodies of the arm come before the palm, those of the hand after.
            self._kind = np.select(
                (bodies == 0, bodies < palm, bodies < robot), (_WORLD, _OF_ARM, _OF_HAND), _OBJECT
            )
        for row, thing in enumerate(things):
            x, y, z, w = quaternion_from_matrix(thing.turn)
            first = NUM_JOINTS + 7 * row
            self._data.qpos[first : first + 7] = *thing.place, w, x, y, z

    def touches(self, q: np.ndarray) -> bool:
        """Whether the robot touches an object, the table or itself at ``q`` ``(22,)`` [rad], or its
        arm comes nearer to anything than it may."""
        least, most = self._look(q)
        arm, hand = ((least == kind) | (most == kind) for kind in (_OF_ARM, _OF_HAND))
        distance = self._data.contact.dist
        return bool(((hand & (distance < 0.0)) | (arm & (distance < _ARM_CLEAR))).any())

    def is_clear(self, q: np.ndarray, clear: float) -> bool:
        """Whether all of the robot keeps so far from the objects [m], and its arm meets nothing.

        Fingers among themselves do not count: they are the guard's.
        """
        least, most = self._look(q)
        distance = self._data.contact.dist
        arm = (least == _OF_ARM) | (most == _OF_ARM)
        on_table = (least == _WORLD) & (most == _OF_HAND)
        near = _between(least, most) & (distance < clear)
        return not (near | (arm & (distance < _ARM_CLEAR)) | (on_table & (distance < 0.0))).any()

    def distance(self, q: np.ndarray) -> float:
        """Between the robot and its nearest object at ``q`` ``(22,)`` [rad], up to FAR [m]."""
        between = _between(*self._look(q))
        return float(self._data.contact.dist[between].min(initial=FAR))

    def near_rows(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """To first order, how distances from objects that are below FAR change with the arm.

        Args:
            q: ``(22,)`` posture [rad].

        Returns:
            Jacobian ``(c, 6)`` [m/rad] of distances ``(c,)`` [m].
        """
        between = _between(*self._look(q))
        model, data = self._model, self._data
        mujoco.mj_makeConstraint(model, data)
        rows = between[data.efc_id]
        return data.efc_J.reshape(-1, model.nv)[rows, _ARM], data.efc_pos[rows]

    def _look(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What kinds of bodies the contacts are between, the lesser and the greater."""
        model, data = self._model, self._data
        data.qpos[:NUM_JOINTS] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        one, other = self._kind[model.geom_bodyid[data.contact.geom]].T
        return np.minimum(one, other), np.maximum(one, other)


def _between(least: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Of contacts between the robot and an object."""
    return ((least == _OF_ARM) | (least == _OF_HAND)) & (most == _OBJECT)


@lru_cache(maxsize=32)
def _with_objects(side: str, shapes: tuple[Primitive, ...]) -> mujoco.MjModel:
    spec = robot_model.robot_spec(side)
    scene.add_table(spec)
    for row, shape in enumerate(shapes):
        shape.add_to(spec, f"object {row}", margin=FAR)
    hand = spec.body(robot_model.PALM_FRAME)
    of_hand = {body.name for body in (hand, *hand.find_all(mujoco.mjtObj.mjOBJ_BODY))}
    for geom in spec.geoms:
        of_arm = geom.parent.name not in of_hand and not geom.parent.name.startswith("object")
        if of_arm and geom.parent.name != "world":
            geom.margin = _ARM_CLEAR
    robot_model.only_distances(spec)
    return spec.compile()
