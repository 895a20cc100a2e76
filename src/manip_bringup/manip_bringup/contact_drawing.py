"""Contacts as they are drawn: which, in what colours, and how long the arrows of their forces."""

import numpy as np

from manip_bringup.hand_drawing import TOUCH
from manip_core.hand import SeenContact

# By kind, from pale to saturated.
CONTACT_COLOURS = {
    "light": (255, 226, 150),
    "firm": (255, 170, 60),
    "manipulation": (255, 96, 70),
}
# Arrows: length of one newton, the least and the most, and where the force is not known [m].
_PER_NEWTON, _SHORTEST, _LONGEST, _UNKNOWN = 0.008, 0.015, 0.06, 0.03


def drawn_contacts(contacts: tuple[SeenContact, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is drawn of some contacts: those that are more likely than not.

    Returns:
        Points ``(N, 3)`` in [m]; ends of arrows ``(N, 3)`` in [m], the same as the points where no
        direction is known; colours ``(N, 3)`` uint8.
    """
    shown = [c for c in contacts if c.probability >= TOUCH and c.kind in CONTACT_COLOURS]
    points = np.array([c.point for c in shown], dtype=float).reshape(-1, 3)
    steps = [c.force_direction * _arrow_length(c.force) for c in shown]
    ends = points + np.array(steps, dtype=float).reshape(-1, 3)
    colours = np.array([CONTACT_COLOURS[c.kind] for c in shown], np.uint8).reshape(-1, 3)
    return points, ends, colours


def _arrow_length(force: float) -> float:
    if np.isnan(force):
        return _UNKNOWN
    return float(np.clip(_PER_NEWTON * force, _SHORTEST, _LONGEST))
