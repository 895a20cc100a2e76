"""Buttons and pedals."""

import pytest

from manip_control.joystick import CHANGE, ENGAGE, RELEASE, STOP, Joystick, JoystickConfig


def presses(joystick, *messages):
    return [joystick.update(buttons, float(i)) for i, buttons in enumerate(messages)]


def test_a_pedal_follows_while_it_is_held():
    found = presses(Joystick(JoystickConfig()), [0, 0], [1, 0], [1, 0], [0, 0])
    assert found == [[], [ENGAGE], [], [RELEASE]]


def test_a_button_changes_with_each_press():
    found = presses(Joystick(JoystickConfig(joy_hold=False)), [0], [1], [1], [0], [1])
    assert found == [[], [CHANGE], [], [], [CHANGE]]


def test_what_is_down_at_first_engages_nothing_but_stops():
    assert presses(Joystick(JoystickConfig()), [1, 0], [1, 0]) == [[], []]
    assert presses(Joystick(JoystickConfig()), [1, 1]) == [[STOP]]


def test_stop_is_told_once_a_press():
    found = presses(Joystick(JoystickConfig()), [0, 0], [0, 1], [0, 1], [0, 0], [0, 1])
    assert found == [[], [STOP], [], [], [STOP]]


def test_silence_with_the_pedal_down_lets_go_once():
    joystick = Joystick(JoystickConfig())
    joystick.update([0, 0], 0.0)
    joystick.update([1, 0], 0.1)
    assert joystick.silence(0.5) == [] and joystick.silence(0.7) == [RELEASE]
    assert joystick.silence(5.0) == []
    # Plugged in again with the pedal down: nobody meant to engage.
    assert joystick.update([1, 0], 6.0) == []


def test_short_messages_and_no_buttons_are_borne():
    joystick = Joystick(JoystickConfig(joy_clutch=-1, joy_stop=-1))
    assert presses(joystick, [], [1, 1, 1], []) == [[], [], []]


def test_one_button_cannot_do_both():
    with pytest.raises(ValueError, match="both button 2"):
        JoystickConfig(joy_clutch=2, joy_stop=2)
