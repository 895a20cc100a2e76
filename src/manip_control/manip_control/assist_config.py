"""What a decoder says of a grasp, and settings of the help with it; both check themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from manip_core.grasp_types import GraspType


@dataclass(frozen=True, kw_only=True)
class GraspIntent:
    """What the human is about to do with his hand.

    Attributes:
        grasping: Probability that the hand holds something, 0 to 1.
        confidence: Probability that all this is right, 0 to 1.
        grasp_type: How it is held.
        aperture: Widest gap between the thumb's tip and the other fingers' [m].
        force: Force with which it is held [N].
        stamp: Exposure of the newest image behind it [s].
    """

    grasping: float
    confidence: float
    grasp_type: GraspType
    aperture: float
    force: float
    stamp: float

    def __post_init__(self):
        for name in ("grasping", "confidence"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be within 0 and 1, got {getattr(self, name)}")
        for name in ("aperture", "force", "stamp"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0.0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        object.__setattr__(self, "grasp_type", GraspType(self.grasp_type))

    @classmethod
    def ahead(
        cls,
        lead: float,
        *,
        step: float,
        grasping: Sequence[float],
        aperture: Sequence[float],
        force: Sequence[float],
        **same,
    ) -> "GraspIntent":
        """The intent ``lead`` [s] after the stamp, of one that is told for moments to come.

        Args:
            lead: How far ahead [s].
            step: Time between two moments [s]; the first lies one step after the stamp.
            grasping, aperture, force: One each a moment, as of this class.
            **same: What does not change from moment to moment.

        Raises:
            ValueError: No step, no moments, or values that are none.
        """
        if not (np.isfinite(step) and step > 0.0):
            raise ValueError(f"step must be positive and finite, got {step}")
        if not 0 < len(grasping) == len(aperture) == len(force):
            raise ValueError(
                "grasping, aperture and force must be of one length, got "
                f"{len(grasping)}, {len(aperture)} and {len(force)}"
            )
        moment = int(np.clip(round(lead / step) - 1, 0, len(grasping) - 1))
        return cls(
            grasping=float(grasping[moment]),
            aperture=float(aperture[moment]),
            force=float(force[moment]),
            **same,
        )


@dataclass(frozen=True, kw_only=True)
class AssistConfig:
    """How the hand is helped; forces and torques are those of the robot's hand.

    Attributes:
        assist: Help at all.
        grasp_begin, grasp_end: Probability of a grasp from which help begins, and below which it
            ends.
        grasp_confidence: Confidence from which help begins; it ends below the same share of it as
            with the probability.
        intent_timeout: Age of the decoder's word beyond which help ends [s].
        intent_future: Farthest future stamp of a word that is taken [s].
        intent_lead: How far ahead of its stamp the decoder's word is read [s]: about what it is old
            when it comes, and what the hand takes to close.
        open_by: How far the operator's thumb and fingers part, robot's size, to be let go [m].
        close_by: How far a joint is closed beyond the operator's target, at most [rad].
        carry: How far joints that do not bend lead, to carry their share of a force [rad].
        steady: How far joints that do not bend may stay behind the operator's while both sides
            touch [rad].
        approach: How far the target of a finger that touches nothing leads it [rad]; 0.05 makes
            about 0.6 rad/s with the controller's gain.
        touch_force: From here on a finger is taken to touch something [N].
        squeeze_time: Time from first touch on both sides to the whole force [s].
        max_grasp_force: Most force of the thumb [N].
        max_torque: Most torque of a joint [N m], below the 0.70 that an Allegro's has.
        aperture_slack: Fingers that find nothing stop where they are nearer to the thumb than the
            aperture less this [m]: human and robot hold alike, but not with the same points.
    """

    assist: bool = False
    grasp_begin: float = 0.8
    grasp_end: float = 0.5
    grasp_confidence: float = 0.6
    intent_timeout: float = 0.2
    intent_future: float = 0.05
    intent_lead: float = 0.3
    open_by: float = 0.03
    close_by: float = 0.9
    carry: float = 0.1
    steady: float = 0.4
    approach: float = 0.05
    touch_force: float = 1.0
    squeeze_time: float = 0.1
    max_grasp_force: float = 12.0
    max_torque: float = 0.6
    aperture_slack: float = 0.06

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "assist" and not (np.isfinite(value) and value > 0.0):
                raise ValueError(f"{field.name} must be positive and finite, got {value}")
        if not self.grasp_end < self.grasp_begin <= 1.0:
            raise ValueError(
                "grasp_end must lie below grasp_begin, and that within 0 and 1, got "
                f"{self.grasp_end} and {self.grasp_begin}"
            )
        if not self.grasp_confidence <= 1.0:
            raise ValueError(f"grasp_confidence must be at most 1, got {self.grasp_confidence}")
        if not self.touch_force < self.max_grasp_force:
            raise ValueError(
                "touch_force must lie below max_grasp_force, got "
                f"{self.touch_force} and {self.max_grasp_force}"
            )
