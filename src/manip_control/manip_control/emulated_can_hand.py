"""An Allegro Hand V4 as seen from its CAN bus, moved by MuJoCo. For tests without a hand.

Knows the protocol from the other side than ``can_hand`` does; of the electronics it knows nothing.
Torque is taken to be proportional to the duty, 0.7 N m at full duty (the joints' greatest torque),
and joints have the friction that Wonik's description of the hand states.
"""

import mujoco
import numpy as np

from manip_control import can_protocol as protocol
from manip_control.can_protocol import JOINTS_PER_FINGER, NUM_FINGERS, Frame, HandInfo, Message
from manip_core.hand import LEFT, RIGHT
from manip_core.robot_model import HAND_JOINTS, build_model, home

# allegro_hand_description of Wonikrobotics-git/allegro_hand_ros2: joint dynamics [N m s/rad, N m].
DAMPING, FRICTION = 0.1, 0.01
FULL_TORQUE = 0.7
_STEP = 0.001


class EmulatedCanHand:
    """Answers frames and sends its positions by the clock.

    Attributes:
        on: Its motors are powered.
        duty: ``(16,)`` commanded, share of the full duty.
        dead: It is cut off: neither hears nor says anything.
        hot: It reports the fault of too high a temperature.
    """

    def __init__(self, side: str = RIGHT, device: int = 0):
        self._side = side
        self._device = device
        self.model = build_model(side, with_scene=False)
        self.model.opt.timestep = _STEP
        self.data = mujoco.MjData(self.model)
        self.data.qpos[:] = self.data.ctrl[:] = home(side)
        self._joints = np.array([self.model.joint(name).qposadr[0] for name in HAND_JOINTS])
        dof = np.array([self.model.joint(name).dofadr[0] for name in HAND_JOINTS])
        self.model.dof_damping[dof] = DAMPING * FULL_TORQUE
        self.model.dof_frictionloss[dof] = FRICTION
        for name in HAND_JOINTS:
            actuator = self.model.actuator(name).id
            self.model.actuator_gainprm[actuator] = self.model.actuator_biasprm[actuator] = 0.0
        self._dof = dof
        self.on = self.dead = self.hot = False
        self.duty = np.zeros(len(HAND_JOINTS))
        self._period = 0
        self._steps = 0

    @property
    def position(self) -> np.ndarray:
        """``(16,)`` in [rad]."""
        return self.data.qpos[self._joints].copy()

    def receive(self, frame: Frame) -> list[Frame]:
        """Take a frame; returns the answer."""
        message, device = protocol.message_of(frame.id)
        if self.dead or device != self._device:
            return []
        finger = message - Message.SET_TORQUE
        if frame.remote:
            return self._answer(message)
        if message in (Message.SYSTEM_ON, Message.SYSTEM_OFF):
            self.on = message == Message.SYSTEM_ON
        elif message == Message.SET_PERIOD:
            self._period = int.from_bytes(frame.data[:2], "little")
        elif 0 <= finger < NUM_FINGERS:
            part = slice(finger * JOINTS_PER_FINGER, (finger + 1) * JOINTS_PER_FINGER)
            self.duty[part] = protocol.decode_duty(frame.data)
        return []

    def step(self) -> list[Frame]:
        """One millisecond; returns the positions if they are due."""
        torque = FULL_TORQUE * self.duty if self.on else np.zeros_like(self.duty)
        self.data.qfrc_applied[self._dof] = torque
        mujoco.mj_step(self.model, self.data)
        self._steps += 1
        if self.dead or not self._period or self._steps % self._period:
            return []
        return [
            frame for i in range(NUM_FINGERS) for frame in self._answer(Message.FINGER_POSE + i)
        ]

    def _answer(self, message: int) -> list[Frame]:
        finger = message - Message.FINGER_POSE
        if 0 <= finger < NUM_FINGERS:
            rows = self.position.reshape(NUM_FINGERS, JOINTS_PER_FINGER)
            data = protocol.encode_positions(rows[finger])
        elif message == Message.HAND_INFO:
            data = protocol.encode_info(
                HandInfo(
                    hardware=(4, 0),
                    firmware=(1, 0),
                    left=self._side == LEFT,
                    temperature=80 if self.hot else 30,
                    servo_on=self.on,
                    fault="the hand is too hot" if self.hot else "",
                )
            )
        else:
            return []
        return [protocol.command(message, self._device, data)]
