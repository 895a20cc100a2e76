"""The safety stack under fuzz: what it lets out, how fast it reacts, what it costs.

Random inputs of every kind, good, bad and absurd, go into the whole stack: gate, clutch,
uncertainty, limiter with guard, watchdog, stop. A judge that sees only the commands counts what
they must not do (`safety_fuzz.Judge`). Then reactions to stale input, emergency stop and protective
stop, and re-engagement after each fault.

``python tests/bench/bench_safety.py [--targets N] [--seed S]``
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [
    str(ROOT / "tests"),
    str(ROOT / "src/manip_core"),
    str(ROOT / "src/manip_control"),
]

from manip_control.controller import ENGAGED  # noqa: E402
from manip_control.jerk_limits import stopping_time  # noqa: E402
from manip_core.robot_model import JOINT_NAMES  # noqa: E402
from safety_fuzz import HOME, LIMITS, Rig, near  # noqa: E402

TARGETS = 1_000_000


class Fuzzer:
    """Draws what happens next; each draw is a target, good or bad, and perhaps an event."""

    def __init__(self, rig: Rig, rng: np.random.Generator):
        self._rig, self._rng = rig, rng
        self._aim = HOME.copy()
        self._drift = np.zeros(22)
        self._states = 0
        self._mood = "walk"

    def step(self) -> None:
        """Send one target, let something happen, and let a period pass."""
        rig, rng = self._rig, self._rng
        if rng.random() < 0.005:
            self._mood = str(rng.choice(["walk", "stand", "far", "jump", "rush", "garbage"]))
        self._target()
        if rng.random() < 0.02:
            self._event()
        self._states = max(self._states - 1, 0)
        elapsed = rig.period * (1.0 if rng.random() < 0.98 else rng.uniform(0.05, 6.0))
        rig.tick(states=self._states == 0, elapsed=elapsed)

    def _target(self) -> None:
        rig, rng = self._rig, self._rng
        if self._mood == "walk":
            self._drift = 0.97 * self._drift + 0.002 * rng.normal(size=22)
            self._aim = self._aim + self._drift + 0.002 * (HOME - self._aim)
        elif self._mood == "jump" and rng.random() < 0.03:
            self._aim = near(rng, HOME, rng.choice([0.2, 0.6, 1.5]))
        elif self._mood == "far" and rng.random() < 0.02:
            self._aim = rng.uniform(-20, 20, 22)
        elif self._mood == "rush":
            self._aim = near(rng, HOME, 1.0)
        if self._mood == "garbage" or rng.random() < 0.01:
            self._garbage()
        else:
            known = rng.random() < 0.3
            rig.aim(
                self._aim,
                age=0.03 + rng.uniform(0.0, 0.009),
                confidence=1.0 if rng.random() < 0.9 else rng.uniform(0, 1),
                deviation=rng.uniform(0, 0.15) if known else np.nan,
            )

    def _garbage(self) -> None:
        rig, rng = self._rig, self._rng
        kind = rng.integers(9)
        aim = self._aim.copy()
        if kind == 0:
            aim[rng.integers(22)] = rng.choice([np.nan, np.inf, -np.inf])
            rig.aim(aim)
        elif kind == 1:
            rig.aim(aim * 10.0 ** rng.integers(3, 300))
        elif kind == 2:
            rig.aim(aim[: rng.integers(22)])
        elif kind == 3:
            rig.aim(aim, age=float(rng.choice([-1.0, 5.0, np.nan, 1e18])))
        elif kind == 4:
            rig.aim(aim, confidence=float(rng.choice([np.nan, -1.0, 0.0, 2.0, np.inf])))
        elif kind == 5:
            rig.aim(aim, deviation=float(rng.choice([-1.0, np.inf, 1e9])))
        elif kind == 6:
            rig.aim(aim, names=("nobody", *JOINT_NAMES[1:]))
        elif kind == 7:
            some = rng.permutation(22)[: rng.integers(1, 22)]
            rig.aim(rng.uniform(-9, 9, len(some)), names=[JOINT_NAMES[i] for i in some])
        else:
            bad = rig.robot.position.copy()
            bad[rng.integers(22)] = np.nan
            try:
                rig.controller.on_joint_states(JOINT_NAMES, bad, rig.now)
            except ValueError:
                rig.refused += 1

    def _event(self) -> None:
        rig, rng, controller = self._rig, self._rng, self._rig.controller
        kind = rng.integers(20)
        if kind == 0:
            self._states = int(rng.integers(1, 100))
        elif kind == 1:
            rig.arm(safe=bool(rng.random() < 0.5), running=bool(rng.random() < 0.7))
        elif kind == 2:
            rig.arm(scaling=rng.uniform(0, 1))
        elif kind == 3:
            controller.stop("fuzz")
        elif kind == 4:
            rig.hold()
        elif kind == 5:
            controller.on_heartbeat(rig.now)
        elif kind == 6:
            rig.robot.dead = None if rng.random() < 0.7 else int(rng.integers(22))
        else:
            # Most of the time the robot is to run, and whatever was wrong is over.
            self._states = 0
            rig.arm()
            controller.reset_stop()
            rig.engage()


def clocked(rig: Rig, clock) -> list[float]:
    """From now on the times [s] of the controller's steps, on ``clock``, go into this list."""
    step, costs = rig.controller.step, []

    def timed(now):
        start = clock()
        command = step(now)
        costs.append(clock() - start)
        return command

    rig.controller.step = timed
    return costs


