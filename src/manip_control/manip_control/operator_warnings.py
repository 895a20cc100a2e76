"""What the operator should know of a step, in words."""

import numpy as np

from manip_control.limiter import Limiter

# Joints within this of a position limit are told of [rad].
_NEAR_LIMIT = 0.03


def warnings_of(
    limiter: Limiter, names: tuple[str, ...], arm: slice, speed: tuple[float, float]
) -> tuple[str, ...]:
    """Warnings of a step that followed a hand, none where all is well.

    Args:
        limiter: After the step.
        names: Its joints.
        arm: Which of them are the arm's.
        speed: Share of the speed limits that the step could use: arm, hand.
    """
    found = []
    if limiter.blocked:
        found.append(f"in the way: {limiter.blocked}")
    limits, position = limiter.limits, limiter.position
    near = np.minimum(position - limits.lower, limits.upper - position)[arm] < _NEAR_LIMIT
    if near.any():
        joints = [name for name, is_near in zip(names[arm], near, strict=True) if is_near]
        found.append(f"near a limit: {', '.join(joints)}")
    if min(speed) < 1.0:
        found.append(f"slowed: arm to {speed[0]:.0%}, hand to {speed[1]:.0%}")
    return tuple(found)
