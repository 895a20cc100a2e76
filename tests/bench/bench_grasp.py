"""Grasps counted: real grasp motion through retargeting and control, on objects in MuJoCo.

``python tests/bench/run.py grasp``, or ``python tests/bench/bench_grasp.py [--trials N]
[--arms plain,fingers,assist,assist_off,assist_unseen,assist_webcam,assist_oracle,physics]
[--tuning] [--rendered] [--pictures FOLDER]``

Success is the object lifted by 10 cm and held for 2 s. Contestants meet the same trials: the
operator's hand alone (``plain``); with his fingers helped, by the decoder that ships, which is
shown hand and object without error (``fingers``); with the palm led onto a grasp of the object as
well, whose shape and place are known, as ``assist:=true`` does (``assist``); the same with a
decoder that knows the sequence's own labels and the object's weight (``assist_oracle``); and
``assist`` with the grasp chosen by trying it in simulation first (``physics``, see
`grasp_refinement.py`). ``assist_off`` is ``assist`` whose object is told 5 mm and 5 degrees beside
where it is, in a direction of each trial's own. ``python tests/bench/run.py pantomime``: as before
a webcam, where there is a hand alone: ``assist_unseen`` is ``assist`` whose decoder is shown no
object, and ``assist_webcam`` that with the hand seen half a metre from the camera with an
estimator's errors (`manip_training.temporal.observer`), and smoothed as in the graph; nobody
looks at the robot and makes up for them.

Trials are sequences of five people; what there is to set was set on two others (``--tuning``).
With ``--rendered`` they are sequences of the synthetic world that validation is made of (``val``;
its training's with ``--tuning``).
"""

import argparse
import json
import os
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parent)]

from grasp_objects import OBJECTS  # noqa: E402
from grasp_refinement import refined  # noqa: E402
from grasp_sequences import (  # noqa: E402
    Grasp,
    placements,
    read_sequences,
    stand_up,
    up_directions,
)
from grasp_setting import Setting, seen, set_up  # noqa: E402
from grasp_trial import (  # noqa: E402
    OUTCOMES,
    IntentSource,
    Record,
    decoded,
    draw,
    oracle,
    retarget,
    run_trial,
)

from manip_control.assist_config import AssistConfig  # noqa: E402
from manip_control.guide_config import GuideConfig  # noqa: E402

ASSIST = AssistConfig(assist=True)
PHYSICS, OFF, UNSEEN, WEBCAM = "physics", "assist_off", "assist_unseen", "assist_webcam"
# How far it is told beside [m, rad].
_BESIDE, _TURNED = 0.005, np.radians(5.0)
# Who says what the human is about to do, and whether the palm is led.
ARMS: dict[str, tuple[Callable[[Setting], IntentSource] | None, bool]] = {
    "plain": (None, False),
    "fingers": (lambda setting: decoded(setting, ASSIST.intent_lead), False),
    "assist": (lambda setting: decoded(setting, ASSIST.intent_lead), True),
    OFF: (lambda setting: decoded(setting, ASSIST.intent_lead), True),
    UNSEEN: (lambda setting: decoded(setting, ASSIST.intent_lead, shown=False), True),
    WEBCAM: (lambda setting: decoded(setting, ASSIST.intent_lead, shown=False), True),
    "assist_oracle": (lambda setting: oracle(setting, ASSIST.intent_lead), True),
}
CONTESTANTS = ("plain", "assist", "assist_oracle", PHYSICS)
PANTOMIME = (UNSEEN, WEBCAM)
TRIALS, RENDERED, PANTOMIMED = 240, 60, 120
# What was looked at while settings were chosen.
TUNING = ("subject-01", "subject-02")


