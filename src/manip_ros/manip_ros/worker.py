"""A thread that belongs to a node and ends with it."""

import threading
from collections.abc import Callable


class Worker:
    """Runs ``target(stop)`` beside the node's callbacks, until it returns or ``stop`` is set.

    rclpy calls fail while the context is being shut down, between any check and the call; what is
    raised then is no fault and ends the thread quietly. Anything else is raised.
    """

    def __init__(self, node, target: Callable[[threading.Event], None], name: str):
        self._node = node
        self._target = target
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._target(self._stop)
        except Exception:
            if not self._stop.is_set() and self._node.context.ok():
                raise

    def close(self) -> None:
        """Ask the thread to end and wait for it, two seconds at most."""
        self._stop.set()
        self._thread.join(timeout=2.0)
