"""Help with grasping: fingers go on to contact, and hold with a force, where the human grasps.

A hand on a video presses nothing, so a robot that copies it closes about as far as the human did
and holds by accident. Where a decoder is sure that the human is grasping, assist moves the target
of the fingers beyond the operator's, and nothing else: what it says goes through the same limiter
and guard as every target, so that it can ask for nothing that they forbid.

The hand feels only what its servos do: a servo that is held off its command by something pushes
with its stiffness times the difference, less what its own damping takes while it moves. So

* what a fingertip touches with is that torque over the lever of the closing direction;
* a finger that touches nothing closes: its target leads its measured posture by a fixed angle,
  which is a speed in the open and a bounded push against whatever stops it;
* thumb and fingers are two virtual fingers that oppose each other (Arbib, Iberall, Lyons 1985,
  "Coordinated control programs for movements of the hand"): the fingers that touch share one force
  towards the thumb, and the thumb pushes as much towards their middle. The forces add up to
  nothing, so that what lies between is squeezed and not shoved. Targets are the measured posture
  and torque over stiffness, the torque being the tip's Jacobian transposed times the force.

The operator stays in charge: his target is where a finger is never more open than; and he is let go
of at once when his hand opens, when the decoder is no longer sure, or when it falls silent.
"""

from dataclasses import dataclass

import numpy as np

from manip_control.assist_config import AssistConfig, GraspIntent
from manip_control.fingertips import FINGERS, THUMB, Fingertips
from manip_core.grasp_types import GraspType
from manip_core.hand import RIGHT
from manip_core.robot_model import ARM_JOINTS, HAND_SERVO, NUM_JOINTS

HAND = slice(len(ARM_JOINTS), NUM_JOINTS)
_STIFFNESS, _DAMPING = HAND_SERVO["kp"], HAND_SERVO["kv"]
# Joints that bend a finger; the others lay it across, and are left where the operator has them.
_BENDS = np.ones((len(FINGERS), 4), bool)
_BENDS[:, 0] = False
_BENDS[THUMB, 1] = False
# Which fingers take part beside the thumb; all where nothing is said.
_TAKING_PART = {
    GraspType.PALMAR_PINCH: ("index",),
    GraspType.LATERAL: ("index",),
    GraspType.TRIPOD: ("index", "middle"),
}
# Time constant over which torques are averaged [s].
_SMOOTHING = 0.012
# A touch is lost below this share of the force at which it was found.
_LOST = 0.3


def takes_part(grasp: GraspType | None) -> np.ndarray:
    """Which of FINGERS a grasp uses, ``(4,)``; the thumb always, all where nobody tells."""
    fingers = (*_TAKING_PART.get(grasp, FINGERS), FINGERS[THUMB])
    return np.array([finger in fingers for finger in FINGERS])


@dataclass(frozen=True)
class _Closing:
    """What a moment's posture says of how to close.

    Attributes:
        tips: ``(4, 3)`` in the palm [m].
        levers: ``(4, 4, 3)`` how joints move them [m/rad].
        inwards: ``(4, 3)`` unit vectors by which thumb and fingers oppose each other.
        torques: ``(4, 4)`` joint torques of 1 N that way [N m].
    """

    tips: np.ndarray
    levers: np.ndarray
    inwards: np.ndarray
    torques: np.ndarray


