"""Settings of the retargeting."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, kw_only=True)
class RetargetingConfig:
    """Weights, limits and scales of the retargeting; checked when made.

    Costs weigh residuals in [m] or [rad] as they stand: a cost of 1 on a fingertip makes 10 mm of
    its error as dear as 0.1 rad on a joint with cost 0.1.

    Attributes:
        iterations: QPs solved per frame, each linearised where the last one ended.
        arm_scale: Metres the palm moves per metre of the human wrist.
        rest_band: Motion of the wrist within a ball of this radius moves nothing [m].
        workspace_min: Lower corner of the box the palm is kept in, ``world`` [m].
        workspace_max: Upper corner of that box.
        mirror: A hand of the other side drives this robot, as its mirror image.
        palm_position_cost: Weight of the palm's position.
        palm_rotation_cost: Weight of the palm's orientation.
        tip_cost: Weight of the wrist-to-fingertip vectors.
        segment_cost: Weight of the directions of the finger segments.
        posture_cost: Pull of every hand joint towards the open posture.
        arm_posture_cost: Pull of every arm joint towards its angle at engagement.
        damping: Weight on every joint's step; keeps the problem well posed.
        acceleration_cost: Weight on the change of every joint's step from frame to frame.
        pinch_cost: Weight of a pinch's gap, at full contact.
        pad_cost: Weight of the offset between the pads of two fingers that pinch.
        contact_low: Contact likelihood below which the fingers are held apart.
        contact_high: Contact likelihood from which a pinch is fully wanted.
        pinch_gap: Surface distance that a pinch closes to [m].
        open_gap: Surface distance that is kept while no pinch is wanted [m].
        clearance: Least surface distance of any two parts, fingertips included [m].
        collision_margin: Pairs nearer than this enter the QP [m].
        collision_gain: Part of the remaining distance that one QP may use up, in (0, 1].
        step_limit: Largest step of a joint in one QP [rad]: bounds the linearisation error.
        velocity_scale: Part of each joint's velocity limit that may be used, in (0, 1].
        max_dt: Longest time between frames that is believed [s]; longer ones count as this.
        engage_tolerance: How far outside its limits a joint may be measured at engagement [rad].
    """

    iterations: int = 2
    arm_scale: float = 1.0
    rest_band: float = 0.005
    workspace_min: tuple[float, float, float] = (-0.9, -0.9, 0.08)
    workspace_max: tuple[float, float, float] = (0.9, 0.9, 1.4)
    mirror: bool = False
    palm_position_cost: float = 2.0
    palm_rotation_cost: float = 0.5
    tip_cost: float = 1.0
    segment_cost: float = 0.05
    posture_cost: float = 0.002
    arm_posture_cost: float = 0.004
    damping: float = 1e-5
    acceleration_cost: float = 0.002
    pinch_cost: float = 6.0
    pad_cost: float = 0.5
    contact_low: float = 0.3
    contact_high: float = 0.6
    pinch_gap: float = 0.001
    open_gap: float = 0.015
    clearance: float = 0.0005
    collision_margin: float = 0.02
    collision_gain: float = 0.9
    step_limit: float = 0.15
    velocity_scale: float = 1.0
    max_dt: float = 0.1
    engage_tolerance: float = 0.05

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(np.asarray(value, dtype=float)).all():
                raise ValueError(f"{field.name} must be finite, got {value}")
            if field.name.startswith("workspace"):
                if len(value) != 3:
                    raise ValueError(f"{field.name} must have 3 numbers, got {value}")
            elif value < 0:
                raise ValueError(f"{field.name} must not be negative, got {value}")
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")
        if not all(lo < hi for lo, hi in zip(self.workspace_min, self.workspace_max, strict=True)):
            raise ValueError(
                f"workspace_min must lie below workspace_max, got {self.workspace_min} and "
                f"{self.workspace_max}"
            )
        if not 0 <= self.contact_low < self.contact_high <= 1:
            raise ValueError(
                "contact_low must lie below contact_high, both within 0 and 1, got "
                f"{self.contact_low} and {self.contact_high}"
            )
        for name in ("collision_gain", "velocity_scale"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        for name in ("step_limit", "max_dt", "damping"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not self.clearance <= self.pinch_gap < self.open_gap < self.collision_margin:
            raise ValueError(
                "clearance <= pinch_gap < open_gap < collision_margin must hold, got "
                f"{self.clearance}, {self.pinch_gap}, {self.open_gap}, {self.collision_margin}"
            )
