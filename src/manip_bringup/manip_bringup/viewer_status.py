"""What the operator page knows, and what it says of it in words. No ROS, no viser, no HTML."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from manip_bringup.episodes import EpisodeLog, Mark
from manip_core.hand import Hand
from manip_core.metrics import mpjpe_mm, pa_mpjpe_mm

# Colour has meaning: green moves, amber wants to and cannot, grey-blue rests, red needs attention.
GREEN, AMBER, BLUE, RED = "#3ecf8e", "#f2b544", "#8fa3bf", "#ff6b6b"
# The control node publishes its state ten times a second, the robot its joints over 100 times,
# every node its diagnostics once.
_STATE_STALE_S, _ROBOT_STALE_S, _HAND_STALE_S, _NEWS_STALE_S = 3.0, 1.0, 1.0, 3.5
LATENCY_WINDOW_S = 30.0
ERROR_WINDOW_S = 2.0
# So long after a press, a stop that the control node does not confirm is an alarm.
CONFIRM_S = 0.4
# What came of a button is said for so long.
_NOTE_S = 8.0
_CONTROL, _RECORDER = "control_node", "recorder_node"
_SHARE, _PERCENTILE, _UNIT = "share of ", "latency p", " [ms]"


@dataclass(frozen=True, kw_only=True)
class Teleop:
    """The pure twin of ``manip_msgs/TeleopState``; ``received`` in [s] by the page's clock."""

    engaged: bool
    received: float
    holding: bool = False
    reason: str = ""
    stopped: bool = False
    speed: float = 1.0
    robot_ready: bool = True
    robot: str = ""
    warnings: tuple[str, ...] = ()
    latency: float = float("nan")


@dataclass(frozen=True)
class News:
    """The last ``/diagnostics`` of a node.

    Attributes:
        problem: What is wrong, empty for nothing.
        values: As published.
        received: [s].
    """

    problem: str
    values: dict[str, str]
    received: float


@dataclass(frozen=True)
class Latency:
    """Exposure to command, over the last 300 pictures, as the control node measured it.

    Attributes:
        percentiles: 50th, 95th and 99th [ms], by ``p50``, ``p95``, ``p99``.
        shares: Mean share of each stage [ms], in the order of the data's way.
    """

    percentiles: dict[str, float]
    shares: dict[str, float] = field(default_factory=dict)


