"""A CAN bus through python-can: SocketCAN in earnest, its virtual bus in tests."""

from manip_control.can_protocol import BITRATE, Frame


class CanBus:
    """Sends and receives frames; what goes wrong is an ``OSError``."""

    def __init__(self, interface: str = "socketcan", channel: str = "can0"):
        """Open the bus, at the hand's 1 Mbit/s where the interface sets that.

        Raises:
            ValueError: python-can is not installed, or the bus cannot be opened; says what to do.
        """
        try:
            import can
        except ModuleNotFoundError as error:
            raise ValueError(
                "hand_driver can needs python-can, which is not installed: pip install python-can"
            ) from error
        self._can = can
        try:
            self._bus = can.Bus(interface=interface, channel=channel, bitrate=BITRATE)
        except (OSError, can.CanError, NotImplementedError) as error:
            raise ValueError(
                f"cannot open CAN bus {channel!r} ({interface}): {error}. For SocketCAN: "
                f"sudo ip link set {channel} up type can bitrate {BITRATE}"
            ) from error

    def receive(self, timeout: float) -> Frame | None:
        """The next frame with an 11-bit identifier; ``None`` after ``timeout`` [s] without one."""
        try:
            message = self._bus.recv(timeout)
        except self._can.CanError as error:
            raise OSError(str(error)) from error
        if message is None or message.is_error_frame or message.is_extended_id:
            return None
        return Frame(message.arbitration_id, bytes(message.data), message.is_remote_frame)

    def send(self, frame: Frame, timeout: float) -> None:
        """Send a frame within ``timeout`` [s]."""
        message = self._can.Message(
            arbitration_id=frame.id,
            data=None if frame.remote else frame.data,
            is_remote_frame=frame.remote,
            is_extended_id=False,
        )
        try:
            self._bus.send(message, timeout)
        except self._can.CanError as error:
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Close the bus."""
        self._bus.shutdown()
