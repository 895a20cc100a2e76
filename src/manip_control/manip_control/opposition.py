"""How the hand opens and closes as a gripper does: three fingers on one side, the thumb opposite.

One posture for each width between the two sides. Tips move to and from one another along a line
that is fixed in the palm, so that what lies between is met from both sides at once and is not
shoved; the last links stay about across that line (Cutkosky 1989, "On grasp choice, grasp models,
and the design of hands for manufacturing tasks": prismatic precision grasp).

Where in the palm that line lies decides how strong the hand is, and against a pull in which
direction: joints have a greatest torque, and levers differ. No line is best for all, so there are
three (`STYLES`), and a grasp says which.
"""

from dataclasses import dataclass

import numpy as np

from manip_control.fingertips import FINGERS, THUMB, Fingertips
from manip_core.hand import RIGHT
from manip_core.robot_model import ARM_JOINTS, NUM_JOINTS, TIP_RADIUS, limits

_HAND = slice(len(ARM_JOINTS), NUM_JOINTS)
# Tips of index and ring finger beside the middle one's [m].
_SPREAD = 0.045
# Joints that lay fingers across, where these lie well apart [rad].
_APART = 0.25
_NARROWEST, _WIDEST, _STEP, _FIRST = -0.01, 0.19, 0.01, 9
# Below this width tips meet rather than keep their depth [m].
_NARROW = 0.05
# Weights of the least squares: tips along the approach, the line, and beside it [1/m]; direction of
# the last links; no change [1/rad].
_DEPTH, _PLACE, _BESIDE, _ACROSS, _FORWARD, _KEEP = 300.0, 100.0, 30.0, 0.3, 0.1, 0.05
_ITERATIONS = 60
# Friction for which strength is told [-].
FRICTION = 0.8
# Ways along the closing line of what each of FINGERS presses.
_INWARDS = np.where(np.arange(len(FINGERS)) == THUMB, 1.0, -1.0)
# Share of what the thumb lies beside the middle finger that counts as missed.
_ASIDE = 0.3
_START = {"finger": (0.0, 0.9, 0.5, 0.2), "thumb": (1.3, 0.6, 0.5, 0.1)}


@dataclass(frozen=True, kw_only=True)
class Style:
    """Where the closing line lies.

    Attributes:
        centre: Middle between both sides in a right hand's palm [m].
        lean: Of the line, about the palm's y [rad].
        room: From the line towards the palm there is so much room for the object [m].
    """

    centre: tuple[float, float, float]
    lean: float
    room: float


# Of some 700 that were computed (docs/log.md): one that holds most of what pulls it out of the
# hand, one that holds most of what pulls it sideways, and one that is exact to 0.17 m of width.
PULL = Style(centre=(0.095, 0.035, 0.0), lean=0.5, room=0.08)
SIDE = Style(centre=(0.058, 0.025, 0.03), lean=-0.3, room=0.043)
WIDE = Style(centre=(0.085, 0.02, 0.02), lean=0.5, room=0.07)
STYLES = (PULL, SIDE, WIDE)