class Monitor:
    """Collects what the page shows as text; all times in [s] by one clock, passed as arguments.

    Attributes:
        episodes: As the marks make them; times by the page's clock.
        listens: The robot's joints are listened to: only then can it be missed.
        reaches: A request to engage would reach the control node: discovery takes a moment.
    """

    def __init__(self):
        self.teleop: Teleop | None = None
        self.hand: Hand | None = None
        self.hand_received = -np.inf
        self.robot_received = -np.inf
        self.listens = self.reaches = True
        self.episodes = EpisodeLog()
        self._note, self._note_good, self._note_at = "", True, -np.inf
        self._stop_at: float | None = None
        self._news: dict[str, News] = {}
        self._latencies: deque[tuple[float, float]] = deque()
        self._truth: deque[Hand] = deque(maxlen=30)
        self._errors: deque[tuple[float, float, float]] = deque()

    def on_teleop(self, teleop: Teleop) -> None:
        """Take the control node's state."""
        self.teleop = teleop
        if teleop.stopped:
            self._stop_at = None
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

    def on_robot(self, now: float) -> None:
        """Note that the robot has told its joints."""
        self.robot_received = now

    def on_news(self, node: str, news: News) -> None:
        """Take what a node publishes on ``/diagnostics``."""
        self._news[node] = news

    def on_mark(self, text: str, now: float) -> None:
        """Take an episode's mark, whoever set it."""
        try:
            self.note(self.episodes.add(Mark.parse(text), now), now)
        except ValueError as error:
            self.note(str(error), now, good=False)

    def note(self, text: str, now: float, good: bool = True) -> None:
        """Say for a while what came of a button."""
        self._note, self._note_good, self._note_at = text, good, now

    def noted(self, now: float) -> tuple[str, bool]:
        """What came of the last button, empty after a while, and whether that is good."""
        fresh = now - self._note_at < _NOTE_S
        return (sentence(self._note), self._note_good) if fresh else ("", True)

    def on_stop_pressed(self, now: float) -> None:
        """Somebody pressed the page's emergency stop."""
        if self._stop_at is None and not (self.teleop and self.teleop.stopped):
            self._stop_at = now

    def stop_unconfirmed(self, now: float) -> bool:
        """True where a stop was pressed and the control node has not said that it took it."""
        return self._stop_at is not None and now - self._stop_at > CONFIRM_S

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

    def latencies_ms(self, now: float) -> list[tuple[float, float]]:
        """Age [s] and latency [ms] of the states of the last `LATENCY_WINDOW_S`, oldest first."""
        while self._latencies and self._latencies[0][0] < now - LATENCY_WINDOW_S:
            self._latencies.popleft()
        return [(now - at, 1e3 * latency) for at, latency in self._latencies]

    def latency(self, now: float) -> Latency | None:
        """What the control node says of its latency; None where it says nothing."""
        values = self._values(_CONTROL, now)
        figures = {}
        for key, value in values.items():
            try:
                figures[key] = float(value)
            except ValueError:
                continue
        figures = {key: value for key, value in figures.items() if np.isfinite(value)}
        percentiles = _between(figures, _PERCENTILE, _UNIT)
        if not percentiles:
            return None
        found = {f"p{percent}": value for percent, value in percentiles.items()}
        return Latency(found, _between(figures, _SHARE, _UNIT))

    def recording(self, now: float) -> dict[str, str]:
        """What the recorder says of itself; empty where none runs."""
        return self._values(_RECORDER, now)

    def warnings(self, now: float) -> list[str]:
        """What the operator should know: from the safety core, then from every node."""
        state = self.teleop
        found = list(state.warnings) if state is not None else []
        for node, news in sorted(self._news.items()):
            if news.problem and now - news.received <= _NEWS_STALE_S:
                found.append(f"{node.removesuffix('_node').replace('_', ' ')}: {news.problem}")
        return [sentence(text) for text in found]

    def headline(self, now: float) -> tuple[str, str, str]:
        """The state in a word, its colour, and a sentence that says why."""
        state = self.teleop
        if self.stop_unconfirmed(now):
            return "STOP NOT CONFIRMED", RED, "Use the robot's own emergency stop."
        if state is None:
            return "NO CONTROL", BLUE, "Waiting for the control node."
        if now - state.received > _STATE_STALE_S:
            return "CONTROL LOST", RED, f"No word from it for {now - state.received:.0f} s."
        if state.stopped:
            return "STOPPED", RED, sentence(state.reason) or "Emergency stop."
        if self.listens and now - self.robot_received > _ROBOT_STALE_S:
            return "ROBOT LOST", RED, "The robot does not tell its joints."
        if not state.engaged and not self.reaches:
            return "CONNECTING", BLUE, "The control node cannot be asked to engage yet."
        if not state.engaged:
            colour = BLUE if state.robot_ready else AMBER
            return "HOLD", colour, sentence(state.reason) or "The robot stands. Engage to move it."
        if state.holding:
            return "WAITING", AMBER, sentence(state.reason) or "Engaged, but nothing to follow."
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

    def seen(self, now: float) -> Hand | None:
        """The hand that is in view; None while none is."""
        return self.hand if self.tracking(now)[1] != RED and self.hand.tracked else None

    def _values(self, node: str, now: float) -> dict[str, str]:
        news = self._news.get(node)
        return news.values if news is not None and now - news.received <= _NEWS_STALE_S else {}


def sentence(words: str) -> str:
    """The words with a capital at the front and a stop at the end."""
    words = words.strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?…" else ".")


def _between(figures: dict[str, float], front: str, back: str) -> dict[str, float]:
    return {
        key.removeprefix(front).removesuffix(back): value
        for key, value in figures.items()
        if key.startswith(front) and key.endswith(back)
    }
