"""Drives an Allegro Hand V4 on the CAN bus: positions in, torques out, off on silence.

Pure: frames and time are arguments; ``can_hand_node`` moves the frames.
"""

from dataclasses import dataclass

import numpy as np

from manip_control import can_protocol as protocol
from manip_control.can_protocol import JOINTS_PER_FINGER, NUM_FINGERS, Frame, HandInfo, Message
from manip_core.hand import LEFT, RIGHT
from manip_core.robot_model import HAND_JOINTS, Limits

_FINGER = (0.5, 0.5, 0.5, 0.833), (0.013, 0.017, 0.013, 0.013), (0.312, 0.562, 0.375, 0.237)
_THUMB = (0.833, 0.833, 0.833, 0.5), (0.025, 0.017, 0.017, 0.013), (0.438, 0.338, 0.225, 0.225)
# Stiffness [duty/rad], damping [duty s/rad] and greatest duty of each joint: the defaults of
# Wonik's V4 driver (v4_hardware_interface.cpp of allegro_hand_ros2), index to ring, then thumb.
STIFFNESS, DAMPING, DUTY = (np.array([*_FINGER[k] * 3, *_THUMB[k]]) for k in range(3))
NUM_JOINTS = NUM_FINGERS * JOINTS_PER_FINGER