class Opposition:
    """Postures of the fingers by the width between both sides.

    Attributes:
        style: Where the closing line lies.
        centre: ``(3,)`` middle between both sides, in ``allegro_palm`` [m].
        frame: ``(3, 3)`` in ``allegro_palm``; columns are the way to go to an object, the way from
            the ring to the index finger (the other way on a left hand), and that from the thumb to
            the fingers.
        apart: ``(4,)`` first joints of FINGERS with which fingers lie apart from each other [rad].
        narrowest, widest: Least and greatest gap between the surfaces of both sides [m].
    """

    def __init__(self, side: str = RIGHT, style: Style = WIDE):
        self.style = style
        fingertips = Fingertips(side)
        bounds = limits(side)
        self._lower, self._upper = bounds.lower[_HAND], bounds.upper[_HAND]
        mirror = 1.0 if side == RIGHT else -1.0
        self.centre = np.array(style.centre) * (1.0, mirror, 1.0)
        sine, cosine = np.sin(style.lean), np.cos(style.lean)
        self.frame = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])
        self.narrowest, self.widest = _NARROWEST, _WIDEST
        beside = np.array([1.0, 0.0, -1.0, 0.0]) * _SPREAD * mirror
        joints = np.ravel([_START["thumb" if name == "thumb" else "finger"] for name in FINGERS])
        if side != RIGHT:
            # Joints that lay fingers across turn the other way.
            joints[[4 * i for i in range(THUMB)]] *= -1.0
        self._fingertips = fingertips
        _, moves = fingertips.jacobian(joints)
        self.apart = _APART * np.sign(moves[:, 0] @ self.frame[:, 1]) * np.sign(beside)
        self._gaps = np.arange(_NARROWEST, _WIDEST + _STEP / 2, _STEP)
        self._rows = np.zeros((len(self._gaps), len(joints)))
        middle = self._solve(fingertips, joints, self._gaps[_FIRST], beside)
        # From the middle on to both ends, each from the one before.
        for way in (range(_FIRST, len(self._gaps)), range(_FIRST, -1, -1)):
            joints = middle
            for i in way:
                self._rows[i] = joints = self._solve(fingertips, joints, self._gaps[i], beside)
        self._misses, self._levers = self._measure()

    def joints(self, gap: float) -> np.ndarray:
        """The fingers ``(16,)`` [rad] with ``gap`` [m] between both sides: from ``narrowest``,
        where they pass into each other, to ``widest``."""
        gap = float(np.clip(gap, self.narrowest, self.widest))
        i = int(np.clip(np.searchsorted(self._gaps, gap), 1, len(self._gaps) - 1))
        share = (gap - self._gaps[i - 1]) / (self._gaps[i] - self._gaps[i - 1])
        return (1.0 - share) * self._rows[i - 1] + share * self._rows[i]

    def tips(self, gap: float) -> np.ndarray:
        """Centres ``(4, 3)`` of the tips of FINGERS about `centre`, along the columns of `frame`
        [m]."""
        return (self._fingertips.places(self.joints(gap)) - self.centre) @ self.frame

    def misses(self, gaps: np.ndarray) -> np.ndarray:
        """How far tips are from where they should be ``(n,)`` [m], for gaps ``(n,)`` [m]."""
        return np.interp(gaps, self._gaps, self._misses)

    def strength(self, gaps: np.ndarray, up: np.ndarray, torque: float) -> np.ndarray:
        """With how much it can press ``(n,)`` [N] while each side carries 0.8 of that.

        Args:
            gaps: ``(n,)`` [m].
            up: ``(n, 3)`` unit vectors along which it carries, in `frame`.
            torque: The greatest of a joint [N m].
        """
        at = np.clip(np.searchsorted(self._gaps, gaps), 1, len(self._gaps) - 1)
        force = _INWARDS[:, None] * (0.0, 0.0, 1.0) + FRICTION * up[:, None]
        torques = np.einsum("nfjk,nfk->nfj", self._levers[at], force)
        most = torque / np.abs(torques).max(axis=-1)
        return np.minimum(most[:, THUMB], most[:, :THUMB].sum(axis=-1))

    def _measure(self) -> tuple[np.ndarray, np.ndarray]:
        """Of all postures what tips miss ``(g,)`` [m], and the joints' torques of forces along
        `frame` ``(g, 4, 4, 3)`` [m]."""
        misses, levers = [], []
        for gap, joints in zip(self._gaps, self._rows, strict=True):
            places, moves = self._fingertips.jacobian(joints)
            tips = (places - self.centre) @ self.frame
            off = tips[:, 2] + _INWARDS * (gap / 2 + TIP_RADIUS)
            misses.append(
                np.abs(tips[:, 0]).max() + np.abs(off).max() + _ASIDE * abs(tips[THUMB, 1])
            )
            levers.append(moves @ self.frame)
        return np.array(misses), np.array(levers)

    def palm(
        self, centre: np.ndarray, closing: np.ndarray, approach: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the palm is for a grasp.

        Args:
            centre: ``(…, 3)`` middle between both sides [m].
            closing: ``(…, 3)`` unit vector from the fingers to the thumb.
            approach: ``(…, 3)`` unit vector across it, the way the hand comes.

        Returns:
            Positions ``(…, 3)`` [m] and rotations ``(…, 3, 3)``, in the frame of the arguments.
        """
        up = -closing
        axes = np.stack((approach, np.cross(up, approach), up), axis=-1)
        rotation = axes @ self.frame.T
        return centre - rotation @ self.centre, rotation

    def _solve(
        self, fingertips: Fingertips, start: np.ndarray, gap: float, beside: np.ndarray
    ) -> np.ndarray:
        """Least squares by Levenberg and Marquardt, within the joints' limits."""
        approach, across, up = self.frame.T
        apart = np.where(np.arange(len(FINGERS)) == THUMB, -1.0, 1.0) * (gap / 2 + TIP_RADIUS)
        wanted = self.centre + apart[:, None] * up + beside[:, None] * across
        weights = np.array([_DEPTH if gap > _NARROW else _PLACE, _BESIDE, _PLACE])
        axes = self.frame * weights

        def residual(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            tips, moves = fingertips.jacobian(joints)
            links, turns = fingertips.links(joints)
            slope = np.zeros((len(FINGERS), 5, len(joints)))
            for k in range(len(FINGERS)):
                own = slice(4 * k, 4 * k + 4)
                slope[k, :3, own] = (moves[k] @ axes).T
                slope[k, 3, own] = _ACROSS * (turns[k] @ up)
                slope[k, 4, own] = -_FORWARD * (turns[k] @ approach)
            error = np.column_stack(
                ((tips - wanted) @ axes, _ACROSS * (links @ up), _FORWARD * (1 - links @ approach))
            )
            slope = np.concatenate((slope.reshape(-1, len(joints)), _KEEP * np.eye(len(joints))))
            return np.concatenate((error.ravel(), _KEEP * (joints - start))), slope

        joints, damping = start.copy(), 1e-2
        error, slope = residual(joints)
        for _ in range(_ITERATIONS):
            downhill = -slope.T @ error
            # A joint at a stop that would go beyond it is left out of the step.
            free = ~(
                ((joints <= self._lower) & (downhill < 0))
                | ((joints >= self._upper) & (downhill > 0))
            )
            square = slope[:, free].T @ slope[:, free]
            moved = joints.copy()
            moved[free] += np.linalg.solve(square + damping * np.eye(free.sum()), downhill[free])
            moved = np.clip(moved, self._lower, self._upper)
            after, sloped = residual(moved)
            if after @ after < error @ error:
                done = np.abs(moved - joints).max() < 1e-5
                joints, error, slope, damping = moved, after, sloped, 0.3 * damping
                if done:
                    break
            else:
                damping *= 5.0
        return joints
