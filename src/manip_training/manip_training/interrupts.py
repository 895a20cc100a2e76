"""How a run ends before its time: Ctrl-C and kill let it finish the step and save."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Exit status of a run that was asked to end, as a shell has it for Ctrl-C.
INTERRUPTED = 130


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why."""


class Interrupts:
    """A callback of the loop that asks it to end once a signal has come."""

    def __init__(self):
        self.name = ""

    def on_step(self, metrics: dict) -> None:
        """Steps are of no interest here."""

    def stop_requested(self) -> bool:
        """Whether SIGINT or SIGTERM has come."""
        return bool(self.name)


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Within, the first SIGINT or SIGTERM is noted; a second one acts as ever.

    In a thread other than the main one signals are left alone, as Python wants it.
    """
    noted = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}

    def put_back() -> None:
        for sign, handler in before.items():
            signal.signal(sign, handler)

    def note(number, _frame) -> None:
        noted.name = signal.Signals(number).name
        put_back()

    for sign in before:
        signal.signal(sign, note)
    try:
        yield noted
    finally:
        put_back()
