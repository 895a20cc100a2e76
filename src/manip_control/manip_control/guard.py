"""Proof that a path enters no collision, leaves no box: before it is sent."""

from collections.abc import Callable
from dataclasses import dataclass

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
    samples: int = 10

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
    """

    at: Callable[[float], np.ndarray]
    times: tuple[float, ...]
    turns: np.ndarray


# MuJoCo reports pairs nearer than the sum of these [m]. Larger ones cost more pairs, smaller ones
# more postures on a fast path.
_ARM_MARGIN, _HAND_MARGIN = 0.08, 0.02


class Guard:
    """Knows every distance of a posture, and whether a path keeps them.

    A distance is a row: pairs of bodies first, then the palm's distance from the outside of its
    workspace, then from each keep-out box. Row ``i`` changes by at most ``reach[i] @ |dq|``, in
    every configuration. So of a path's piece with the ends' distances ``d0, d1`` and joints that
    go by ``s`` in all, the distance stays at least ``(d0 + d1 - reach @ s) / 2``: looking at a few
    postures proves the whole path. Pieces for which that is not enough are halved.

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
        margin = self._body_margin()
        self.far = np.full(len(self.reach), np.inf)
        self.far[: len(self._pairs.bodies)] = margin[self._pairs.bodies].sum(axis=1)

    def distances(self, q: np.ndarray) -> np.ndarray:
        """Every row's distance [m], pairs' up to where MuJoCo stops looking.

        Args:
            q: ``(22,)`` posture [rad].
        """
        data = self._data
        data.qpos[:] = q
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_collision(self.model, data)
        found = self.far.copy()
        if data.ncon:
            bodies = self.model.geom_bodyid[data.contact.geom]
            rows = self._pairs.index[bodies[:, 0], bodies[:, 1]]
            np.minimum.at(found, rows, data.contact.dist)
        palm = data.site_xpos[self._palm]
        k = len(self._pairs.bodies)
        found[k] = min((palm - self._box[0]).min(), (self._box[1] - palm).min())
        for i, (lower, upper) in enumerate(self._keep_out):
            outside = np.maximum(lower - palm, palm - upper)
            far = np.maximum(outside, 0.0)
            found[k + 1 + i] = np.sqrt(far @ far) if far.any() else outside.max()
        return found

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
        ends = [path.at(t) for t in path.times]
        seen = [start]
        for q in ends[1:]:
            seen.append(self.distances(q))
            low = seen[-1] < floor
            if low.any():
                return low, seen[1]
        second, looks = seen[1], len(ends) - 1
        pieces = [
            (path.times[i], ends[i], seen[i], path.times[i + 1], ends[i + 1], seen[i + 1], turn)
            for i, turn in enumerate(path.turns)
        ]
        while pieces:
            t0, q0, d0, t1, q1, d1, turn = pieces.pop()
            room = d0 + d1 - 2.0 * lowest
            change = self.reach @ (np.abs(q1 - q0) + turn)
            doubt = change > room
            if not doubt.any():
                continue
            # In equal parts it would take so many looks at least, were it as free in the middle.
            hopeless = change > room * (self.config.samples - looks + 1)
            if hopeless.any():
                return hopeless, second
            t = 0.5 * (t0 + t1)
            q = path.at(t)
            d = self.distances(q)
            looks += 1
            low = d < floor
            if low.any():
                return low, second
            pieces += [(t0, q0, d0, t, q, d, turn), (t, q, d, t1, q1, d1, turn)]
        return np.zeros(len(floor), bool), second

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


def _model(side: str) -> mujoco.MjModel:
    """The robot over its table, with margins in which MuJoCo reports distances.

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
        geom.condim = 1
        geom.margin = _ARM_MARGIN
    for body in (hand, *hand.find_all(mujoco.mjtObj.mjOBJ_BODY)):
        for geom in body.geoms:
            geom.margin = _HAND_MARGIN
    spec.delete(spec.keys[0])
    return spec.compile()
