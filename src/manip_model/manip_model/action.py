"""The action decoder: from the last frames of hand and object to what the hand is about to do.

The network is that of temporal fusion (:mod:`manip_model.temporal`) with tokens and answers of its
own, so that it runs frame by frame with kept keys and values in the same way. It reads hands that
were smoothed, by whichever smoother, and depends on no weights but its own.
"""

from manip_model.action_features import ACTION_TOLD, NUM_ACTION_ANSWERS
from manip_model.temporal import TemporalConfig, TemporalFusion


class ActionNetwork(TemporalFusion):
    """From ``ACTION_TOLD`` of each frame to ``ACTION_ANSWERS``."""

    def __init__(self, config: TemporalConfig | None = None):
        config = config or TemporalConfig(window=24, width=96, heads=4, layers=3)
        super().__init__(config, ACTION_TOLD, NUM_ACTION_ANSWERS)
