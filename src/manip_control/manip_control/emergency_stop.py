"""Software emergency stop: latched until it is reset.

It stops the robot's motion within the limits of its joints. It is no substitute for the emergency
stop button of the arm, which cuts power without any software.
"""


class EmergencyStop:
    """Remembers that somebody pressed stop.

    Attributes:
        reason: Who or what pressed it, in words; empty while it is not pressed.
    """

    def __init__(self):
        self.reason = ""

    @property
    def pressed(self) -> bool:
        return bool(self.reason)

    def press(self, reason: str = "") -> None:
        """Stop. Pressing again keeps the first reason."""
        self.reason = self.reason or f"emergency stop{': ' if reason else ''}{reason}"

    def reset(self, *, at_rest: bool) -> tuple[bool, str]:
        """Release the latch, once the robot stands; done or not, and what happened in words."""
        if not at_rest:
            return False, "cannot reset the emergency stop: the robot is still braking"
        self.reason = ""
        return True, "emergency stop reset: holding"
