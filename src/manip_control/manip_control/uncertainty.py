"""How fast the robot may follow a hand that is not surely seen."""

import numpy as np

from manip_control.control_config import ControlConfig

# Share of the speed limits at the least confidence that is followed at all.
_LEAST = 0.2


def speed_share(confidence: float, deviation: float, config: ControlConfig) -> float:
    """Share of the speed limits that may be used, 0 to 1; 0 is a hold.

    It falls with the hand's standard deviation, from all at ``full_deviation`` to nothing at
    ``max_hand_deviation``, and with the confidence, to a hold below ``min_confidence``. The lesser
    of the two holds.

    Args:
        confidence: Of the hand, 0 to 1. NaN is a hold.
        deviation: Standard deviation of the hand [m]; NaN where unknown, then it says nothing.
        config: Where the shares begin and end.
    """
    if not confidence >= config.min_confidence:
        return 0.0
    sure = (confidence - config.min_confidence) / (config.full_confidence - config.min_confidence)
    share = _LEAST + (1.0 - _LEAST) * min(sure, 1.0)
    if np.isnan(deviation):
        return share
    known = (config.max_hand_deviation - deviation) / (
        config.max_hand_deviation - config.full_deviation
    )
    return min(share, max(min(known, 1.0), 0.0))
