"""What the bench on the page shows, as plain data for its script."""

from manip_bringup.operator_desk import OperatorDesk
from manip_bringup.viewer_status import Monitor


def bench_state(monitor: Monitor, desk: OperatorDesk, now: float) -> dict:
    """What all pages are sent; `for_page` adds what one of them alone is told."""
    word, colour, reason = monitor.headline(now)
    note, good = monitor.noted(now)
    state = monitor.teleop
    return {
        "word": word,
        "colour": colour,
        "reason": reason,
        "stopped": bool(state and state.stopped),
        "engaged": bool(state and state.engaged),
        "reaches": monitor.reaches,
        "ready": bool(state is None or state.robot_ready),
        "robot": state.robot if state else "",
        "speed": state.speed if state else None,
        "warnings": monitor.warnings(now),
        "note": note,
        "good": good,
        "pages": desk.pages,
        "driver": desk.driver,
        "episode": _episode(monitor, now),
    }


def for_page(state: dict, page: int) -> dict:
    """The state as ``page`` is told it: whether it drives itself or another does."""
    driver = state["driver"]
    who = "" if driver is None else "you" if driver == page else "other"
    return state | {"driver": who}


def _episode(monitor: Monitor, now: float) -> dict:
    log = monitor.episodes
    recording = monitor.recording(now)
    return {
        "open": log.open is not None,
        "seconds": 0 if log.open is None else int(now - log.open),
        "task": log.task,
        "counts": log.counts(),
        "bag": recording.get("bag", ""),
        "megabytes": recording.get("size [MB]", ""),
        "lost": recording.get("lost", "0"),
    }
