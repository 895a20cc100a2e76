"""Faults that the simulated robot acts out: which, when, how much; what they do to messages.

Pure: time is an argument, chance comes from a seed. ``mujoco_robot`` turns them into physics.
"""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from manip_core.robot_model import HAND_JOINTS


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A sort of fault.

    Attributes:
        help: What happens.
        amount: How much, if nothing else is said; its unit is in ``unit``.
        most: Largest amount that makes sense.
        unit: Unit of the amount, empty where it has none.
        latched: It does not end by itself: the operator must bring the arm back.
    """

    help: str
    amount: float = 0.0
    most: float = 0.0
    unit: str = ""
    latched: bool = False


FAULTS = {
    "protective_stop": Kind(help="the arm stops at once and stays until unlocked", latched=True),
    "program_stop": Kind(help="the arm's program ends; the arm stands still", latched=True),
    "speed_scaling": Kind(help="the arm slows down", amount=0.3, most=1.0, unit="of the speed"),
    "frozen_states": Kind(help="joint states repeat the same stamp and values"),
    "hiccup": Kind(
        help="the network stands still, then all comes at once", amount=0.2, most=5.0, unit="s"
    ),
    "drop": Kind(help="messages are lost", amount=0.3, most=1.0, unit="of them"),
    "reorder": Kind(help="messages overtake each other", amount=0.3, most=1.0, unit="of them"),
    "dead_joint": Kind(help="a finger joint loses its torque"),
    "payload": Kind(
        help="the hand carries a weight that nobody told the arm of",
        amount=1.0,
        most=5.0,
        unit="kg",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault as it is to happen.

    Attributes:
        kind: A key of ``FAULTS``.
        amount: How much, in the kind's unit; 0 for the kind's own default.
        duration: How long in [s]; 0 until it is ended. A latched fault ends by recovery alone.
        joint: The joint that dies.
    """

    kind: str
    amount: float = 0.0
    duration: float = 0.0
    joint: str = ""

    def __post_init__(self):
        if self.kind not in FAULTS:
            raise ValueError(f"fault must be one of {', '.join(FAULTS)}, got {self.kind!r}")
        kind = FAULTS[self.kind]
        if not 0.0 <= self.amount <= kind.most:
            raise ValueError(
                f"amount of {self.kind} must be within 0 and {kind.most}, got {self.amount}"
            )
        if not 0.0 <= self.duration <= 3600.0:
            raise ValueError(f"duration must be within 0 and 3600 s, got {self.duration}")
        if self.joint and self.joint not in HAND_JOINTS:
            raise ValueError(f"joint must be one of {', '.join(HAND_JOINTS)}, got {self.joint!r}")

    @property
    def size(self) -> float:
        """The amount, or the kind's default."""
        return self.amount or FAULTS[self.kind].amount


class Faults:
    """The faults that are acted out just now."""

    def __init__(self):
        self._active: dict[str, tuple[Fault, float]] = {}

    def begin(self, fault: Fault, now: float) -> None:
        """Start a fault at ``now`` [s]; one of the same kind is replaced."""
        if fault.kind == "hiccup":
            # It lasts as long as it is large.
            fault = replace(fault, duration=fault.size)
        latched = FAULTS[fault.kind].latched
        ends = now + fault.duration if fault.duration and not latched else np.inf
        self._active[fault.kind] = (fault, ends)

    def end(self, kind: str) -> bool:
        """End a fault; false where it was not there."""
        return self._active.pop(kind, None) is not None

    def update(self, now: float) -> list[Fault]:
        """Let those end whose time is up; returns them."""
        ended = [fault for fault, ends in self._active.values() if now >= ends]
        for fault in ended:
            del self._active[fault.kind]
        return ended

    def get(self, kind: str) -> Fault | None:
        """The fault of that kind that is acted out now."""
        return self._active[kind][0] if kind in self._active else None

    def size(self, kind: str) -> float | None:
        """How much of that kind there is now, ``None`` for none."""
        fault = self.get(kind)
        return None if fault is None else fault.size

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds that are acted out now, in the order of ``FAULTS``."""
        return tuple(kind for kind in FAULTS if kind in self._active)


class Link:
    """What a bad network does to a stream of messages, in one direction.

    Messages go in at ``send`` and come out at ``due``, in the order in which they arrive.
    """

    def __init__(self, faults: Faults, seed: int = 0):
        self._faults = faults
        self._random = np.random.default_rng(seed)
        self._waiting: deque = deque()
        self._overtaken: object | None = None
        self.lost = 0

    def send(self, message: object) -> None:
        """Put a message on the way."""
        drop, reorder = self._faults.size("drop"), self._faults.size("reorder")
        if drop is not None and self._random.random() < drop:
            self.lost += 1
            return
        if self._overtaken is None and reorder is not None and self._random.random() < reorder:
            self._overtaken = message
            return
        self._waiting.append(message)
        if self._overtaken is not None:
            self._waiting.append(self._overtaken)
            self._overtaken = None

    def due(self) -> list:
        """Messages that arrive now."""
        if self._faults.get("hiccup") is not None:
            return []
        arrived = list(self._waiting)
        self._waiting.clear()
        return arrived


@dataclass(frozen=True)
class Event:
    """A fault at a time [s] after the schedule began."""

    at: float
    fault: Fault


def schedule(
    seed: int, seconds: float, *, gap: float = 20.0, kinds: tuple[str, ...] = tuple(FAULTS)
) -> list[Event]:
    """Faults at random times, the same for the same seed.

    Args:
        seed: Any number of 0 or more.
        seconds: Length of the schedule.
        gap: Mean time between two faults; none follows another within half of it.
        kinds: Those that may happen. Each comes once before any comes again.
    """
    if not gap > 0 or not kinds:
        raise ValueError(f"a schedule needs a positive gap and some kinds, got {gap} and {kinds}")
    random = np.random.default_rng(seed)
    events, at, bag = [], 0.0, []
    while True:
        at += gap * random.uniform(0.5, 1.5)
        if at >= seconds:
            return events
        if not bag:
            bag = list(random.permutation(kinds))
        kind = str(bag.pop())
        joint = str(random.choice(HAND_JOINTS)) if kind == "dead_joint" else ""
        duration = random.uniform(0.2, 0.4) * gap
        events.append(Event(at, Fault(kind=kind, duration=duration, joint=joint)))
