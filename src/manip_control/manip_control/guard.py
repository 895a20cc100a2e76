"""Proof that a path enters no collision, leaves no box: before it is sent."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import mujoco
import numpy as np

from manip_control.body_pairs import BodyPairs, reach_of
from manip_core import robot_model, scene
from manip_core.hand import RIGHT


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """Distances that are kept, and the space that the palm may be in.

    Attributes:
        workspace_min, workspace_max: Corners of the box the palm's origin is kept in, ``world``
            [m].
        keep_out: Boxes that the palm's origin must not enter: six numbers each, lower corner and
            upper corner in ``world`` [m], separated by blanks or commas, boxes by semicolons.
        arm_clearance: Least distance of arm links from all else [m].
        table_clearance: Least distance of palm and fingers from the table [m].
        finger_clearance: Least distance of palm and fingers from each other [m]. Pinches must be
            possible, so this is small.
        box_clearance: Distance from the walls of the boxes at which the palm stops [m].
        samples: Most postures that are looked at for one step. A path that cannot be proved free
            with so many is not taken: near obstacles this bounds the speed.
    """

    workspace_min: tuple[float, float, float] = (-0.9, -0.9, 0.06)
    workspace_max: tuple[float, float, float] = (0.9, 0.9, 1.4)
    keep_out: str = ""
    arm_clearance: float = 0.005
    table_clearance: float = 0.0003
    finger_clearance: float = 0.0003
    box_clearance: float = 0.002
    samples: int = 20

    def __post_init__(self):
        box = np.array([self.workspace_min, self.workspace_max], dtype=float)
        if box.shape != (2, 3) or not np.isfinite(box).all() or not (box[0] < box[1]).all():
            raise ValueError(
                "workspace_min must lie below workspace_max, three finite numbers each, got "
                f"{self.workspace_min} and {self.workspace_max}"
            )
        self.keep_out_boxes()
        for name in ("arm", "table", "finger", "box"):
            value = getattr(self, f"{name}_clearance")
            if not 0 < value < 0.02:
                raise ValueError(f"{name}_clearance must be above 0 and below 0.02 m, got {value}")
        if not 4 <= self.samples <= 1000:
            raise ValueError(f"samples must be within 4 and 1000, got {self.samples}")

    def keep_out_boxes(self) -> np.ndarray:
        """``keep_out`` as numbers, ``(k, 2, 3)`` in [m]."""
        boxes = []
        for text in filter(str.strip, self.keep_out.split(";")):
            try:
                corners = np.array([float(word) for word in text.replace(",", " ").split()])
            except ValueError:
                corners = np.empty(0)
            if corners.size != 6 or not np.isfinite(corners).all():
                raise ValueError(f"keep_out must hold six finite numbers a box, got {text!r}")
            if not (corners[:3] < corners[3:]).all():
                raise ValueError(f"keep_out has a box whose lower corner is not lower: {text!r}")
            boxes.append(corners.reshape(2, 3))
        return np.array(boxes).reshape(-1, 2, 3)


@dataclass(frozen=True)
class Path:
    """A motion to be looked at.

    Attributes:
        at: Posture ``(22,)`` [rad] at a time from 0 to the last of ``times``.
        times: ``(m,)`` where to look first, from 0 on [s].
        turns: ``(m - 1, 22)`` way that each joint goes twice between two of ``times``, to and
            back: its whole way is at most the difference of its ends and this [rad].
        acceleration: ``(22,)`` that no joint exceeds on the way [rad/s^2].
    """

    at: Callable[[float], np.ndarray]
    times: tuple[float, ...]
    turns: np.ndarray
    acceleration: np.ndarray


@dataclass(frozen=True)
class Look:
    """What is known of one posture.

    Attributes:
        q: ``(22,)`` [rad].
        distances: ``(k,)`` every row's distance [m].
        rows: ``(c,)`` row of each pair of geoms that is near.
        geoms: ``(c, 2)`` that pair.
        normals: ``(c, 3)`` direction from the first to the second, where they are nearest.
        centres: ``(ngeom, 3)`` [m].
        axes: ``(ngeom, 3, 3)`` the geoms' axes in the world, as columns.
    """

    q: np.ndarray
    distances: np.ndarray
    rows: np.ndarray
    geoms: np.ndarray
    normals: np.ndarray
    centres: np.ndarray
    axes: np.ndarray


# MuJoCo reports pairs nearer than the sum of these [m]. Larger ones cost more pairs, smaller ones
# more postures on a fast path.
_ARM_MARGIN, _HAND_MARGIN = 0.08, 0.012
# Half the size of the table's plane [m].
_ENDLESS = 1e3


class Guard:
    """Knows every distance of a posture, and whether a path keeps them.

    A distance is a row: pairs of bodies first, then the palm's distance from the outside of its
    workspace, then from each keep-out box. A few looks prove a whole path, piece by piece, each by
    either of two laws:

    * Row ``i`` changes by at most ``reach[i] @ |dq|``, in every configuration. So of a piece with
      the distances ``d0, d1`` at its ends and joints that go by ``s`` in all, the distance stays at
      least ``(d0 + d1 - reach @ s) / 2``. This is quick to see.
    * Two convex bodies are at least as far apart as their extents along any one direction are, and
      along a fixed one no point's way bends by more than the joints' speed and acceleration allow.
      So with the separations ``g0, g1`` along the normal that one end has, the distance stays at
      least ``min(g0, g1) - C / 8``, where ``C`` bounds the second derivative. This lets near things
      part, and slide along each other.

    Pieces for which neither is enough are halved.

    Attributes:
        reach: ``(k, 22)`` bound on each row's change [m/rad].
        clearance: ``(k,)`` distance that is kept [m].
        far: ``(k,)`` greatest distance that is told [m].
        names: What each row is the distance of.
    """

    def __init__(self, config: GuardConfig, side: str = RIGHT):
        self.config = config
        self.model = _model(side)
        self._data = mujoco.MjData(self.model)
        self._pairs = BodyPairs(self.model)
        self._palm = self.model.site(robot_model.PALM_FRAME).id
        self._move = np.empty((3, self.model.nv))
        self._box = np.array([config.workspace_min, config.workspace_max])
        self._keep_out = config.keep_out_boxes()
        boxes = 1 + len(self._keep_out)
        palm = reach_of(
            self.model,
            self.model.site_bodyid[self._palm],
            float(np.linalg.norm(self.model.site_pos[self._palm])),
        )
        self.reach = np.vstack((self._pairs.reach, np.tile(palm, (boxes, 1))))
        self.clearance = np.concatenate(
            (self._pair_clearances(), np.full(boxes, config.box_clearance))
        )
        self.names = [*self._pair_names(), "the workspace"]
        self.names += [f"keep-out box {i + 1}" for i in range(len(self._keep_out))]
        self._worst = np.full(self.model.ngeom**2, -np.inf)
        self._half, self._round = _extents(self.model)
        margin = self._body_margin()
        self.far = np.full(len(self.reach), np.inf)
        self.far[: len(self._pairs.bodies)] = margin[self._pairs.bodies].sum(axis=1)

    def look(self, q: np.ndarray) -> Look:
        """All that is known of posture ``q`` ``(22,)`` [rad]; pairs farther than ``far`` are at
        that distance.
        """
        data = self._data
        data.qpos[:] = q
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_collision(self.model, data)
        found = self.far.copy()
        contact = data.contact
        geoms = contact.geom.copy()
        bodies = self.model.geom_bodyid[geoms]
        rows = self._pairs.index[bodies[:, 0], bodies[:, 1]]
        np.minimum.at(found, rows, contact.dist)
        palm = data.site_xpos[self._palm]
        k = len(self._pairs.bodies)
        found[k] = min((palm - self._box[0]).min(), (self._box[1] - palm).min())
        for i, (lower, upper) in enumerate(self._keep_out):
            outside = np.maximum(lower - palm, palm - upper)
            far = np.maximum(outside, 0.0)
            found[k + 1 + i] = np.sqrt(far @ far) if far.any() else outside.max()
        return Look(
            q=q,
            distances=found,
            rows=rows,
            geoms=geoms,
            normals=contact.frame[:, :3].copy(),
            centres=data.geom_xpos.copy(),
            axes=data.geom_xmat.reshape(-1, 3, 3).copy(),
        )

    def distances(self, q: np.ndarray) -> np.ndarray:
        """Every row's distance [m] at posture ``q`` ``(22,)`` [rad], pairs' up to ``far``."""
        return self.look(q).distances

    def near_rows(self, q: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What is near, to first order: Jacobian ``(c, 22)`` [m/rad] of distances ``(c,)`` [m], and
        which row ``(c,)`` each belongs to.

        Distances are those above the clearance.

        Args:
            q: ``(22,)`` posture [rad].
            within: Pairs and walls that are farther are left out [m].
        """
        model, data = self.model, self._data
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_collision(model, data)
        mujoco.mj_makeConstraint(model, data)
        # Pairs that no joint can move have no row.
        bodies = model.geom_bodyid[data.contact.geom[data.efc_id]]
        rows = self._pairs.index[bodies[:, 0], bodies[:, 1]]
        above = data.efc_pos - self.clearance[rows]
        near = above < within
        jacobian, above, rows = data.efc_J.reshape(-1, model.nv)[near], above[near], rows[near]
        mujoco.mj_jacSite(model, data, self._move, None, self._palm)
        palm = data.site_xpos[self._palm]
        out, room = self._walls(palm)
        walls = room < within
        if walls.any():
            jacobian = np.vstack((jacobian, out[walls] @ self._move))
            above = np.concatenate((above, room[walls]))
            box = np.maximum(np.arange(len(room)) - 5, 0)
            rows = np.concatenate((rows, len(self._pairs.bodies) + box[walls]))
        return jacobian, above, rows

    def _walls(self, palm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions ``(6 + k, 3)`` away from the workspace's walls and the ``k`` keep-out boxes,
        and distances above the clearance.
        """
        lower, upper = self._box
        out = [*np.eye(3), *-np.eye(3)]
        room = [*(palm - lower), *(upper - palm)]
        for low, high in self._keep_out:
            off = palm - np.clip(palm, low, high)
            far = np.linalg.norm(off)
            out.append(off / far if far > 0 else off)
            room.append(far if far > 0 else np.inf)
        return np.array(out), np.array(room) - self.config.box_clearance

    def trouble(
        self, path: Path, floor: np.ndarray, lowest: np.ndarray, start: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which distances a path would not keep.

        Args:
            path: The motion.
            floor: Distance that a row must have wherever it is looked at [m].
            lowest: Distance that a row must have everywhere [m].
            start: Distances at the path's start, or what they are at least.

        Returns:
            The rows in trouble as a mask, none set where the path is proved free; and the distances
            at the second of the path's ``times``.
        """
        looks = [self.look(path.at(t)) for t in path.times[1:]]
        for one in looks:
            low = one.distances < floor
            if low.any():
                return low, looks[0].distances
        second = looks[0].distances
        budget = self.config.samples - len(looks)
        first = replace(looks[0], q=path.at(0.0), distances=start)
        ends = [first, *looks]
        # Of the first end only the distances are known until something is in doubt.
        seen_start = False
        pieces = [
            (path.times[i], ends[i], path.times[i + 1], ends[i + 1], turn)
            for i, turn in enumerate(path.turns)
        ]
        while pieces:
            t0, one, t1, other, turn = pieces.pop()
            room = one.distances + other.distances - 2.0 * lowest
            change = self.reach @ (np.abs(other.q - one.q) + turn)
            doubt = np.flatnonzero(change > room)
            if not len(doubt):
                continue
            if one is first and not seen_start:
                first, seen_start = self.look(first.q), True
                one = first
                budget -= 1
            least, bend = self._least(one, other, t1 - t0, path.acceleration, doubt, change)
            left = least < lowest[doubt]
            if not left.any():
                continue
            # The bend falls with the square of the number of pieces.
            doubt = doubt[left]
            nearest = np.minimum(one.distances, other.distances)[doubt] - lowest[doubt]
            if (bend[left] > 8.0 * np.maximum(nearest, 0.0) * max(budget, 0) ** 2).any():
                rows = np.zeros(len(floor), bool)
                rows[doubt] = True
                return rows, second
            t = 0.5 * (t0 + t1)
            middle = self.look(path.at(t))
            budget -= 1
            low = middle.distances < floor
            if low.any():
                return low, second
            pieces += [(t0, one, t, middle, turn), (t, middle, t1, other, turn)]
        return np.zeros(len(floor), bool), second

    def _least(
        self,
        one: Look,
        other: Look,
        time: float,
        acceleration: np.ndarray,
        rows: np.ndarray,
        change: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The second law: what some rows are at least between two looks [m], and their bend ``C``.

        Args:
            one, other: Looks at the ends.
            time: From one to the other [s].
            acceleration: ``(22,)`` that no joint exceeds [rad/s^2].
            rows: ``(r,)`` which rows.
            change: ``(k,)`` what every row can change by [m].
        """
        # No joint is faster, times the time, than this.
        most = np.abs(other.q - one.q) + 0.5 * acceleration * time**2
        reach = self.reach[rows]
        bend = ((reach > 0) @ most) * (reach @ most) + reach @ acceleration * time**2
        place = np.full(len(self.reach), -1)
        place[rows] = np.arange(len(rows))
        ends = [(look, np.flatnonzero(place[look.rows] >= 0)) for look in (one, other)]
        geoms = np.concatenate([look.geoms[use] for look, use in ends])
        normals = np.concatenate([look.normals[use] for look, use in ends])
        gaps = np.minimum(
            self._separation(one, geoms, normals), self._separation(other, geoms, normals)
        )
        pairs = geoms[:, 0] * self.model.ngeom + geoms[:, 1]
        places = place[self._pairs.index[tuple(self.model.geom_bodyid[geoms].T)]]
        # Pairs of geoms that are not near at an end; a box's walls have no geoms.
        far = np.where(np.isfinite(self.far[rows]), self.far[rows] - change[rows], -np.inf)
        bounds = []
        first = np.arange(len(geoms)) < len(ends[0][1])
        for here in (first, ~first):
            # Of several directions of one pair of geoms the best one counts.
            best = self._worst.copy()
            np.maximum.at(best, pairs[here], gaps[here])
            least = far.copy()
            np.minimum.at(least, places[here], best[pairs[here]] - bend[places[here]] / 8.0)
            bounds.append(least)
        return np.maximum(*bounds), bend

    def _separation(self, look: Look, geoms: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """How far apart pairs of geoms are along given directions ``(c, 3)``, ``(c,)`` [m]."""
        first, second = geoms.T
        between = ((look.centres[second] - look.centres[first]) * normals).sum(axis=1)
        both = np.concatenate((first, second))
        along = np.abs(np.tile(normals, (2, 1))[:, None] @ look.axes[both])[:, 0]
        extent = (self._half[both] * along).sum(axis=1) + self._round[both]
        return between - extent[: len(first)] - extent[len(first) :]

    def joints_of(self, rows: np.ndarray) -> np.ndarray:
        """Mask ``(22,)`` of the joints that can change any of these rows."""
        return (self.reach[rows] > 0).any(axis=0)

    def describe(self, rows: np.ndarray) -> str:
        """The rows of a mask in words, at most two of them."""
        found = [self.names[i] for i in np.flatnonzero(rows)]
        more = f" and {len(found) - 2} more" if len(found) > 2 else ""
        return ", ".join(found[:2]) + more

    def _is_hand(self) -> np.ndarray:
        """Mask ``(nbody,)`` of the palm and what it carries."""
        model = self.model
        palm = model.body(robot_model.PALM_FRAME).id
        mask = np.zeros(model.nbody, bool)
        for body in range(1, model.nbody):
            mask[body] = body == palm or mask[model.body_parentid[body]]
        return mask

    def _body_margin(self) -> np.ndarray:
        return np.where(self._is_hand(), _HAND_MARGIN, _ARM_MARGIN)

    def _pair_clearances(self) -> np.ndarray:
        hand = self._is_hand()
        a, b = self._pairs.bodies.T
        config = self.config
        fingers = np.where(hand[a] & hand[b], config.finger_clearance, config.arm_clearance)
        return np.where((a == 0) & hand[b], config.table_clearance, fingers)

    def _pair_names(self) -> list[str]:
        name = {i: self.model.body(i).name for i in range(self.model.nbody)} | {0: "table"}
        return [f"{name[a]} and {name[b]}" for a, b in self._pairs.bodies]


def _extents(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Half the size of each geom along its axes ``(ngeom, 3)``, and what is round about it [m]."""
    half, around = np.zeros((model.ngeom, 3)), np.zeros(model.ngeom)
    for i, (kind, size) in enumerate(zip(model.geom_type, model.geom_size, strict=True)):
        if kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
            half[i, 2], around[i] = size[1], size[0]
        elif kind == mujoco.mjtGeom.mjGEOM_BOX:
            half[i] = size
        elif kind == mujoco.mjtGeom.mjGEOM_SPHERE:
            around[i] = size[0]
        elif kind == mujoco.mjtGeom.mjGEOM_PLANE:
            half[i, :2] = _ENDLESS
        elif model.geom_contype[i] or model.geom_conaffinity[i]:
            raise ValueError(
                f"the guard knows capsules, boxes, spheres and planes, got {mujoco.mjtGeom(kind)}"
            )
    return half, around


def _model(side: str) -> mujoco.MjModel:
    """The robot over its table, with margins in which MuJoCo reports and linearises distances.

    The table is everything below its top: MuJoCo's distances from a plane are exact, those from a
    large box are not.
    """
    spec = robot_model.robot_spec(side)
    spec.worldbody.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0, 0, 1],
        pos=[0, 0, scene.TABLE_CENTRE[2] + scene.TABLE_SIZE[2]],
    )
    hand = spec.body(robot_model.PALM_FRAME)
    for geom in spec.geoms:
        geom.margin = _ARM_MARGIN
    for body in (hand, *hand.find_all(mujoco.mjtObj.mjOBJ_BODY)):
        for geom in body.geoms:
            geom.margin = _HAND_MARGIN
    robot_model.only_distances(spec)
    return spec.compile()
