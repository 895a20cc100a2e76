"""Settings of the controller, checked when made."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class ControlConfig:
    """How the controller behaves.

    Attributes:
        rate: Commands a second.
        gain: How hard the distance to the target is closed [1/s]: between targets the robot
            follows with a lag of 1 / gain, less what is extrapolated.
        feed_forward: Share of the targets' own velocity with which they are extrapolated from the
            exposure to now, 0 to 1. 1 follows a steady motion without lag and overshoots every
            turn.
        max_prediction: Longest time over which a target is extrapolated [s].
        arm_rise_time, hand_rise_time: Time in which a joint may build up its full acceleration
            [s]. Jerk is limited to acceleration over this: 1000 rad/s^3 for the arm, where Franka
            allows its own of the same size 3750 and more (Franka Control Interface, robot limits).
            Above 0.02 a joint overshoots, unless ``gain`` is lowered too.
        auto_engage: Engage by itself whenever the robot is ready and no operator has asked for
            hold. For simulation.
        target_timeout: Targets that arrive later than this after the last one stop the robot [s].
        release_timeout: Time without targets after which the clutch is released [s].
        state_timeout: Age of the joint states beyond which nothing is commanded [s].
        state_release: Age of the joint states beyond which the clutch is released [s].
        heartbeat_timeout: Silence of an operator's page that has been heard after which the clutch
            is released [s].
        require_heartbeat: Engage only while an operator's page is heard.
        max_age, max_future: Oldest and farthest future stamp of a target that is taken [s].
        min_confidence: Targets below this are not followed.
        full_confidence: Confidence from which the robot may move at full speed.
        full_deviation: Standard deviation of the hand up to which the robot moves at full speed
            [m]. A hand seen well half a metre from a webcam has 0.02, most of it along the view.
        max_hand_deviation: Standard deviation of the hand from which the robot holds [m].
        max_deviation: Difference of an arm joint from its command that releases the clutch [rad].
        free_deviation: Difference up to which the arm's speed is not reduced [rad]: servos trail
            what they are sent by 20 to 35 ms, which is 0.11 rad at full speed.
        singular_value: Smallest singular value of the arm's Jacobian (lengths in units of 0.4 m)
            below which the arm slows down in proportion.
        singular_speed: Share of the speed limits that is left in a singularity, so that the arm
            can leave it.
        speed_fraction: Share of the robot's velocity limits that is used, above 0 to 1.
    """

    rate: float = 125.0
    gain: float = 20.0
    feed_forward: float = 0.25
    max_prediction: float = 0.1
    arm_rise_time: float = 0.01
    hand_rise_time: float = 0.01
    auto_engage: bool = False
    target_timeout: float = 0.1
    release_timeout: float = 1.0
    state_timeout: float = 0.1
    state_release: float = 0.5
    heartbeat_timeout: float = 1.0
    require_heartbeat: bool = False
    max_age: float = 0.5
    max_future: float = 0.05
    min_confidence: float = 0.3
    full_confidence: float = 0.5
    full_deviation: float = 0.04
    max_hand_deviation: float = 0.10
    max_deviation: float = 0.35
    free_deviation: float = 0.15
    singular_value: float = 0.08
    singular_speed: float = 0.2
    speed_fraction: float = 1.0

    def __post_init__(self):
        positive = (
            "gain arm_rise_time hand_rise_time target_timeout release_timeout state_timeout "
            "state_release heartbeat_timeout max_age free_deviation full_deviation singular_value"
        )
        for name in positive.split():
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive and finite, got {value}")
        for name in ("max_prediction", "max_future", "min_confidence"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must not be negative, got {value}")
        if not 10.0 <= self.rate <= 1000.0:
            raise ValueError(f"rate must be within 10 and 1000 Hz, got {self.rate}")
        if not 0.0 <= self.feed_forward <= 1.0:
            raise ValueError(f"feed_forward must be within 0 and 1, got {self.feed_forward}")
        for name in ("speed_fraction", "singular_speed"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be above 0 to 1, got {getattr(self, name)}")
        for low, high in (
            ("min_confidence", "full_confidence"),
            ("full_deviation", "max_hand_deviation"),
            ("free_deviation", "max_deviation"),
        ):
            if not getattr(self, low) < getattr(self, high):
                raise ValueError(
                    f"{low} must lie below {high}, got {getattr(self, low)} and "
                    f"{getattr(self, high)}"
                )