def fuzz(targets: int, seed: int = 0, say=print) -> dict[str, float]:
    """Counts and costs over so many targets."""
    rig = Rig(auto_engage=True)
    fuzzer = Fuzzer(rig, np.random.default_rng(seed))
    costs = clocked(rig, time.perf_counter)
    engaged = moving = blocked = 0
    began = time.perf_counter()
    for i in range(targets):
        fuzzer.step()
        controller = rig.controller
        engaged += controller.mode == ENGAGED
        moving += not controller.limiter.at_rest
        blocked += bool(controller.limiter.blocked)
        if i % 100_000 == 99_999:
            spent = time.perf_counter() - began
            say(f"  {i + 1} targets, {i / spent:.0f} a second, {rig.judge.total} violations")
    judge = rig.judge
    if judge.total:
        say(f"  violations: {judge.violations}")
    return {
        "fuzz_targets": targets,
        "fuzz_violations": judge.total,
        "fuzz_refused": rig.refused,
        "fuzz_commands": judge.commands,
        # Motions that began where the robot was found, not where the last one ended.
        "fuzz_restarts": judge.stretches,
        "fuzz_engaged_fraction": engaged / targets,
        "fuzz_moving_fraction": moving / targets,
        "fuzz_blocked_fraction": blocked / targets,
        "fuzz_targets_s": targets / (time.perf_counter() - began),
        "fuzz_step_ms_p50": 1e3 * np.percentile(costs, 50),
        "fuzz_step_ms_p99": 1e3 * np.percentile(costs, 99),
    }


def measure_cost(seconds: float = 40.0) -> dict[str, float]:
    """Processor time of a step while the robot follows a hand: a smooth motion at 30 Hz, in which
    the fingers bend and hardly spread."""
    rig = Rig()
    rig.tick()
    rig.engage()
    rng = np.random.default_rng(0)
    speed, phase = rng.uniform(0.5, 3.0, 22), rng.uniform(0, 6.28, 22)
    reach = np.array([0.15] * 6 + [0.03, 0.3, 0.3, 0.3] * 3 + [0.2] * 4)
    due, costs = rig.now, clocked(rig, time.thread_time)
    for _ in range(int(seconds / rig.period)):
        if rig.now >= due:
            due += 1 / 30
            rig.aim(HOME + reach * (np.sin(speed * rig.now + phase) - np.sin(phase)))
        rig.tick()
    # Reading that clock is a system call, and no part of the step.
    readings = [time.thread_time() for _ in range(1000)]
    costs = np.array(costs) - np.median(np.diff(readings))
    return {
        "safety_step_ms_p50": 1e3 * float(np.percentile(costs, 50)),
        "safety_step_ms_p99": 1e3 * float(np.percentile(costs, 99)),
    }


# What makes the robot stop: by name, what happens to the rig.
STOPS = {
    "stale": lambda rig: None,
    "estop": lambda rig: rig.controller.stop("bench"),
    "protective_stop": lambda rig: rig.arm(safe=False),
    "hold": lambda rig: rig.hold(),
}


