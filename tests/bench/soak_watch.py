"""What a soak looks at while it runs: commands, stops, memory, latency, and the bag afterwards."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np
import psutil
from manip_msgs.msg import TeleopState
from rosbags.highlevel import AnyReader

from manip_control.allegro_drivers import hand_driver
from manip_control.guard import GuardConfig
from manip_core.robot_model import ARM_JOINTS, JOINT_NAMES, PALM_FRAME, build_model, limits

ARM = slice(0, len(ARM_JOINTS))
# A late step makes up for so many periods at most.
_LATEST_STEP = 1.5
# Arm and hand of one step are sent within this [s].
_TOGETHER_S = 0.004
# After so long every message that was sent before another has been read as well [s].
_HEARD_S = 0.3
_KEPT_STATES = 250


@dataclass
class _Restart:
    """The first command heard after a pause: when, what, of which joints, the one before it, and
    how many steps may have been made since."""

    at: float
    values: np.ndarray
    joints: np.ndarray
    last: list[np.ndarray]
    steps: int
    note: str


class CommandJudge:
    """Counts commands that must not be sent, from what goes over the wire alone.

    Positions within limits and finite; from one command to the next no farther than the speed
    limits allow in one and a half control periods; after a pause or a restart, no farther than one
    period from the last command or from where the robot said it was (what it said before it was
    heard here is taken from its first word that was); no contact of the robot with
    itself or the table, the palm in its box. Accelerations and jerks cannot be told from outside,
    as only the sending is stamped, not the step: the fuzzed targets judge those.

    Attributes:
        violations: Counts by kind.
        commands: Commands judged; ``postures`` those whose arm and hand came together.
        largest_restart: Largest step after a pause, in periods at the speed limit.
    """

    def __init__(self, rate: float, hand_driver_name: str = "v5"):
        own = limits("right")
        self._lower, self._upper = own.lower - 1e-6, own.upper + 1e-6
        self._most = own.velocity / rate
        self._period = 1.0 / rate
        driver = hand_driver(hand_driver_name)
        self._hand_order = np.array([JOINT_NAMES.index(name) for name in driver.joints])
        self._model = build_model("right", with_scene=False)
        self._data = mujoco.MjData(self._model)
        self._box = GuardConfig()
        self._last: dict[str, tuple[int, float, np.ndarray]] = {}
        self._arm: tuple[float, np.ndarray] | None = None
        self._measured: list[tuple[float, np.ndarray, int]] = []
        self._state_number = 0
        self._restarts: list[_Restart] = []
        self.violations: Counter[str] = Counter()
        self.commands = self.postures = 0
        self.largest_restart = 0.0
        self.notes: list[str] = []

    def on_state(self, names, positions, at: float, number: int) -> None:
        """The robot says where it is; ``at`` when that was sent [s], the ``number``-th time."""
        missed = number - 1 if number <= self._state_number else number - self._state_number - 1
        self._state_number = number
        row = dict(zip(names, positions, strict=True))
        self._measured.append((at, np.array([row[name] for name in JOINT_NAMES]), missed))
        del self._measured[:-_KEPT_STATES]
        self._judge_restarts(at)

    def on_arm(self, positions, at: float, number: int) -> None:
        """An arm command, sent ``at`` [s], the ``number``-th of its sender."""
        values = np.array(positions)
        if self._judge("arm", values, at, number, np.arange(len(ARM_JOINTS))):
            self._arm = (at, values)

    def on_hand(self, positions, at: float, number: int) -> None:
        """A hand command in the driver's order."""
        values = np.array(positions)
        if not self._judge("hand", values, at, number, self._hand_order):
            return
        if self._arm is not None and 0 <= at - self._arm[0] < _TOGETHER_S:
            q = np.empty(len(JOINT_NAMES))
            q[ARM], q[self._hand_order] = self._arm[1], values
            self._look(q, at)

    def _judge(self, who: str, values: np.ndarray, at: float, number: int, joints) -> bool:
        self.commands += 1
        if values.shape != joints.shape or not np.isfinite(values).all():
            self._count("malformed", at, f"{who}: {values}")
            return False
        if (values < self._lower[joints]).any() or (values > self._upper[joints]).any():
            self._count("position", at, who)
        before = self._last.get(who)
        self._last[who] = (number, at, values)
        missed = 0 if before is None else number - before[0] - 1
        paused = before is None or missed < 0 or at - before[1] > 2.5 * self._period * (1 + missed)
        if before is not None and not paused:
            steps = np.abs(values - before[2]) / self._most[joints] / (1 + missed)
            if steps.max() > _LATEST_STEP * (1 + 1e-6):
                self._count("speed", at, f"{who}: {steps.max():.2f} periods' worth")
            return True
        silence = np.inf if before is None else at - before[1]
        last = [] if before is None else [before[2]]
        # A sender that was started anew counts from 1, and may be heard later than it speaks.
        unheard = missed if missed >= 0 else number - 1
        note = f"{who} after {silence:.3f} s, {unheard} unheard"
        self._restarts.append(_Restart(at, values, joints, last, 1 + unheard, note))
        return True

    def close(self) -> None:
        """Judge what still waits for a word of the robot."""
        self._judge_restarts(np.inf)

    def _judge_restarts(self, now: float) -> None:
        """Those whose causes have all been heard: topics are not read in the order of sending."""
        while self._restarts and self._restarts[0].at + _HEARD_S < now:
            one = self._restarts.pop(0)
            known = [(q, one.steps) for q in one.last]
            near = [q[one.joints] for then, q, _ in self._measured if 0 <= one.at - then < 0.5]
            known += [(q, one.steps) for q in near]
            later = next((each for each in self._measured if each[0] > one.at), None)
            if not near and later is not None and later[2]:
                # A robot that was started anew may speak for seconds before it is heard here.
                since = (later[0] - one.at) / self._period
                known.append((later[1][one.joints], one.steps + since))
            if not known:
                continue
            most = self._most[one.joints]
            far = min((np.abs(one.values - q) / most).max() / steps for q, steps in known)
            self.largest_restart = max(self.largest_restart, float(far))
            if far > _LATEST_STEP:
                self._count("jump", one.at, f"{far:.2f} periods' worth, {one.note}")

    def _look(self, q: np.ndarray, at: float) -> None:
        self.postures += 1
        data = self._data
        data.qpos[:] = q
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_collision(self._model, data)
        if data.ncon and data.contact.dist.min() < -1e-6:
            self._count("collision", at, f"{1e3 * data.contact.dist.min():.2f} mm")
        palm = data.body(PALM_FRAME).xpos
        if (palm < self._box.workspace_min).any() or (palm > self._box.workspace_max).any():
            self._count("box", at, str(palm))

    def _count(self, kind: str, at: float, note: str) -> None:
        self.violations[kind] += 1
        if len(self.notes) < 50:
            self.notes.append(f"{at:.3f} {kind}: {note}")


