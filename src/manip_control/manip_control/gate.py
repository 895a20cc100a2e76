"""What is let in: targets and joint states that are whole, finite, timely and sure enough."""

from dataclasses import dataclass

import numpy as np

from manip_control.control_config import ControlConfig


@dataclass(frozen=True)
class Target:
    """A target that was let in.

    Attributes:
        joints: ``(k,)`` indices of the joints it names.
        positions: ``(k,)`` where they are to be [rad].
        stamp: Exposure of the image behind it [s].
        confidence: Of the hand behind it, 0 to 1.
        deviation: Standard deviation of the hand [m]; NaN where unknown.
    """

    joints: np.ndarray
    positions: np.ndarray
    stamp: float
    confidence: float
    deviation: float


class Gate:
    """Checks what arrives. A refusal is a ValueError that says what came, and changes nothing.

    Attributes:
        rejected: Count of refusals.
    """

    def __init__(self, config: ControlConfig, names: tuple[str, ...]):
        self._config = config
        self._names = tuple(names)
        self._index = {name: i for i, name in enumerate(self._names)}
        self._last_stamp: float | None = None
        self.rejected = 0

    def joint_states(self, names, positions) -> np.ndarray:
        """Measured positions of all our joints, ``(n,)`` in [rad]; others are passed over.

        Raises:
            ValueError: Lengths differ, a joint is missing or named twice, or a value is not finite.
        """
        values = self._numbers("joint state", names, positions)
        given = dict(zip(names, values, strict=True))
        if len(given) != len(names):
            raise self.refusal("joint state names a joint twice")
        try:
            measured = np.array([given[name] for name in self._names])
        except KeyError as error:
            raise self.refusal(f"joint state lacks {error.args[0]!r}") from None
        if not np.isfinite(measured).all():
            raise self.refusal("joint state holds values that are not finite")
        return measured

    def target(
        self, names, positions, stamp: float, confidence: float, deviation: float, now: float
    ) -> Target:
        """A target for some or all joints, if it may pass at time ``now`` [s].

        Raises:
            ValueError: The target is malformed, stale, from the future, out of order, or too
                unsure.
        """
        values = self._numbers("target", names, positions)
        if not len(names):
            raise self.refusal("target names no joint")
        unknown = [name for name in names if name not in self._index]
        if unknown:
            raise self.refusal(f"target names unknown joints {unknown}; known: {self._names}")
        if len(set(names)) != len(names):
            raise self.refusal("target names a joint twice")
        if not np.isfinite(values).all():
            raise self.refusal("target holds values that are not finite")
        self._check_stamp(stamp, now)
        if not self._config.min_confidence <= confidence:
            raise self.refusal(
                f"target's confidence {confidence:.2f} is below {self._config.min_confidence}"
            )
        if confidence > 1.0:
            raise self.refusal(f"target's confidence must be within 0 and 1, got {confidence}")
        if deviation < 0 or np.isinf(deviation):
            raise self.refusal(
                f"target's deviation must be finite and not negative, or NaN, got {deviation}"
            )
        self._last_stamp = stamp
        joints = np.array([self._index[name] for name in names])
        return Target(joints, values, stamp, confidence, deviation)

    def refusal(self, message: str) -> ValueError:
        """Count a refusal; returns the error to raise."""
        self.rejected += 1
        return ValueError(message)

    def _check_stamp(self, stamp: float, now: float) -> None:
        config = self._config
        if not stamp >= now - config.max_age:
            raise self.refusal(f"target is {now - stamp:.3f} s old, at most {config.max_age}")
        if stamp > now + config.max_future:
            raise self.refusal(f"target lies {stamp - now:.3f} s in the future")
        last = self._last_stamp
        if last is not None and last > now + config.max_future:
            # The clock was set back: the old stamp says nothing any more.
            last = None
        if last is not None and stamp <= last:
            raise self.refusal(f"target's stamp is {last - stamp:.3f} s before the last one's")

    def _numbers(self, what: str, names, positions) -> np.ndarray:
        if len(names) != len(positions):
            raise self.refusal(f"{what} has {len(names)} names and {len(positions)} positions")
        try:
            values = np.array(positions, dtype=float)
        except (TypeError, ValueError):
            raise self.refusal(f"{what} holds positions that are no numbers") from None
        if values.shape != (len(names),):
            raise self.refusal(f"{what} must hold one number a joint, got shape {values.shape}")
        return values