def moving(seed: int, spread: float, longest: float) -> tuple[Rig, np.random.Generator]:
    """A rig under way to some posture near home, and what goes on drawing for it."""
    rng, rig = np.random.default_rng(seed), Rig()
    rig.tick()
    rig.engage()
    rig.follow(near(rng, HOME, spread), rng.uniform(0.1, longest))
    return rig, rng


def measure_reactions(runs: int = 60) -> dict[str, float]:
    """Time from an event to zero commanded velocity, less the deceleration that limits allow."""
    worst = dict.fromkeys(STOPS, 0.0)
    for name, happen in STOPS.items():
        for seed in range(runs):
            rig, rng = moving(seed, 0.5, 0.5)
            rig.aim(near(rng, HOME, 0.5))
            began = rig.now
            happen(rig)
            limiter, needed = rig.controller.limiter, 0.0
            while True:
                allowed = stopping_time(
                    limiter.velocity, limiter.acceleration, LIMITS.acceleration, limiter.jerk
                )
                needed = max(needed, allowed.max())
                rig.tick()
                if limiter.at_rest:
                    break
            worst[name] = max(worst[name], 1e3 * (rig.now - began - needed))
    return {
        **{f"reaction_ms_{name}": value for name, value in worst.items()},
        "reaction_ms_max": max(worst.values()),
    }


def _lost_states(rig: Rig) -> None:
    rig.ticks(50, states=False)


def _protective_stop(rig: Rig) -> None:
    rig.arm(safe=False)
    rig.ticks(250)
    rig.arm()


def _emergency_stop(rig: Rig) -> None:
    rig.controller.stop("bench")
    rig.ticks(150)
    rig.controller.reset_stop()


def _slowed(rig: Rig) -> None:
    rig.arm(scaling=0.3)
    rig.follow(HOME - 0.3, 1.5)
    rig.arm()


def _dead_joint(rig: Rig) -> None:
    rig.robot.dead = 8
    rig.follow(HOME - 0.3, 1.0)
    rig.robot.dead = None


def _hiccup(rig: Rig) -> None:
    rig.tick(elapsed=0.2)


# What goes wrong and is over again: by name, what happens to a rig that moves.
FAULTS = {
    "lost_states": _lost_states,
    "lost_targets": lambda rig: rig.ticks(200),
    "protective_stop": _protective_stop,
    "emergency_stop": _emergency_stop,
    "operator_s_hold": lambda rig: (rig.hold(), rig.ticks(100)),
    "slowed_arm": _slowed,
    "dead_joint": _dead_joint,
    "hiccup": _hiccup,
}


def measure_reengagement(runs: int = 20) -> dict[str, float]:
    """Largest step between commands that were sent one after the other, from a fault's beginning
    until half a second after the next engagement, in control periods at the speed limit."""
    worst = dict.fromkeys(FAULTS, 0.0)
    for name, happen in FAULTS.items():
        for seed in range(runs):
            rig, rng = moving(seed, 0.4, 0.6)
            sent = [rig.last]
            move = rig.robot.move

            def heard(command, dt, move=move, sent=sent):
                if command is not None:
                    sent.append(command)
                move(command, dt)

            rig.robot.move = heard
            happen(rig)
            for _ in range(400):
                rig.tick()
                if rig.engage():
                    break
            else:
                raise RuntimeError(f"no engagement after {name}: {rig.controller.reason}")
            rig.follow(near(rng, HOME, 0.3), 0.5)
            steps = np.abs(np.diff(sent, axis=0)) / (LIMITS.velocity * rig.period)
            worst[name] = max(worst[name], float(steps.max()))
    return {
        **{f"reengage_step_{name}": value for name, value in worst.items()},
        "reengage_step_max": max(worst.values()),
    }


def measure_safety(targets: int = TARGETS, seed: int = 0, say=print) -> dict[str, float]:
    """All figures of the safety stack."""
    return measure_reactions() | measure_reengagement() | measure_cost() | fuzz(targets, seed, say)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--targets", type=int, default=TARGETS, help="fuzzed targets")
    parser.add_argument("--seed", type=int, default=0, help="of the fuzz")
    arguments = parser.parse_args()
    figures = measure_safety(arguments.targets, arguments.seed)
    print(json.dumps({key: round(float(value), 4) for key, value in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