class Assist:
    """Moves the fingers' targets while the human grasps. Times are arguments, in [s].

    Attributes:
        holding: The hand is closing, or holds.
        touching: ``(4,)`` which of FINGERS feel something.
        felt: ``(4,)`` with what force each tip pushes inwards, as felt [N].
    """

    def __init__(self, config: AssistConfig, side: str = RIGHT):
        self.config = config
        self._fingertips = Fingertips(side)
        self._intent: GraspIntent | None = None
        self._measured: np.ndarray | None = None
        self._measured_at = -np.inf
        self._torque = np.zeros((4, 4))
        # The operator opened his hand: not again before the decoder has seen that.
        self._let_go = False
        self.release()

    def release(self) -> None:
        """The hand is the operator's alone."""
        self.holding = False
        self.touching = np.zeros(4, bool)
        self.felt = np.zeros(4)
        self._squeeze = 0.0
        # Where the joints that lay fingers across were when both sides touched.
        self._laid: np.ndarray | None = None
        self._least_gap = np.inf
        self._stepped_at: float | None = None

    def intend(self, intent: GraspIntent, now: float) -> None:
        """Take what the decoder says.

        Raises:
            ValueError: It is stale, from the future, or older than what is known. Nothing has
                changed then.
        """
        age = now - intent.stamp
        if not age <= self.config.intent_timeout:
            raise ValueError(
                f"grasp intent is {age:.3f} s old, at most {self.config.intent_timeout}"
            )
        if age < -self.config.intent_future:
            raise ValueError(f"grasp intent lies {-age:.3f} s in the future")
        last = self._intent
        if last is not None and intent.stamp <= last.stamp <= now + self.config.intent_future:
            raise ValueError(f"grasp intent is {last.stamp - intent.stamp:.3f} s before the last")
        self._intent = intent
        if not self._sure(self.config.grasp_end):
            self._let_go = False

    def feel(self, measured: np.ndarray, commanded: np.ndarray, now: float) -> None:
        """Joint states ``(22,)`` [rad], and what the robot had been told to do when they were."""
        hand = measured[HAND].reshape(4, 4)
        gap = now - self._measured_at
        if self._measured is None or not 0.0 < gap < 0.1:
            self._torque = np.zeros((4, 4))
        else:
            speed = (hand - self._measured) / gap
            torque = _STIFFNESS * (commanded[HAND].reshape(4, 4) - hand) - _DAMPING * speed
            self._torque += (torque - self._torque) * min(1.0, gap / _SMOOTHING)
        self._measured, self._measured_at = hand.copy(), now

    def aim(
        self, target: np.ndarray, velocity: np.ndarray, now: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Target and its velocity, as helped.

        Args:
            target: ``(22,)`` the operator's [rad].
            velocity: ``(22,)`` of it [rad/s].
            now: The present [s].

        Returns:
            The same but for the fingers while holding. A joint that bends is never more open than
            the operator's, nor closed by more than ``close_by`` beyond it; the other joints differ
            by ``steady`` and ``carry`` at most.
        """
        operator = target[HAND].reshape(4, 4)
        least = self.config.grasp_end if self.holding else self.config.grasp_begin
        if not self.sure(now, least=least) or self.let_go(operator):
            if self.holding:
                self.release()
            return target, velocity
        self.holding = True
        elapsed = 0.0 if self._stepped_at is None else now - self._stepped_at
        self._stepped_at = now
        wanted = self._fingers(operator, np.clip(elapsed, 0.0, 0.1))
        helped, speeds = target.copy(), velocity.copy()
        helped[HAND] = wanted.ravel()
        speeds[HAND][(wanted != operator).ravel()] = 0.0
        return helped, speeds

    def _sure(self, probability: float) -> bool:
        intent = self._intent
        share = probability / self.config.grasp_begin
        return (
            intent is not None
            and intent.grasping >= probability
            and intent.confidence >= share * self.config.grasp_confidence
        )

    @property
    def opened(self) -> bool:
        """The operator has opened his hand, which the decoder has not seen yet."""
        return self._let_go

    @property
    def squeezing(self) -> bool:
        """Something is felt between thumb and fingers."""
        return bool(self.holding and self.touching[THUMB] and self.touching.sum() > 1)

    def closed_again(self) -> None:
        """The hand that was opened has closed: what the decoder saw of it no longer counts."""
        self._let_go = False

    @property
    def force(self) -> float:
        """With what the thumb is to press, as told and as allowed [N]."""
        told = 0.0 if self._intent is None else self._intent.force
        return float(np.clip(told, self.config.touch_force, self.config.max_grasp_force))

    def felt_along(self, inwards: np.ndarray) -> np.ndarray:
        """With what force each tip pushes along a direction of its own, as felt.

        Args:
            inwards: ``(4, 3)`` unit vectors in the palm, one each of FINGERS.

        Returns:
            ``(4,)`` [N], by least squares of the torques of those joints that bend.
        """
        _, levers = self._fingertips.jacobian(self._measured.ravel())
        return self._felt((levers @ inwards[..., None])[..., 0])

    def _felt(self, torques: np.ndarray) -> np.ndarray:
        """Forces ``(4,)`` [N] of which 1 N makes joint torques ``(4, 4)`` [N m]."""
        levers = np.where(_BENDS, torques, 0.0)
        square = np.maximum((levers * levers).sum(axis=1), 1e-6)
        return (levers * self._torque).sum(axis=1) / square

    def sure(self, now: float, *, least: float) -> bool:
        """Whether the decoder says now that the operator grasps, with probability ``least``, and
        is as sure of itself as belongs to that."""
        if self._measured is None or not self._sure(least):
            return False
        return -self.config.intent_future <= now - self._intent.stamp <= self.config.intent_timeout

    def let_go(self, operator: np.ndarray) -> bool:
        """Whether the operator, with his fingers ``(4, 4)`` [rad] there, has opened his hand since
        `release`, those that take part; then it stays so until the decoder has seen it."""
        return self.parted(self._gap(self._fingertips.places(operator.ravel())))

    def parted(self, gap: float, share: float = 1.0) -> bool:
        """As `let_go`, with thumb and fingers so far apart [m], by ``share`` of ``open_by``."""
        self._least_gap = min(self._least_gap, gap)
        self._let_go |= gap > self._least_gap + share * self.config.open_by
        return self._let_go

    def _gap(self, tips: np.ndarray) -> float:
        """Mean distance of the thumb's tip from those that take part [m]."""
        fingers = takes_part(None if self._intent is None else self._intent.grasp_type)
        fingers[THUMB] = False
        return float(np.linalg.norm(tips[fingers] - tips[THUMB], axis=-1).mean())

    def _fingers(self, operator: np.ndarray, elapsed: float) -> np.ndarray:
        """Targets ``(4, 4)`` [rad] of the fingers' joints."""
        config, measured = self.config, self._measured
        part = takes_part(self._intent.grasp_type)
        closing = self._closing(part)
        self._touch(part, closing)
        torque = self._holding_torque(part, closing, elapsed)
        lead = torque / _STIFFNESS
        # What finds nothing goes on, until tips are nearer than anything that is held is wide.
        gaps = np.linalg.norm(closing.tips - closing.tips[THUMB], axis=-1)
        gaps[THUMB] = gaps[part & (np.arange(4) != THUMB)].min()
        seeking = part & ~self.touching & (gaps > self._intent.aperture - config.aperture_slack)
        bend = np.where(_BENDS, np.maximum(closing.torques, 0.0), 0.0)
        bend /= np.maximum(bend.max(axis=1, keepdims=True), 1e-9)
        lead[seeking] = config.approach * bend[seeking]
        beyond = np.clip(measured + np.where(_BENDS, lead, 0.0) - operator, 0.0, config.close_by)
        carried = np.clip(lead, -config.carry, config.carry)
        if self._laid is not None:
            # What is held is not rolled between the fingers as the human's settle.
            carried += np.clip(self._laid - operator, -config.steady, config.steady)
        return operator + np.where(part[:, None], np.where(_BENDS, beyond, carried), 0.0)

    def _closing(self, part: np.ndarray) -> _Closing:
        tips, levers = self._fingertips.jacobian(self._measured.ravel())
        inwards = _opposed(tips, part)
        return _Closing(tips, levers, inwards, (levers @ inwards[..., None])[..., 0])

    def _touch(self, part: np.ndarray, closing: _Closing) -> None:
        """Which fingers feel something: least squares of the torques of those joints that bend."""
        self.felt = self._felt(closing.torques)
        least = np.where(self.touching, _LOST, 1.0) * self.config.touch_force
        self.touching = part & (self.felt >= least)

    def _holding_torque(self, part: np.ndarray, closing: _Closing, elapsed: float) -> np.ndarray:
        """Joint torques ``(4, 4)`` [N m] of the fingers that touch; none of the others."""
        config = self.config
        touching, tips = self.touching, closing.tips
        force = self.force
        forces = np.zeros((4, 3))
        if touching[THUMB] and touching.sum() > 1:
            if self._laid is None:
                self._laid = self._measured.copy()
            self._squeeze = min(1.0, self._squeeze + elapsed / config.squeeze_time)
            squeeze = config.touch_force + self._squeeze * (force - config.touch_force)
            shares = np.where(touching, squeeze / (touching.sum() - 1), 0.0)
            shares[THUMB] = squeeze
            forces = shares[:, None] * _opposed(tips, touching)
        else:
            # One side alone would push it over: it waits for the other.
            forces[touching] = config.touch_force * closing.inwards[touching]
        torque = (closing.levers @ forces[..., None])[..., 0]
        return torque * min(1.0, config.max_torque / max(np.abs(torque).max(), 1e-9))


def _opposed(tips: np.ndarray, fingers: np.ndarray) -> np.ndarray:
    """Unit vectors ``(4, 3)`` by which the thumb and the chosen ``fingers`` oppose each other."""
    others = fingers & (np.arange(len(FINGERS)) != THUMB)
    towards = tips[THUMB] - tips[others].mean(axis=0)
    towards = towards / max(np.linalg.norm(towards), 1e-6)
    directions = np.tile(towards, (len(FINGERS), 1))
    directions[THUMB] *= -1.0
    return directions
