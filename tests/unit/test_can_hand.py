"""The CAN driver of the hand against an emulated hand on python-can's virtual bus."""

import itertools

import numpy as np
import pytest

from manip_control import can_protocol as protocol
from manip_control.can_bus import CanBus
from manip_control.can_hand import DUTY, CanHand, CanHandConfig
from manip_control.can_protocol import Frame, HandInfo, Message
from manip_control.emulated_can_hand import EmulatedCanHand
from manip_core.robot_model import HAND_JOINTS, home, limits

LIMITS = limits("right")
REST = home("right")[-16:]
_channels = itertools.count()


class Bench:
    """Driver and emulated hand, each at its end of one bus, in simulated time."""

    def __init__(self, *, side="right", **config):
        channel = f"hand{next(_channels)}"
        self.ends = [CanBus("virtual", channel) for _ in range(2)]
        self.hand = EmulatedCanHand(side)
        self.driver = CanHand(CanHandConfig(**config), LIMITS)
        self.now = 100.0
        self.sent = []
        self._from_driver(self.driver.start())

    def close(self):
        for end in self.ends:
            end.close()

    def _from_driver(self, frames):
        self.sent += frames
        for frame in frames:
            self.ends[0].send(frame, 0.1)
        while (frame := self.ends[1].receive(0)) is not None:
            self._from_hand(self.hand.receive(frame))

    def _from_hand(self, frames):
        for frame in frames:
            self.ends[1].send(frame, 0.1)

    def run(self, seconds, command=None):
        for step in range(round(seconds * 1000)):
            self.now += 0.001
            if command is not None and step % 8 == 0:
                self.driver.command(command, self.now)
            self._from_hand(self.hand.step())
            while (frame := self.ends[0].receive(0)) is not None:
                self._from_driver(self.driver.receive(frame, self.now))
            self._from_driver(self.driver.update(self.now))


@pytest.fixture
def bench():
    made = []

    def make(**arguments):
        made.append(Bench(**arguments))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_is_on_the_wire_is_what_wonik_s_driver_puts_there():
    """Hand-worked from canAPI.cpp: ``ID = (id << 2) | CAN_ID``, little-endian shorts."""
    assert protocol.command(Message.SYSTEM_ON) == Frame(0x100)
    assert protocol.command(Message.SYSTEM_OFF) == Frame(0x104)
    assert protocol.set_period(3) == Frame(0x204, bytes([3, 0, 0, 0, 0, 0]))
    assert protocol.request(Message.HAND_INFO) == Frame(0x200, remote=True)
    assert protocol.identifier(Message.SET_TORQUE + 3, 1) == 0x18D
    assert protocol.identifier(Message.FINGER_POSE + 2) == 0x088
    # Joint 0 at half duty, joint 3 at minus a quarter: 600 and -300.
    assert protocol.encode_duty([0.5, 0, 0, -0.25]) == bytes([0x58, 2, 0, 0, 0, 0, 0xD4, 0xFE])
    # 65536 counts are 333.3 degrees.
    angle = protocol.decode_positions(bytes([0, 0x40, 0, 0, 0, 0, 0, 0xC0]))
    np.testing.assert_allclose(np.rad2deg(angle), [333.3 / 4, 0, 0, -333.3 / 4])
    assert all(protocol.identifier(m + 3, 3) < 0x800 for m in Message)


def test_payloads_come_back_as_they_went():
    angles = np.array([0.1, -0.4, 1.2, 2.0])
    back = protocol.decode_positions(protocol.encode_positions(angles))
    assert np.abs(back - angles).max() <= protocol.RADIANS_PER_COUNT / 2
    info = HandInfo((4, 0), (1, 2), True, 41, True, "the hand is too hot")
    assert protocol.decode_info(protocol.encode_info(info)) == info
    for bad in ([0.1, 0.2], [2.0, 0, 0, 0], [np.nan, 0, 0, 0]):
        with pytest.raises(ValueError, match="duty must be 4"):
            protocol.encode_duty(bad)


def test_nothing_but_off_and_silence_before_a_command(bench):
    b = bench()
    b.run(0.2)
    assert not b.hand.on and not b.driver.on
    np.testing.assert_allclose(b.driver.position, b.hand.position, atol=1e-4)
    assert not any(protocol.message_of(f.id)[0] == Message.SYSTEM_ON for f in b.sent)
    assert b.driver.info.hardware == (4, 0)


