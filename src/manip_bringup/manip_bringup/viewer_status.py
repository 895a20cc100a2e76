"""What the operator page says: the state in words, colours and a little HTML. No ROS, no viser."""

from collections import deque
from dataclasses import dataclass
from html import escape

import numpy as np

from manip_bringup.hand_drawing import FINGER_COLOURS, TOUCH
from manip_core.hand import Hand
from manip_core.hand_skeleton import CONTACT_FINGERS
from manip_core.metrics import mpjpe_mm, pa_mpjpe_mm

# Colour has meaning: green moves, amber wants to and cannot, grey-blue rests, red needs attention.
GREEN, AMBER, BLUE, RED = "#3ecf8e", "#f2b544", "#8fa3bf", "#ff6b6b"
_DIM, _TEXT = "#8b95a5", "#e6eaf0"
# The control node publishes its state ten times a second, the robot its joints over 100 times.
_STATE_STALE_S, _ROBOT_STALE_S, _HAND_STALE_S = 3.0, 1.0, 1.0
LATENCY_WINDOW_S = 30.0
ERROR_WINDOW_S = 2.0


@dataclass(frozen=True)
class Teleop:
    """The pure twin of ``manip_msgs/TeleopState``; ``received`` in [s] by the page's clock."""

    engaged: bool
    holding: bool
    reason: str
    latency: float
    received: float


class Monitor:
    """Collects what the page shows as text; all times in [s] by one clock, passed as arguments."""

    def __init__(self):
        self.teleop: Teleop | None = None
        self.hand: Hand | None = None
        self.hand_received = -np.inf
        self.robot_received = -np.inf
        self._latencies: deque[tuple[float, float]] = deque()
        self._truth: deque[Hand] = deque(maxlen=30)
        self._errors: deque[tuple[float, float, float]] = deque()

    def on_teleop(self, teleop: Teleop) -> None:
        """Take the control node's state."""
        self.teleop = teleop
        if np.isfinite(teleop.latency) and teleop.engaged and not teleop.holding:
            self._latencies.append((teleop.received, teleop.latency))

    def on_hand(self, hand: Hand, now: float) -> None:
        """Take the smoothed hand."""
        self.hand, self.hand_received = hand, now
        for true in self._truth:
            if hand.tracked and abs(true.stamp - hand.stamp) < 1e-6:
                error = mpjpe_mm(hand.keypoints, true.keypoints)
                shape = pa_mpjpe_mm(hand.keypoints, true.keypoints)
                self._errors.append((now, float(error), float(shape)))

    def on_truth(self, hand: Hand) -> None:
        """Take the hand as it truly is, from a source that knows."""
        self._truth.append(hand)

    def error_mm(self, now: float) -> tuple[float, float] | None:
        """Mean error of the keypoints over `ERROR_WINDOW_S`, as they stand and after the best
        similarity transform, in [mm]; None where the truth is not known.
        """
        while self._errors and self._errors[0][0] < now - ERROR_WINDOW_S:
            self._errors.popleft()
        if not self._errors:
            return None
        _, error, shape = np.mean(self._errors, axis=0)
        return float(error), float(shape)

    def on_robot(self, now: float) -> None:
        """Note that the robot has told its joints."""
        self.robot_received = now

    def latency_ms(self, now: float) -> tuple[float, float] | None:
        """Median and 95th percentile over `LATENCY_WINDOW_S`, in [ms]; None without a sample."""
        while self._latencies and self._latencies[0][0] < now - LATENCY_WINDOW_S:
            self._latencies.popleft()
        if not self._latencies:
            return None
        values = [1e3 * latency for _, latency in self._latencies]
        return float(np.median(values)), float(np.percentile(values, 95))

    def headline(self, now: float) -> tuple[str, str, str]:
        """The state in a word, its colour, and a sentence that says why."""
        state = self.teleop
        if state is None:
            return "NO CONTROL", BLUE, "Waiting for the control node."
        if now - state.received > _STATE_STALE_S:
            return "CONTROL LOST", RED, f"No word from it for {now - state.received:.0f} s."
        if now - self.robot_received > _ROBOT_STALE_S:
            return "ROBOT LOST", RED, "The robot does not tell its joints."
        if not state.engaged:
            return "HOLD", BLUE, _sentence(state.reason) or "The robot stands. Engage to move it."
        if state.holding:
            return "WAITING", AMBER, _sentence(state.reason) or "Engaged, but nothing to follow."
        return "FOLLOWING", GREEN, "The robot follows your hand."

    def tracking(self, now: float) -> tuple[str, str]:
        """How the hand is seen, and the colour for it."""
        if self.hand is None or now - self.hand_received > _HAND_STALE_S:
            return "no pictures", RED
        if not self.hand.tracked:
            return "no hand in view", AMBER
        if self.hand.bridged:
            return f"{self.hand.side} hand, bridging a gap", AMBER
        return f"{self.hand.side} hand", GREEN


