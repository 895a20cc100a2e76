"""Numbers that are not finite, caught and named: which step, which quantity, of which joint."""

import numpy as np

from manip_core.robot_model import FINGER_PREFIXES
from manip_physics.motion import Motion

# In the order in which one makes the next: the first of them is the culprit.
_CAUSES = ("controls", "positions", "forces", "tips", "thing")
_WORDS = {"controls": "control", "positions": "position", "forces": "servo force"}


class NotFinite(ValueError):
    """A roll-out or a gradient has NaN or infinity in it.

    Attributes:
        step: The first row of which that is so.
        quantity: Which quantity, in words.
    """

    def __init__(self, step: int, quantity: str, value: float):
        super().__init__(f"{quantity} is {value} at control {step}")
        self.step, self.quantity = step, quantity


def check_motion(motion: Motion, names: tuple[str, ...]) -> None:
    """See that all of one motion is finite.

    Raises:
        NotFinite: It is not; names the first row, and in it what comes first in cause and effect.
    """
    first = None
    for name in _CAUSES:
        values = np.asarray(getattr(motion, name), float)
        bad = ~np.isfinite(values.reshape(len(values), -1))
        rows = np.flatnonzero(bad.any(axis=1))
        if len(rows) and (first is None or rows[0] < first[0]):
            column = int(np.flatnonzero(bad[rows[0]])[0])
            value = float(values.reshape(len(values), -1)[rows[0], column])
            first = int(rows[0]), _name(name, column, names), value
    if first is not None:
        raise NotFinite(*first)


def check_gradient(gradient: np.ndarray, names: tuple[str, ...]) -> None:
    """See that a gradient ``(T, n)`` with respect to controls is finite.

    Raises:
        NotFinite: It is not. A gradient is made from the end backwards, so the last row is named.
    """
    bad = ~np.isfinite(np.asarray(gradient, float))
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows):
        column = int(np.flatnonzero(bad[rows[-1]])[0])
        value = float(np.asarray(gradient)[rows[-1], column])
        raise NotFinite(int(rows[-1]), f"gradient by the control of {names[column]}", value)


def _name(quantity: str, column: int, names: tuple[str, ...]) -> str:
    if quantity in _WORDS:
        return f"{_WORDS[quantity]} of {names[column]}"
    if quantity == "tips":
        return f"place of the {tuple(FINGER_PREFIXES)[column // 3]} fingertip"
    return "place of the object" if column < 3 else "orientation of the object"