@pytest.mark.parametrize("joint", ["ffj1", "mfj2", "rfj3", "thj0"])
def test_the_right_joint_moves_the_right_way_and_no_other(bench, joint):
    b = bench()
    i = HAND_JOINTS.index(joint)
    wanted = REST.copy()
    wanted[i] += 0.4
    b.run(1.0, wanted)
    moved = b.hand.position - REST
    assert moved[i] == pytest.approx(0.4, abs=0.06)
    assert np.abs(np.delete(moved, i)).max() < 0.05


def test_torque_never_exceeds_its_limit_nor_speed_the_joint_s(bench):
    b = bench(strength=0.5)
    wanted = np.full(16, 5.0)
    fastest = 0.0
    for _ in range(40):
        before = b.hand.position
        b.run(0.01, wanted)
        fastest = max(fastest, np.abs(b.hand.position - before).max() / 0.01)
        assert (np.abs(b.hand.duty) <= 0.5 * DUTY + 1e-9).all()
    assert 0.5 < fastest < LIMITS.velocity[-1]
    assert (b.hand.position < LIMITS.upper[-16:] + 0.1).all()


def test_silence_of_commands_takes_all_torque_away(bench):
    b = bench()
    b.run(0.3, REST + 0.2)
    assert b.hand.on
    b.run(0.15)
    assert b.hand.on
    b.run(0.1)
    assert not b.hand.on and not b.hand.duty.any() and b.driver.problem == "no commands"
    b.run(0.2, REST + 0.2)
    assert b.hand.on and b.driver.problem == ""


def test_a_hand_that_falls_silent_is_switched_off(bench):
    b = bench()
    b.run(0.3, REST)
    b.hand.dead = True
    b.run(0.06, REST)
    assert not b.driver.on and "does not report" in b.driver.problem
    last = b.sent[-5:]
    assert [protocol.message_of(f.id)[0] for f in last] == [0x60, 0x61, 0x62, 0x63, 0x41]
    assert all(f.data == bytes(8) for f in last[:4])


def test_a_hot_hand_and_a_left_hand_are_not_driven(bench):
    b = bench()
    b.run(0.3, REST)
    b.hand.hot = True
    b._from_driver([protocol.request(Message.HAND_INFO)])
    b.run(0.2, REST)
    assert not b.hand.on and "hot" in b.driver.problem
    left = bench(side="left")
    left.run(0.3, REST)
    assert not left.hand.on and "not a right one" in left.driver.problem


def test_a_hand_that_was_limp_goes_on_from_where_it_is(bench):
    b = bench()
    b.data = b.hand.data
    b.data.qpos[b.hand._joints] = REST + np.array([0, 0.8, 0.8, 0.8] * 3 + [0.0] * 4)
    b.run(0.02)
    b.run(0.004, REST)
    assert np.abs(b.hand.duty).max() < 0.1


def test_garbage_is_refused_and_changes_nothing(bench):
    b = bench()
    for bad in (np.zeros(15), np.full(16, np.nan), [[0.0] * 16]):
        with pytest.raises(ValueError, match="16 finite"):
            b.driver.command(bad, b.now)
    for frame in (Frame(0x80, b"abc"), Frame(0x7FF, bytes(8)), Frame(0x200, b"")):
        assert b.driver.receive(frame, b.now) == []
    assert b.driver.ignored == 2 and not b.driver.on


def test_ending_leaves_the_hand_limp_and_quiet(bench):
    b = bench()
    b.run(0.3, REST)
    b._from_driver(b.driver.end())
    assert not b.hand.on and not b.hand.duty.any()
    assert all(b.hand.step() == [] for _ in range(20))


@pytest.mark.parametrize(
    "change", [{"device": 4}, {"period": 1}, {"strength": 0.0}, {"cutoff": -1}]
)
def test_config_checks_itself(change):
    with pytest.raises(ValueError):
        CanHandConfig(**change)


def test_a_bus_that_is_not_there_says_what_to_do():
    with pytest.raises(ValueError, match="ip link set nocan9 up"):
        CanBus("socketcan", "nocan9")
