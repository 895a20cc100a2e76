"""Joint states that come in parts, under the drivers' own names, as one whole under ours."""

import numpy as np

from manip_control.allegro_drivers import our_names
from manip_control.arm_drivers import arm_names
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES


class JointMerge:
    """Keeps the newest measurement of every joint, and how old the oldest of these is.

    A message whose stamp is not newer than the last one's of the same sender says nothing new: a
    driver that repeats itself does not count as alive. Stamps of zero are no stamps.

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
        self._stamps: dict[tuple[str, ...], float] = {}

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
        known = [(i, self._index[name]) for i, name in enumerate(names) if name in self._index]
        if not known:
            return False
        sender = tuple(names)
        if stamp > 0.0 and stamp == self._stamps.get(sender):
            self.repeated += 1
            return False
        theirs, ours = (list(column) for column in zip(*known, strict=True))
        values = np.asarray(positions, dtype=float)[theirs]
        if not np.isfinite(values).all():
            raise ValueError("joint state holds values that are not finite")
        self._stamps[sender] = stamp
        self.position[ours] = values
        if len(velocities):
            self.velocity[ours] = np.nan_to_num(np.asarray(velocities, dtype=float)[theirs])
        self._at[ours] = now
        return min(ours) < len(ARM_JOINTS)
