"""Settings of the hand's guidance onto grasps; they check themselves."""

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, kw_only=True)
class GuideConfig:
    """How the palm is led to a known object that the operator reaches for.

    Attributes:
        guide: Lead it at all, where help with grasping is on.
        guide_sees: Distance of the operator's grip from an object's middle at which a grasp is
            planned, and from which on the robot is kept off it [m].
        guide_reach: Distance at which the palm begins to be led [m].
        guide_near: Distance from which on it waits wholly where the grasp begins [m].
        guide_leave: Distance beyond which the object is given up [m].
        guide_grasping: Probability of a grasp that is enough at an object that is reached for.
        guide_closes: By how much thumb and fingers come together, robot's size, to grasp without
            the decoder's word [m].
        guide_slow: Below this speed a hand has slowed down [m/s].
        guide_least_force: What is known is held with this at least [N], as far as torques allow.
        guide_torque: Most torque of a joint [N m], below the 0.70 that an Allegro's has.
        guide_speed: How fast the palm is led beside the operator's own motion [m/s].
        guide_turn_speed: How fast it is turned beside the operator's [rad/s].
        guide_joint_speed: How fast joints of the arm go to where a grasp begins, and back to the
            operator's, beside his own motion [rad/s].
        guide_enter_speed: Speed of the last, straight part [m/s].
        guide_close_speed: Speed at which both sides of the hand come together [m/s].
        guide_press: Fingers are led so far into what they hold, at most [m]; they are springs.
        guide_squeeze_time: Time from first touch on both sides to the whole force [s].
        guide_patience: The palm waits for the fingers to hold for so long after the operator began
            to grasp [s], whatever he does but open his hand.
        guide_timeout: Where nobody has told of objects for so long, none is known [s].
        guide_rest: An object that moves faster than this is not reached for [m/s].
    """

    guide: bool = True
    guide_sees: float = 0.40
    guide_reach: float = 0.30
    guide_near: float = 0.20
    guide_leave: float = 0.35
    guide_grasping: float = 0.4
    guide_closes: float = 0.02
    guide_slow: float = 0.08
    guide_least_force: float = 14.0
    guide_torque: float = 0.69
    guide_speed: float = 0.20
    guide_turn_speed: float = 2.0
    guide_joint_speed: float = 0.9
    guide_enter_speed: float = 0.15
    guide_close_speed: float = 0.06
    guide_press: float = 0.008
    guide_squeeze_time: float = 0.3
    guide_patience: float = 4.0
    guide_timeout: float = 0.5
    guide_rest: float = 0.05

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "guide" and not (np.isfinite(value) and value > 0.0):
                raise ValueError(f"{field.name} must be positive and finite, got {value}")
        if not self.guide_reach < self.guide_sees:
            raise ValueError(
                f"guide_reach must lie below guide_sees, got {self.guide_reach} and "
                f"{self.guide_sees}"
            )
        if not self.guide_near < self.guide_reach < self.guide_leave:
            raise ValueError(
                "guide_near must lie below guide_reach, and that below guide_leave, got "
                f"{self.guide_near}, {self.guide_reach} and {self.guide_leave}"
            )
