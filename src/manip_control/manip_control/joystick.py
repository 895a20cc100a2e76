"""Buttons and pedals (``sensor_msgs/Joy``) that engage, release and stop."""

from dataclasses import dataclass

_PRESSED = 0.5


@dataclass(frozen=True, kw_only=True)
class JoystickConfig:
    """Which button does what.

    Attributes:
        joy_clutch: Number of the button or pedal of the clutch; below 0 for none.
        joy_hold: The robot follows while the clutch is held down; else each press changes it.
        joy_stop: Number of the button of the emergency stop; below 0 for none.
        joy_timeout: Silence of the joystick that counts as letting go [s].
    """

    joy_clutch: int = 0
    joy_hold: bool = True
    joy_stop: int = 1
    joy_timeout: float = 0.5

    def __post_init__(self):
        if self.joy_clutch >= 0 and self.joy_clutch == self.joy_stop:
            raise ValueError(f"joy_clutch and joy_stop are both button {self.joy_stop}")
        if not self.joy_timeout > 0:
            raise ValueError(f"joy_timeout must be positive, got {self.joy_timeout}")


ENGAGE, RELEASE, CHANGE, STOP = "engage", "release", "change", "stop"


class Joystick:
    """Turns button states into wishes."""

    def __init__(self, config: JoystickConfig):
        self.config = config
        self._down: set[int] | None = None
        self._at = 0.0

    def update(self, buttons, now: float) -> list[str]:
        """Wishes in a message: any of ``engage``, ``release``, ``change`` and ``stop``.

        What is down in the first message, or in the first after a silence, was not pressed by
        anybody who meant it, except for the stop.
        """
        config = self.config
        down = {i for i, value in enumerate(buttons) if value > _PRESSED}
        before, self._down, self._at = self._down, down, now
        wishes = []
        if config.joy_stop in down and (before is None or config.joy_stop not in before):
            wishes.append(STOP)
        clutch = config.joy_clutch
        if before is None or clutch < 0:
            return wishes
        if clutch in down - before:
            wishes.append(ENGAGE if config.joy_hold else CHANGE)
        elif clutch in before - down and config.joy_hold:
            wishes.append(RELEASE)
        return wishes

    def silence(self, now: float) -> list[str]:
        """Wishes that follow from a joystick that says nothing any more."""
        if self._down is None or now - self._at <= self.config.joy_timeout:
            return []
        held = self.config.joy_hold and self.config.joy_clutch in self._down
        self._down = None
        return [RELEASE] if held else []