@dataclass
class Incident:
    """One fault or kill, and what came of it.

    Attributes:
        what: In words.
        at: When it began [s].
        stopped: The robot ceased to follow in its course.
        recovered_s: Time until the robot followed again; None while it does not.
    """

    what: str
    at: float
    stopped: bool = False
    recovered_s: float | None = None


@dataclass
class StopWatch:
    """Tells stops that something planned explains from those that nothing does.

    A planned event opens an incident, which ends when the robot has followed for ``settled`` s
    after the event (and its duration) is over. A stop outside of all incidents is unplanned.

    Attributes:
        incidents: All so far.
        unplanned: ``(when, reason)`` of stops that nothing explains, longer than ``least`` s.
    """

    settled: float = 1.0
    least: float = 0.3
    incidents: list[Incident] = field(default_factory=list)
    unplanned: list[tuple[float, str]] = field(default_factory=list)
    _busy_until: float = 0.0
    _following_since: float | None = None
    _stopped: tuple[float, str] | None = None

    def planned(self, what: str, now: float, duration: float = 0.0) -> None:
        """Something that may stop the robot begins."""
        self.incidents.append(Incident(what, now))
        self._busy_until = max(self._busy_until, now + duration)

    @property
    def open(self) -> list[Incident]:
        """Incidents that are not over."""
        return [one for one in self.incidents if one.recovered_s is None]

    def on_state(self, state: TeleopState, now: float) -> None:
        """The control node's word."""
        follows = state.mode == TeleopState.ENGAGED and not state.holding
        if follows:
            self._following_since = self._following_since or now
            if self._stopped is not None and not self.open:
                since, reason = self._stopped
                if now - since > self.least:
                    self.unplanned.append((since, reason))
            self._stopped = None
            since = max(self._following_since, self._busy_until)
            if now - since > self.settled:
                for one in self.open:
                    one.recovered_s = max(self._following_since - one.at, 0.0)
            return
        self._following_since = None
        if self._stopped is None:
            self._stopped = (now, state.reason or "holding")
        for one in self.open:
            one.stopped = True


