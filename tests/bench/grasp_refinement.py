"""Grasps refined by simulation before they are made: a search over what could be grasped, and how.

The guidance takes the nearest grasp that its geometry allows; whether it holds, only physics can
tell. So the grasps that could be made, nearest first, are tried in the trial's own simulation,
and the first that lifts the object is made. The first of all is the one that would have been made
anyway. The simulation knows the object and is the one that judges: what comes
out is what foresight could make of the recorded motion, and no hand that sees a new object for the
first time.
"""

import numpy as np
from grasp_setting import Setting
from grasp_trial import LIFTED, IntentSource, Record, run_trial

from manip_control.assist_config import AssistConfig
from manip_control.guide_config import GuideConfig

# Grasps that are passed over, in the order in which they are tried.
SKIPS = (0, 1, 3, 6, 12)


def refined(
    setting: Setting,
    targets: list[np.ndarray | None],
    source: IntentSource,
    config: AssistConfig,
    first: Record | None = None,
    *,
    keep: bool = False,
) -> tuple[Record, int]:
    """The best of what was tried, and how much was.

    Args:
        setting, targets, source, config: As for :func:`run_trial`.
        first: What came of the first of `SKIPS`, where that is known.
        keep: Remember MuJoCo's positions.
    """
    best: tuple[float, Record] | None = None
    for tried, skip in enumerate(SKIPS, 1):
        record = first if tried == 1 else None
        record = record or run_trial(
            setting, targets, source, config=config, guide=GuideConfig(), skip=skip, keep=keep
        )
        if best is None or score(record) > best[0]:
            best = score(record), record
        if record.outcome == "success":
            break
    return best[1], tried


def score(record: Record) -> float:
    """How near it came to success: how high the object rose, how much of the time it was up."""
    up = np.clip(record.lift / LIFTED, 0.0, 1.0)
    return float(up.max() + up[-1] + 2 * up.mean() - (record.outcome == "knocked_over"))