def measure_grasp(
    trials: int = TRIALS,
    arms: tuple[str, ...] = (*CONTESTANTS, OFF),
    *,
    tuning: bool = False,
    rendered: bool = False,
    pictures: Path | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Success of each contestant, all in all, by object, and why not.

    Args:
        trials: Most trials, chosen by ``seed``.
        arms: Contestants, of ARMS, and PHYSICS.
        tuning: On the people that settings were chosen with, instead of the others.
        rendered: On sequences of the synthetic world; names of figures begin ``grasp_rendered_``.
        pictures: Folder for a strip of pictures of each trial; None for none.
        seed: Of the choice.
    """
    outcomes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    count = 0
    grasps = _rendered(tuning, seed) if rendered else _grasps(tuning, seed)
    todo = [
        (grasp, arms, pictures and pictures / f"{i:03d}-{grasp.thing}")
        for i, grasp in enumerate(islice(grasps, trials), 1)
    ]
    workers = len(os.sched_getaffinity(0))
    # Trials know nothing of each other: what comes out does not depend on how many run at once.
    with get_context("fork").Pool(workers, maxtasksperchild=24) as pool:
        for (grasp, *_), (ended, spent) in zip(todo, pool.imap(_timed, todo), strict=True):
            count += 1
            for name, outcome in ended.items():
                outcomes[name].append((grasp.thing, outcome))
            said = ", ".join(f"{name} {outcome}" for name, outcome in ended.items())
            print(f"  {count:3d} {grasp.name} {grasp.thing}: {said} ({spent:.1f} s)", flush=True)
    return _figures(outcomes, count, "grasp_rendered" if rendered else "grasp")


def _timed(asked: tuple) -> tuple[dict[str, str], float]:
    """Of one trial what `_contest` says, and what it took of a core [s]."""
    began = time.process_time()
    return _contest(*asked), time.process_time() - began


def _grasps(tuning: bool, seed: int) -> Iterator[Grasp]:
    """Recorded grasps in an order of its own for each ``seed``."""
    sequences = read_sequences()
    ups = up_directions(sequences)
    where = placements(sequences, ups)
    chosen = [sequence for sequence in sequences if (sequence.subject in TUNING) == tuning]
    for i in np.random.default_rng(seed).permutation(len(chosen)):
        sequence = chosen[i]
        shape, placement = OBJECTS[sequence.thing], where[sequence.thing]
        grasp = stand_up(sequence, shape, ups[sequence.subject], placement)
        if grasp is None:
            print(f"      {sequence.name} {sequence.thing}: never lifted, left out", flush=True)
        else:
            yield grasp


def _rendered(tuning: bool, seed: int) -> Iterator[Grasp]:
    """Grasps of the synthetic world."""
    from grasp_rendered import rendered_grasps

    return rendered_grasps("train" if tuning else "val", seed)


def _contest(grasp: Grasp, arms: tuple[str, ...], pictures: Path | None) -> dict[str, str]:
    """Outcome of each contestant in one trial."""
    setting = set_up(grasp)
    if setting is None:
        return dict.fromkeys(arms, "out_of_reach")
    exact = setting, retarget(setting)
    ended, records = {}, {}
    keep = pictures is not None
    for name in arms:
        setting, targets = exact
        if name == WEBCAM:
            setting = seen(setting, zlib.crc32(grasp.name.encode()))
            targets = retarget(setting)
        if name == PHYSICS:
            source = ARMS["assist"][0](setting)
            first = records.get("assist")
            record, tried = refined(setting, targets, source, ASSIST, first, keep=keep)
            print(f"      {name}: {tried} grasps tried", flush=True)
        else:
            make, guided = ARMS[name]
            source = None if make is None else make(setting)
            guide = GuideConfig() if guided else None
            off = _told_off(grasp.name) if name == OFF else None
            record = run_trial(
                setting, targets, source, config=ASSIST, guide=guide, off=off, keep=keep
            )
        ended[name], records[name] = record.outcome, record
        if record.reason:
            print(f"      {name}: {record.reason}", flush=True)
        if pictures is not None:
            _save(Path(f"{pictures}-{name}-{record.outcome}.png"), setting, record)
    return ended


def _told_off(name: str) -> tuple[np.ndarray, np.ndarray]:
    """By how much the object is told beside where it is, of one trial."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    beside, about = rng.normal(size=(2, 3))
    return (
        _BESIDE * beside / np.linalg.norm(beside),
        _TURNED * about / np.linalg.norm(about),
    )


def _figures(
    outcomes: dict[str, list[tuple[str, str]]], count: int, prefix: str
) -> dict[str, float]:
    figures = {f"{prefix}_trials": float(count)}
    for name, rows in outcomes.items():
        figures[f"{prefix}_success_{name}"] = np.mean([out == "success" for _, out in rows])
    if "assist" in outcomes and PHYSICS in outcomes:
        ours, theirs = (figures[f"{prefix}_success_{name}"] for name in (PHYSICS, "assist"))
        figures[f"{prefix}_physics_ratio"] = ours / max(theirs, 1e-9)
    for name, rows in outcomes.items():
        counted = Counter(out for _, out in rows)
        for outcome in OUTCOMES[1:]:
            figures[f"{prefix}_{outcome}_{name}"] = counted[outcome] / len(rows)
    for name, rows in outcomes.items():
        for thing in sorted({thing for thing, _ in rows}):
            won = [out == "success" for one, out in rows if one == thing]
            figures[f"{prefix}_success_{name}_{thing}"] = np.mean(won)
    return {key: float(value) for key, value in figures.items()}


def _save(path: Path, setting: Setting, record: Record) -> None:
    from PIL import Image

    end = setting.hands[-1].stamp
    moments = [setting.touched, setting.taken + 0.2, setting.taken + 0.7, end]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(setting, record, moments)).save(path)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=TRIALS, help="most trials")
    parser.add_argument("--arms", default=",".join(CONTESTANTS), help="contestants, by commas")
    parser.add_argument("--tuning", action="store_true", help="on the people settings came from")
    parser.add_argument("--rendered", action="store_true", help="on the synthetic world's")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of each trial")
    given = parser.parse_args()
    there = (*ARMS, PHYSICS)
    unknown = sorted(set(given.arms.split(",")) - set(there))
    if unknown:
        parser.error(f"no such contestants {unknown}; there are {', '.join(there)}")
    figures = measure_grasp(
        given.trials,
        tuple(given.arms.split(",")),
        tuning=given.tuning,
        rendered=given.rendered,
        pictures=given.pictures,
    )
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