class MemoryWatch:
    """Proportional set size of every node, sampled."""

    def __init__(self, pids, period: float = 10.0):
        self._pids, self._period = pids, period
        # Node and process id -> (time, MB).
        self.samples: dict[tuple[str, int], list[tuple[float, float]]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self._period):
            for name, pid in self._pids().items():
                try:
                    size = psutil.Process(pid).memory_full_info().pss / 1e6
                except (psutil.NoSuchProcess, psutil.ZombieProcess):
                    continue
                self.samples.setdefault((name, pid), []).append((time.time(), size))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def growth_mb(self, seconds: float, warm_up: float = 60.0) -> tuple[float, dict[str, float]]:
        """What all nodes together would grow by in ``seconds``, and each of them.

        A node's growth is the slope (median of pairs, Theil and Sen) over each of its lives after
        ``warm_up`` seconds, the lives weighted by their squared length.
        """
        slopes: dict[str, list[tuple[float, float]]] = {}
        for (name, _), rows in self.samples.items():
            times, sizes = np.array(rows).T
            kept = times > times[0] + warm_up
            times, sizes = times[kept], sizes[kept]
            if len(times) < 6:
                continue
            i, j = np.triu_indices(len(times), 1)
            slope = float(np.median((sizes[j] - sizes[i]) / (times[j] - times[i])))
            slopes.setdefault(name, []).append((slope, (times[-1] - times[0]) ** 2))
        each = {}
        for name, rows in slopes.items():
            slope, weight = np.array(rows).T
            each[name] = float(np.average(slope, weights=weight)) * seconds
        return sum(each.values()), each


def bag_integrity(folder: Path, killed_recorder: int) -> dict[str, float]:
    """Reads every message of the bags of a run back.

    Returns:
        ``soak_bags``, ``soak_bag_messages``, ``soak_bag_broken`` (files or messages that cannot be
        read), ``soak_bag_gap_s`` (longest time without any message inside one bag).
    """
    bags = sorted(path for path in folder.parent.iterdir() if path.is_dir())
    messages, broken, longest = 0, 0, 0.0
    for bag in bags:
        try:
            with AnyReader([bag]) as reader:
                last = None
                for connection, stamp, raw in reader.messages():
                    if messages % 50 == 0:
                        reader.deserialize(raw, connection.msgtype)
                    if last is not None:
                        longest = max(longest, 1e-9 * (stamp - last))
                    last = stamp
                    messages += 1
        except Exception as error:
            print(f"{bag}: {error!r}")
            broken += 1
    if len(bags) != killed_recorder + 1:
        print(f"{len(bags)} bags after {killed_recorder} kills of the recorder")
    return {
        "soak_bags": len(bags),
        "soak_bag_messages": messages,
        "soak_bag_broken": broken,
        "soak_bag_gap_s": longest,
    }