@dataclass(frozen=True, kw_only=True)
class CanHandConfig:
    """How the hand is driven.

    Attributes:
        device: The hand's device id on the bus, 0 to 3.
        period: Time between two measurements of all joints [ms].
        stiffness: Factor on the joints' default stiffness.
        damping: Factor on the joints' default damping.
        strength: Share of the default torque limits that is used, above 0 to 1.
        cutoff: Of the low-pass on measured velocities [Hz].
        command_timeout: Silence of commands after which the motors are switched off [s].
        state_timeout: Silence of the hand after which the motors are switched off [s].
    """

    device: int = 0
    period: int = 3
    stiffness: float = 1.0
    damping: float = 1.0
    strength: float = 1.0
    cutoff: float = 30.0
    command_timeout: float = 0.2
    state_timeout: float = 0.05

    def __post_init__(self):
        protocol.identifier(0, self.device)
        if not 2 <= self.period <= 20:
            raise ValueError(f"period must be within 2 and 20 ms, got {self.period}")
        if not 0.0 < self.strength <= 1.0:
            raise ValueError(f"strength must be above 0 to 1, got {self.strength}")
        for name in ("stiffness", "damping", "cutoff", "command_timeout", "state_timeout"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class CanHand:
    """The hand's state, and the frames that keep it where it is told to be.

    Joints are in the hand's own order, which is ours: index, middle, ring, thumb.

    Attributes:
        position: ``(16,)`` measured [rad].
        velocity: ``(16,)`` [rad/s], filtered.
        duty: ``(16,)`` last sent, share of the motors' full duty.
        measured_at: When all joints were last measured [s]; None before.
        on: The motors have been switched on by us.
        problem: Why they are off, in words; empty while they are on.
        info: The hand's last word of itself.
        ignored: Frames that were not understood.
    """

    def __init__(self, config: CanHandConfig, limits: Limits, side: str = RIGHT):
        """``limits`` are those of all the robot's joints; the hand's are the last 16."""
        self.config = config
        self._side = side
        hand = slice(-len(HAND_JOINTS), None)
        self._lower, self._upper = limits.lower[hand], limits.upper[hand]
        self._fastest = limits.velocity[hand]
        self.position = np.zeros(NUM_JOINTS)
        self.velocity = np.zeros(NUM_JOINTS)
        self.duty = np.zeros(NUM_JOINTS)
        self.on = False
        self.problem = "waiting for the hand"
        self.info: HandInfo | None = None
        self.ignored = 0
        self._fresh: set[int] = set()
        self._seen = np.zeros(NUM_JOINTS)
        self.measured_at: float | None = None
        self._wanted: np.ndarray | None = None
        self._aim = np.zeros(NUM_JOINTS)
        self._wanted_at = -np.inf

    def start(self) -> list[Frame]:
        """Frames that make the hand report, with its motors off."""
        device = self.config.device
        return [
            protocol.command(Message.SYSTEM_OFF, device),
            protocol.request(Message.HAND_INFO, device),
            protocol.set_period(self.config.period, device=device),
        ]

    def stop(self, why: str = "stopped") -> list[Frame]:
        """Frames that take all torque away."""
        self.on, self.problem = False, why
        self._wanted = None
        self.duty[:] = 0.0
        return [*self._torques(), protocol.command(Message.SYSTEM_OFF, self.config.device)]

    def end(self) -> list[Frame]:
        """Frames that take all torque away and make the hand silent."""
        return [*self.stop(), protocol.set_period(0, device=self.config.device)]

    def command(self, positions, now: float) -> None:
        """Be at ``positions`` ``(16,)`` [rad]; they are clipped to the joints' limits.

        Raises:
            ValueError: Not 16 finite numbers. Nothing has changed then.
        """
        values = np.asarray(positions, dtype=float)
        if values.shape != (NUM_JOINTS,) or not np.isfinite(values).all():
            raise ValueError(f"hand command must hold {NUM_JOINTS} finite positions, got {values}")
        self._wanted = np.clip(values, self._lower, self._upper)
        self._wanted_at = now

    def receive(self, frame: Frame, now: float) -> list[Frame]:
        """Take a frame of the hand; returns frames to send, once all four fingers have reported."""
        message, device = protocol.message_of(frame.id)
        finger = message - Message.FINGER_POSE
        if device != self.config.device or frame.remote:
            return []
        try:
            if 0 <= finger < NUM_FINGERS:
                part = slice(finger * JOINTS_PER_FINGER, (finger + 1) * JOINTS_PER_FINGER)
                self._seen[part] = protocol.decode_positions(frame.data)
                self._fresh.add(finger)
            elif message == Message.HAND_INFO:
                self.info = protocol.decode_info(frame.data)
                if self._fault:
                    return self.stop(self._fault)
        except ValueError:
            self.ignored += 1
        if len(self._fresh) < NUM_FINGERS:
            return []
        self._fresh.clear()
        self._measure(now)
        return self._control(now)

    def update(self, now: float) -> list[Frame]:
        """Frames to send where the hand, or who commands it, has been silent for too long."""
        if not self.on:
            return []
        if now - self.measured_at > self.config.state_timeout:
            return self.stop("the hand does not report its joints")
        if now - self._wanted_at > self.config.command_timeout:
            return self.stop("no commands")
        return []

    def _measure(self, now: float) -> None:
        if self.measured_at is None or now - self.measured_at > self.config.state_timeout:
            self.velocity[:] = 0.0
        elif now > self.measured_at:
            dt = now - self.measured_at
            share = 1.0 - np.exp(-2.0 * np.pi * self.config.cutoff * dt)
            self.velocity += share * ((self._seen - self.position) / dt - self.velocity)
        self.position = self._seen.copy()
        self.measured_at = now

    def _control(self, now: float) -> list[Frame]:
        if self._wanted is None or now - self._wanted_at > self.config.command_timeout:
            return self.update(now)
        if self._fault:
            return []
        config = self.config
        if not self.on:
            # A hand that was limp may be anywhere: it goes on from there, no faster than it may.
            self._aim = self.position.copy()
        reach = self._fastest * config.period * 1e-3
        self._aim += np.clip(self._wanted - self._aim, -reach, reach)
        duty = config.stiffness * STIFFNESS * (self._aim - self.position)
        duty -= config.damping * DAMPING * self.velocity
        most = config.strength * DUTY
        self.duty = np.clip(duty, -most, most)
        frames = self._torques()
        if not self.on:
            self.on, self.problem = True, ""
            # Torques first: the hand must not begin with those it had before.
            frames = [*frames, protocol.command(Message.SYSTEM_ON, config.device)]
        return frames

    @property
    def _fault(self) -> str:
        """Why the hand must not be driven, as far as it has said."""
        if self.info is None:
            return ""
        if self.info.left != (self._side == LEFT):
            return f"the hand on the bus is not a {self._side} one"
        return self.info.fault

    def _torques(self) -> list[Frame]:
        return [
            protocol.command(Message.SET_TORQUE + i, self.config.device, protocol.encode_duty(row))
            for i, row in enumerate(self.duty.reshape(NUM_FINGERS, JOINTS_PER_FINGER))
        ]