def _sentence(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        return ""
    return reason[0].upper() + reason[1:] + ("" if reason[-1] in ".!?" else ".")


def headline_html(monitor: Monitor, now: float) -> str:
    """The clutch state in large type, with the reason below."""
    word, colour, reason = monitor.headline(now)
    return (
        f'<div style="margin:2px 12px 8px;padding:10px 14px;border-radius:8px;'
        f'background:{colour}1f;border-left:5px solid {colour}">'
        f'<div style="font-size:27px;line-height:1.15;font-weight:700;letter-spacing:.04em;'
        f'color:{colour}">{word}</div>'
        f'<div style="font-size:14px;line-height:1.35;min-height:19px;color:{_TEXT}">'
        f"{escape(reason)}</div></div>"
    )


def details_html(monitor: Monitor, now: float) -> str:
    """Tracking, confidence, contacts and latency."""
    text, colour = monitor.tracking(now)
    seen = colour != RED and monitor.hand is not None and monitor.hand.tracked
    confidence = monitor.hand.confidence if seen else 0.0
    rows = [
        _row("Tracking", f'<span style="color:{colour}">{text}</span>'),
        _row("Confidence", _bar(confidence) if seen else "–"),
        _row("Touching thumb", _contacts(monitor.hand.contact if seen else np.zeros(4))),
        _row("Latency", _latency(monitor.latency_ms(now))),
    ]
    if error := monitor.error_mm(now):
        rows.append(
            _row(
                "Error to the truth",
                f"{error[0]:.0f}&thinsp;mm "
                f'<span style="color:{_DIM}">of the shape alone</span> {error[1]:.0f}&thinsp;mm',
            )
        )
    return f'<div style="margin:4px 14px 6px;font-size:14px;color:{_TEXT}">{"".join(rows)}</div>'


def note_html(note: str, good: bool) -> str:
    """What came of the last button; nothing while there is none."""
    if not note:
        return ""
    colour = _DIM if good else AMBER
    return (
        f'<div style="margin:0 14px 6px;font-size:13px;line-height:1.35;color:{colour}">'
        f"{escape(_sentence(note))}</div>"
    )


def _row(name: str, value: str) -> str:
    return (
        '<div style="display:flex;justify-content:space-between;align-items:center;'
        'min-height:25px">'
        f'<span style="color:{_DIM}">{name}</span>'
        f'<span style="font-variant-numeric:tabular-nums">{value}</span></div>'
    )


def _bar(value: float) -> str:
    colour = GREEN if value >= 0.8 else AMBER
    return (
        '<span style="display:inline-flex;align-items:center;gap:8px">'
        '<span style="display:inline-block;width:90px;height:6px;border-radius:3px;'
        'background:#ffffff1c">'
        f'<span style="display:block;width:{90 * value:.0f}px;height:6px;border-radius:3px;'
        f'background:{colour}"></span></span>{100 * value:.0f}&thinsp;%</span>'
    )


def _contacts(contact: np.ndarray) -> str:
    chips = []
    for finger, likelihood in zip(CONTACT_FINGERS, contact, strict=True):
        touching = likelihood >= TOUCH
        rgb = "rgb({},{},{})".format(*FINGER_COLOURS[finger])
        style = (
            f"background:{rgb};color:#101418;border-color:{rgb}"
            if touching
            else f"color:{_DIM};border-color:#ffffff26"
        )
        chips.append(
            f'<span style="border:1px solid;border-radius:9px;padding:0 7px;font-size:12px;'
            f'line-height:18px;{style}">{finger}</span>'
        )
    return f'<span style="display:inline-flex;gap:4px">{"".join(chips)}</span>'


def _latency(latency: tuple[float, float] | None) -> str:
    if latency is None:
        return "–"
    return (
        f"{latency[0]:.0f}&thinsp;ms "
        f'<span style="color:{_DIM}">median,</span> {latency[1]:.0f}&thinsp;ms '
        f'<span style="color:{_DIM}">p95</span>'
    )
