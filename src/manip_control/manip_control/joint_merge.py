"""Joint states that come in parts, under the drivers' own names, as one whole under ours."""

import numpy as np

from manip_control.allegro_drivers import our_names
from manip_control.arm_drivers import arm_names
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES

# The quickest message of a sender is that of the last one or two of these times [s]: clocks are
# set, and drift.
_WINDOW = 10.0
_MOST_SENDERS = 16


class JointMerge:
    """Keeps the newest measurement of every joint, and how old the oldest of these is.

    A message whose stamp is not newer than the last one's of the same sender says nothing new: a
    driver that repeats itself does not count as alive. And one that was longer on its way than the
    quickest of the same sender counts as old by as much, whatever the clocks say: after a pause of
    the network, messages come all at once, the oldest first. Stamps of zero are no stamps.

    Attributes:
        position, velocity: ``(22,)`` in the order of ``JOINT_NAMES`` [rad], [rad/s]; a velocity
            that nobody states is 0.
        repeated: Messages that were passed over because their stamp did not advance.
    """

    def __init__(self, prefix: str = ""):
        """``prefix`` stands before the arm's joint names."""
        ours = dict(zip(arm_names(prefix), ARM_JOINTS, strict=True)) | our_names()
        self._index = {theirs: JOINT_NAMES.index(name) for theirs, name in ours.items()}
        self.position = np.full(len(JOINT_NAMES), np.nan)
        self.velocity = np.zeros(len(JOINT_NAMES))
        self.repeated = 0
        self._at = np.full(len(JOINT_NAMES), -np.inf)
        self._senders: dict[tuple[str, ...], _Sender] = {}

    @property
    def measured_at(self) -> float:
        """When the joint that was measured longest ago was; minus infinity until all were [s]."""
        return float(self._at.min())

    def missing(self) -> list[str]:
        """Joints that have never been measured."""
        return [name for name, at in zip(JOINT_NAMES, self._at, strict=True) if at == -np.inf]

    def update(self, names, positions, velocities, stamp: float, now: float) -> bool:
        """Take a message; true where it brought something new of the arm.

        Args:
            names: The driver's names; those of joints that are not ours are passed over.
            positions: One for each [rad].
            velocities: One for each [rad/s], or none at all.
            stamp: Of the message [s]; 0 for none.
            now: When it came [s].

        Raises:
            ValueError: The lengths differ, or a position is not finite. Nothing has changed then.
        """
        if len(names) != len(positions) or len(velocities) not in (0, len(names)):
            raise ValueError(
                f"joint state has {len(names)} names, {len(positions)} positions and "
                f"{len(velocities)} velocities"
            )
        key = tuple(names)
        sender = self._senders.get(key)
        if sender is None:
            known = [(i, self._index[name]) for i, name in enumerate(key) if name in self._index]
            if not known:
                return False
            # Kept only with values that are good, so that nobody fills the memory with names.
            sender = _Sender(*(list(column) for column in zip(*known, strict=True)))
        if stamp > 0.0 and stamp == sender.stamp:
            self.repeated += 1
            return False
        values = np.asarray(positions, dtype=float)[sender.theirs]
        if not np.isfinite(values).all():
            raise ValueError("joint state holds values that are not finite")
        if len(self._senders) < _MOST_SENDERS:
            self._senders[key] = sender
        ours = sender.ours
        self.position[ours] = values
        if len(velocities):
            self.velocity[ours] = np.nan_to_num(np.asarray(velocities, dtype=float)[sender.theirs])
        self._at[ours] = now - sender.waited(stamp, now)
        return min(ours) < len(ARM_JOINTS)


class _Sender:
    """One who sends joints of the same names every time.

    Attributes:
        theirs, ours: Places of the joints in the message, and in ``JOINT_NAMES``.
        stamp: Of the last message [s].
    """

    def __init__(self, theirs: list[int], ours: list[int]):
        self.theirs, self.ours = theirs, ours
        self.stamp = 0.0
        self._quickest, self._quickest_before, self._since = np.inf, np.inf, -np.inf

    def waited(self, stamp: float, now: float) -> float:
        """How much longer than the quickest one a message of this ``stamp`` was on its way [s]."""
        self.stamp = stamp
        if stamp <= 0.0:
            return 0.0
        if not 0.0 <= now - self._since < _WINDOW:
            self._quickest_before = self._quickest if now - self._since < 2 * _WINDOW else np.inf
            self._quickest, self._since = np.inf, now
        delay = now - stamp
        self._quickest = min(self._quickest, delay)
        return delay - min(self._quickest, self._quickest_before)
