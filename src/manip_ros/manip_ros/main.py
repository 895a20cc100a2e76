"""The ``main()`` of every node: start, spin, and end cleanly whatever stops it."""

import signal
import sys

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node


def run(make_node, args: list[str] | None = None) -> None:
    """Spin the node that ``make_node()`` returns until it is stopped, then close and exit.

    A ``ValueError``, ``FileNotFoundError`` or ``RuntimeError`` while the node is made is a user's
    mistake: it is printed on one line and the process exits with status 2, which a supervisor
    takes as "do not restart".
    """
    rclpy.init(args=args)
    # A launcher may send the signal twice: the second one must not cut the clean-up short.
    node: Node | None = None
    status = 0
    try:
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        if rclpy.ok() or node is None:
            status = 2 if node is None else 1
            print(f"[ERROR] {error}", file=sys.stderr, flush=True)
            if node is not None:
                raise
    except Exception:
        # rclpy may report an invalid context while it is being shut down by a signal.
        if rclpy.ok():
            raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            if hasattr(node, "close"):
                node.close()
            try:
                node.destroy_node()
            except Exception as error:
                print(f"[WARN] while closing: {error}", file=sys.stderr, flush=True)
        rclpy.try_shutdown()
    sys.exit(status)
