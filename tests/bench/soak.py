"""The whole graph for half an hour under faults and kills: what it sent, and how it came back.

``python tests/bench/soak.py [--minutes 30] [--seed 0] [--kill NODE …]`` (``make soak``) runs the
sim graph, page and recorder included, on the real video in a loop. The robot acts out a seeded
schedule of faults, and every node is killed (SIGKILL) again and again. Whatever the arm cannot end
by itself is ended as an operator would: by the recovery service. Writes ``soak.json``.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/graph"), str(Path(__file__).parent)]
os.environ.setdefault("ROS_DOMAIN_ID", "79")
os.environ.setdefault("MUJOCO_GL", "egl")

from harness import Log, Probe, running, sim  # noqa: E402
from soak_watch import CommandJudge, MemoryWatch, StopWatch, bag_integrity  # noqa: E402

from manip_core import interfaces as topics  # noqa: E402
from manip_ros.conversions import to_seconds  # noqa: E402
from manip_ros.listener import Listener  # noqa: E402

DATA = Path(os.environ.get("MANIP_DATA", ROOT / ".." / "shared" / "data"))
VIDEO = DATA / "real_video" / "hand_720p_30fps.mp4"
OUT = ROOT / "soak.json"
RATE = 125.0
FAULT_GAP_S, KILL_GAP_S = 20.0, 40.0
# An arm that has stood still for this long is brought back by the operator.
PATIENCE_S = 6.0
REACH = {
    "soak_violations": ("<=", 0.0),
    "soak_unplanned_stops": ("<=", 0.0),
    "soak_not_recovered": ("<=", 0.0),
    "soak_growth_mb": ("<", 20.0),
    "soak_bag_broken": ("<=", 0.0),
}


class Informed(Listener):
    """Hands over each message with when it was sent [s], and its number."""

    def _take(self, one, callback) -> None:
        while (taken := one.handle.take_message(one.msg_type, one.raw)) is not None:
            message, info = taken
            callback(message, 1e-9 * info["source_timestamp"], info["publication_sequence_number"])


class Watch:
    """Hears commands, states and the control node's word."""

    def __init__(self, probe: Probe):
        self.judge = CommandJudge(RATE)
        self.stops = StopWatch()
        self.latency: list[tuple[float, float]] = []
        self.state = None
        self.not_ready_since: float | None = None
        self._stamps = set()
        self._listener = Informed(
            probe.node,
            {
                topics.JOINT_STATES: self._on_states,
                topics.ARM_COMMAND: self._on_arm,
                topics.HAND_COMMAND: self._on_hand,
                topics.TELEOP_STATE: self._on_teleop,
            },
        )

    def close(self) -> None:
        self._listener.close()

    def _on_states(self, msg, at: float, number: int) -> None:
        self.judge.on_state(msg.name, msg.position, at, number)

    def _on_arm(self, msg, at: float, number: int) -> None:
        self.judge.on_arm(msg.data, at, number)

    def _on_hand(self, msg, at: float, number: int) -> None:
        self.judge.on_hand(msg.position, at, number)
        stamp = to_seconds(msg.header.stamp)
        # The first command that an exposure caused. Without one the stamp is that of the sending.
        if stamp not in self._stamps:
            if len(self._stamps) > 1000:
                self._stamps.clear()
            self._stamps.add(stamp)
            if at - stamp > 1e-3:
                self.latency.append((at, at - stamp))

    def _on_teleop(self, msg, _at: float, _number: int) -> None:
        now = time.time()
        self.state = msg
        self.stops.on_state(msg, now)
        if msg.robot_ready:
            self.not_ready_since = None
        elif self.not_ready_since is None:
            self.not_ready_since = now


class TimedLog(Log):
    """Keeps the faults that the robot announces."""

    def __init__(self, stops: StopWatch):
        super().__init__()
        self._stops = stops

    def write(self, text: str) -> None:
        super().write(text)
        if found := re.search(r"fault: (\w+) [\d.]+", text):
            # None lasts longer than 0.4 of the gap.
            self._stops.planned(found[1], time.time(), 0.4 * FAULT_GAP_S)


def recovered(watch: Watch, probe: Probe) -> bool:
    """Whether the operator had to bring the arm back, and could."""
    now = time.time()
    if not watch.not_ready_since or now - watch.not_ready_since < PATIENCE_S:
        return False
    watch.not_ready_since = now
    return probe.call(topics.RECOVER, timeout=10.0).success


