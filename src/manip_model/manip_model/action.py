"""The action decoder: from the last frames of hand and object to what the hand is about to do.

The network is that of temporal fusion (:mod:`manip_model.temporal`) with tokens and answers of its
own, so that it runs frame by frame with kept keys and values in the same way. It reads hands that
were smoothed, by whichever smoother, and depends on no weights but its own. What the labels' rule
would say of a frame reaches the answer directly as well: learnt through the tokens alone, it was
not made all of within thousands of steps.
"""

import torch
from torch import Tensor, nn

from manip_core.grasp_types import NUM_GRASP_TYPES
from manip_model.action_features import ACTION_TOLD, NUM_ACTION_ANSWERS, RULED, TYPES, UNLIKELY
from manip_model.grasp_rule import NUM_RULED
from manip_model.temporal import TemporalConfig, TemporalFusion


class ActionNetwork(TemporalFusion):
    """From ``ACTION_TOLD`` of each frame to ``ACTION_ANSWERS``."""

    def __init__(self, config: TemporalConfig | None = None):
        config = config or TemporalConfig(window=24, width=96, heads=4, layers=3)
        super().__init__(config, ACTION_TOLD, NUM_ACTION_ANSWERS)
        self.rule = nn.Linear(NUM_RULED, NUM_GRASP_TYPES, bias=False)
        # At first what the rule says of things that are seen best counts as much as the rest.
        nn.init.zeros_(self.rule.weight)
        nn.init.eye_(self.rule.weight[:, :NUM_GRASP_TYPES])

    def forward(self, told: dict[str, Tensor], times: Tensor) -> Tensor:
        """``(B, T, NUM_ACTION_ANSWERS)``; see :class:`TemporalFusion`."""
        answer = super().forward(told, times)
        ruled = self.rule(torch.log1p(told["objects"][..., RULED] / UNLIKELY))
        return torch.cat(
            (answer[..., : TYPES.start], answer[..., TYPES] + ruled, answer[..., TYPES.stop :]), -1
        )
