"""The fingers of a hand that is guided: they open, close on both sides at once, and press."""

import numpy as np

from manip_control.assist import HAND, Assist
from manip_control.fingertips import FINGERS, THUMB, Fingertips
from manip_control.grasp_planner import Grasp
from manip_control.guide_config import GuideConfig
from manip_control.opposition import Opposition
from manip_core.robot_model import HAND_SERVO, TIP_RADIUS, limits

# Commanded tips are kept so far apart [m]; shares of what presses that are tried for it.
_APART = 0.0005
_SHARES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.1)
_STIFFNESS = HAND_SERVO["kp"]
# Fingers lie apart: so near to the posture for it [rad].
_UNTANGLED = 0.1
# It opens so many times as fast as it closes.
_OPENS = 3.0
_FINGERS = np.arange(len(FINGERS)) != THUMB


class Grip:
    """Postures of the fingers from reaching to letting go.

    Attributes:
        gap: Width to which both sides are led [m].
        pressing: Share of the force with which they press, 0 to 1.
    """

    def __init__(self, assist: Assist, config: GuideConfig, side: str, opposition: Opposition):
        self._assist, self._config = assist, config
        self._fingertips = Fingertips(side)
        own = limits(side)
        self._lower, self._upper = own.lower[HAND], own.upper[HAND]
        self.reach(0.0, opposition)

    def reach(self, gap: float, opposition: Opposition) -> None:
        """Begin anew, to open to ``gap`` [m], for a grasp of that opposition."""
        self._opposition = opposition
        # Unit vectors in the palm along which FINGERS come together.
        self._inwards = np.where(_FINGERS, -1.0, 1.0)[:, None] * opposition.frame[:, 2]
        self.gap, self.pressing = gap, 0.0
        self._tangled = True

    def width(self, hand: np.ndarray) -> float:
        """Mean distance of the thumb's tip from the others [m], of fingers ``(16,)`` [rad]."""
        return float(self._from_thumb(hand).mean())

    def close(self, grasp: Grasp, elapsed: float) -> bool:
        """Both sides come together until they touch, and press more and more; whether they press
        with the whole force."""
        config = self._config
        felt = self._assist.felt_along(self._inwards)
        both = min(felt[THUMB], felt[_FINGERS].sum())
        if self.pressing == 0.0:
            least = max(self._opposition.narrowest, grasp.gap - config.guide_press)
            self.gap = max(least, self.gap - config.guide_close_speed * elapsed)
            if both < self._assist.config.touch_force and self.gap > least:
                return False
        self.pressing = min(1.0, self.pressing + elapsed / config.guide_squeeze_time)
        return self.pressing == 1.0

    def let_go(self) -> None:
        """Press no more."""
        self.pressing = 0.0

    def widen(self, grasp: Grasp, elapsed: float) -> None:
        """Go on opening."""
        speed = _OPENS * self._config.guide_close_speed
        self.gap = min(grasp.opened, self.gap + speed * elapsed)

    def opened(self, measured: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Where fingers ``(16,)`` [rad] are led while the hand reaches, on their way to ``shape``
        ``(16,)``, measured ``(16,)``: those that lie at each other go apart before they open."""
        fingers = measured.reshape(4, 4)
        off = np.abs(fingers[:, 0] - self._opposition.apart)[_FINGERS]
        self._tangled &= bool((off >= _UNTANGLED).any())
        if not self._tangled:
            return shape
        shape = np.where(_FINGERS[:, None], fingers, shape.reshape(4, 4))
        shape[_FINGERS, 0] = self._opposition.apart[_FINGERS]
        return shape.ravel()

    def fingers(self, measured: np.ndarray, grasp: Grasp) -> np.ndarray:
        """Where fingers ``(16,)`` [rad] are led, measured ``(16,)``: servos are springs, and press
        with what is added.

        A force along the line of closing, and nothing across it, is the tip's Jacobian transposed
        times the force, over the servo's stiffness. What is added is less where commanded tips
        would pass through each other: between them is less than fingers give way.
        """
        shape = self._opposition.joints(self.gap)
        lead = np.zeros_like(shape)
        if self.pressing:
            tips, levers = self._fingertips.jacobian(measured)
            beside = tips @ self._opposition.frame[:, 1]
            forces = np.ones(len(FINGERS))
            forces[_FINGERS] = opposing(beside[_FINGERS], beside[THUMB])
            force = max(self._assist.force, self._config.guide_least_force)
            pushes = force * forces[:, None] * self._inwards
            torque = self.pressing * (levers @ pushes[..., None])[..., 0]
            # Of each finger as a whole, so that the force keeps its direction.
            here = measured.reshape(4, 4)
            ahead = shape.reshape(4, 4) + torque / _STIFFNESS - here
            most = self._config.guide_torque / _STIFFNESS
            ahead *= np.minimum(1.0, most / np.maximum(np.abs(ahead).max(axis=1)[:, None], 1e-9))
            lead = (here + ahead).ravel() - shape
        for share in _SHARES:
            led = np.clip(shape + share * lead, self._lower, self._upper)
            if self._apart(led):
                return led
        gap = self.gap
        while not self._apart(shape) and gap < grasp.gap:
            gap += _APART
            shape = self._opposition.joints(gap)
        return shape

    def _apart(self, hand: np.ndarray) -> bool:
        return bool(self._from_thumb(hand).min() > 2 * TIP_RADIUS + _APART)

    def _from_thumb(self, hand: np.ndarray) -> np.ndarray:
        tips = self._fingertips.places(hand)
        return np.linalg.norm(tips[_FINGERS] - tips[THUMB], axis=-1)


def opposing(fingers: np.ndarray, thumb: float) -> np.ndarray:
    """Shares of one force among fingers at places ``(k,)`` beside each other, so that together they
    push against the thumb's place, as far as pushing can, and as alike as may be."""
    active = np.ones(len(fingers), bool)
    shares = np.zeros(len(fingers))
    while active.any():
        rows = np.stack((np.ones(active.sum()), fingers[active] - thumb))
        shares[:] = 0.0
        shares[active] = np.linalg.lstsq(rows, np.array([1.0, 0.0]), rcond=None)[0]
        if (shares >= 0.0).all():
            break
        active &= shares >= 0.0
    return np.maximum(shares, 0.0) / max(shares.sum(), 1e-9)
