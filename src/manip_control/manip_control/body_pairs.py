"""Which bodies can touch, and how fast their distance can change with the joints."""

import mujoco
import numpy as np


class BodyPairs:
    """All pairs of bodies that MuJoCo tests for contact, and a bound on their distances' change.

    Turning joint ``j`` by ``dq`` moves no point of a body beyond it by more than the point's
    distance from the joint times ``dq``. So the distance of a pair changes by at most
    ``reach[pair] @ |dq|``, in every configuration, where the reach counts only the joints that lie
    between the two bodies.

    Attributes:
        bodies: ``(k, 2)`` ids of the bodies of each pair, the smaller one first.
        index: ``(nbody, nbody)`` row of a pair, in either order; -1 where a pair is not tested.
        reach: ``(k, nv)`` in [m/rad].
    """

    def __init__(self, model: mujoco.MjModel):
        self._model = model
        tested = [
            (a, b)
            for a in range(model.nbody)
            for b in range(a + 1, model.nbody)
            if self._may_touch(a, b)
        ]
        self.bodies = np.array(tested)
        self.index = np.full((model.nbody, model.nbody), -1)
        self.index[self.bodies[:, 0], self.bodies[:, 1]] = np.arange(len(tested))
        self.index[self.bodies[:, 1], self.bodies[:, 0]] = np.arange(len(tested))
        extent = [self._extent(body) for body in range(model.nbody)]
        moves = np.array([reach_of(model, body, extent[body]) for body in range(model.nbody)])
        first, second = moves[self.bodies[:, 0]], moves[self.bodies[:, 1]]
        # A joint that carries both bodies changes nothing between them.
        self.reach = np.where((first > 0) & (second > 0), 0.0, np.maximum(first, second))

    def _may_touch(self, a: int, b: int) -> bool:
        """As `mj_collision` filters pairs: welds, parent and child, exclusions, type masks."""
        model = self._model
        weld, parent = model.body_weldid, model.body_parentid
        weld_a, weld_b = weld[a], weld[b]
        if weld_a == weld_b:
            return False
        if weld_a and weld_b and (weld_a == weld[parent[weld_b]] or weld_b == weld[parent[weld_a]]):
            return False
        if (a << 16) + b in model.exclude_signature or (b << 16) + a in model.exclude_signature:
            return False
        return any(
            model.geom_contype[g] & model.geom_conaffinity[h]
            or model.geom_contype[h] & model.geom_conaffinity[g]
            for g in self._geoms(a)
            for h in self._geoms(b)
        )

    def _geoms(self, body: int) -> range:
        first = self._model.body_geomadr[body]
        return range(first, first + self._model.body_geomnum[body])

    def _extent(self, body: int) -> float:
        """Greatest distance of the body's colliding surface from its frame [m]."""
        model = self._model
        return max(
            (
                np.linalg.norm(model.geom_pos[g]) + model.geom_rbound[g]
                for g in self._geoms(body)
                if model.geom_contype[g] or model.geom_conaffinity[g]
            ),
            default=0.0,
        )


def reach_of(model: mujoco.MjModel, body: int, extent: float) -> np.ndarray:
    """Bound on how far a body's points move per angle of each joint, ``(nv,)`` in [m/rad].

    Args:
        model: A tree of hinge joints.
        body: The body's id.
        extent: Greatest distance of the points in question from the body's frame [m].
    """
    found = np.zeros(model.nv)
    length = extent
    while body:
        for joint in range(
            model.body_jntadr[body], model.body_jntadr[body] + model.body_jntnum[body]
        ):
            found[model.jnt_dofadr[joint]] = length + np.linalg.norm(model.jnt_pos[joint])
        length += np.linalg.norm(model.body_pos[body])
        body = model.body_parentid[body]
    return found