def soak(
    minutes: float, seed: int, folder: Path, kill: list[str], kill_gap: float
) -> dict[str, float]:
    """Run, and measure.

    Args:
        minutes: How long.
        seed: Of the faults, and of who is killed when.
        folder: For the bags.
        kill: Nodes that are killed; none given: all.
        kill_gap: Between two kills, about [s].
    """
    source = str(VIDEO) if VIDEO.exists() else "demo"
    robot = {"fault_seed": seed, "fault_gap": FAULT_GAP_S}
    nodes = [
        replace(node, parameters=node.parameters | robot)
        if node.executable == "mujoco_robot_node"
        else node
        for node in sim(source=source, viewer="true", port="8096", record=str(folder))
    ]
    chance = np.random.default_rng(seed)
    probe = Probe()
    watch = Watch(probe)
    killed: list[str] = []
    recoveries = 0
    with running(nodes, TimedLog(watch.stops)) as supervisor:
        # Everything until the robot first follows is the start.
        watch.stops.planned("start", time.time())
        probe.wait(lambda: not watch.stops.open, 120, "the first engagement")
        memory = MemoryWatch(supervisor.pids)
        began = time.time()
        due, bag = began + kill_gap, []
        while time.time() - began < 60.0 * minutes:
            time.sleep(0.2)
            now = time.time()
            if now > due and now - began < 60.0 * minutes - 30.0:
                due = now + kill_gap * chance.uniform(0.6, 1.4)
                bag = bag or list(chance.permutation(sorted(kill or supervisor.pids())))
                name = str(bag.pop())
                if pid := supervisor.pids().get(name):
                    watch.stops.planned(f"kill {name}", now, 1.0)
                    os.kill(pid, signal.SIGKILL)
                    killed.append(name)
            recoveries += recovered(watch, probe)
        ran = time.time() - began
        # What is under way may end; the robot's faults go on meanwhile.
        until = time.time() + 60.0
        while watch.stops.open and time.time() < until:
            time.sleep(0.2)
            recoveries += recovered(watch, probe)
        for one in watch.stops.open:
            print(f"not recovered: {one.what}, {time.time() - one.at:.1f} s ago; {watch.state}")
        memory.stop()
    watch.close()
    watch.judge.close()
    probe.close()
    for note in watch.judge.notes:
        at = float(note.split()[0])
        near = [f"{one.what} at {one.at:.3f}" for one in watch.stops.incidents if one.at < at][-2:]
        print("unsafe:", note, "after", ", ".join(near))
    for when, reason in watch.stops.unplanned:
        print(f"unplanned stop after {when - began:.1f} s: {reason}")
    return (
        figures(watch, memory, began, ran)
        | {"soak_kills": len(killed), "soak_recoveries": recoveries}
        | bag_integrity(folder, killed.count("recorder_node"))
    )


def figures(watch: Watch, memory: MemoryWatch, began: float, ran: float) -> dict[str, float]:
    """What came of it, in numbers; ids are explained in docs/safety.md."""
    incidents = [one for one in watch.stops.incidents if one.what != "start"]
    back = [one.recovered_s for one in incidents if one.stopped and one.recovered_s is not None]
    at, latency = np.array(watch.latency).T
    thirds = [latency[(at - began) // (ran / 3) == i] for i in range(3)]
    growth, each = memory.growth_mb(ran)
    for name, value in sorted(each.items()):
        print(f"{name}: {value:+.1f} MB")
    by_kind: dict[str, list[float]] = {}
    for one in incidents:
        if one.stopped and one.recovered_s is not None:
            by_kind.setdefault(one.what, []).append(one.recovered_s)
    for kind, values in sorted(by_kind.items()):
        print(f"{kind}: {len(values)} stops, {np.median(values):.1f} s (at most {max(values):.1f})")
    print("violations:", dict(watch.judge.violations))
    return {
        "soak_minutes": ran / 60.0,
        "soak_violations": sum(watch.judge.violations.values()),
        "soak_commands": watch.judge.commands,
        "soak_postures": watch.judge.postures,
        "soak_restart_step_max": watch.judge.largest_restart,
        "soak_faults": sum(not one.what.startswith("kill") for one in incidents),
        "soak_stops": sum(one.stopped for one in incidents),
        "soak_unplanned_stops": len(watch.stops.unplanned),
        "soak_not_recovered": len(watch.stops.open),
        "soak_recovery_s_p50": float(np.median(back)) if back else 0.0,
        "soak_recovery_s_max": max(back, default=0.0),
        "soak_growth_mb": growth,
        "soak_latency_ms_p50": 1e3 * float(np.median(latency)),
        "soak_latency_ms_p95": 1e3 * float(np.percentile(latency, 95)),
        "soak_latency_drift_ms": 1e3 * float(np.median(thirds[2]) - np.median(thirds[0])),
    }


def main() -> int:
    """Run, print and write the figures; status 1 where one is out of reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--kill", nargs="+", default=[], help="these nodes instead of all")
    parser.add_argument("--kill-gap", type=float, default=KILL_GAP_S, help="about so often [s]")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak_"))
    try:
        bag = folder / "bag"
        found = soak(options.minutes, options.seed, bag, options.kill, options.kill_gap)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    missed = []
    for name, value in found.items():
        sign, bound = REACH.get(name, ("", 0.0))
        good = not sign or (value <= bound if sign == "<=" else value < bound)
        missed += [] if good else [name]
        print(f"{name:28s} {value:12.4g} {f'{sign} {bound:g}' if sign else ''}")
    report = {"seed": options.seed, **{k: round(float(v), 6) for k, v in found.items()}}
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
