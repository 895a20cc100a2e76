"""The action decoder on motion that it has not learnt from, and on real hands.

``python tests/bench/run.py action``. Scenes are of the ``val`` world (other people, grasps and
cameras than training's), whole: gestures, reach, grasp, carry, place, and back. What an estimator
would have seen of the frames goes through the network, whole sequences at once; frame by frame, as
in the graph, :class:`manip_perception.action.ActionDecoder` says the same (``tests/unit/
test_action.py``) and is timed. A grasp is said to begin 0.2 s (four steps) after its probability
so far ahead has exceeded 0.7, for two frames, and to end when it has fallen below 0.1: with that,
most onsets of training's own hands were said in time, and hardly any twice. Its type is
the likeliest over the 0.2 s from the onset on, which is what the labels' rule looks at;
``_at_once_``: the one that is named in the second frame.

Real hands are those of DexYCB, where ``MANIP_DATA`` names a folder with them.
"""

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from manip_core.grasp_types import GRASP_NAMES, NUM_GRASP_TYPES
from manip_core.hand import RIGHT, Hand, SeenObject
from manip_core.manipulation import STEP
from manip_core.resources import find
from manip_model.action import ActionNetwork
from manip_model.action_features import SHIPPED, Sights, action_answers, gaps
from manip_perception.action import ActionDecoder
from manip_training.action.fit import load, told
from manip_training.action.grasp_rule import NEAR, PALM_NEAR, Shape, grasp_types
from manip_training.action.scenes import SceneDraw, Scenes
from manip_training.action.sight import EXACT, Sight, SightConfig

RATE, SECONDS, SEED = 30.0, 7.0, 20_000
_HANDLED, _GESTURES, _ANY = 200, 40, 60
# How far off an onset may be [s]; from which probability on, at which step, a grasp is
# said to be, and below which no longer; for how many frames; how sure an assistant asks it to be.
WITHIN, _SAID, _ENDED, _AT, _FRAMES, _SURE = 0.1, 0.7, 0.1, 3, 2, 0.7
# How long before it an onset is told, and for how long types are looked at after it [s].
_LEAD, _LOOK = (_AT + 1) * STEP, 0.2


@dataclass
class Spoken:
    """What the decoder said of one sequence of T frames.

    Attributes:
        times: ``(T,)`` [s].
        grasping: ``(T,)`` probability of a grasp ``_LEAD`` later.
        types: ``(T, 10)`` probability of each type.
        confidence: ``(T,)``.
    """

    times: np.ndarray
    grasping: np.ndarray
    types: np.ndarray
    confidence: np.ndarray

    def begun(self, least: float = 0.0) -> list[tuple[float, int, int]]:
        """When grasps were said to begin [s], of which type, and of which at once."""
        said = (self.grasping > _SAID) & (self.confidence >= least)
        found, held, going_on = [], 0, False
        for frame, now in enumerate(said):
            held = held + 1 if now else 0
            going_on &= bool(self.grasping[frame] >= _ENDED)
            if held >= _FRAMES and not going_on:
                going_on = True
                first = frame - _FRAMES + 1
                onset = self.times[first] + _LEAD
                look = (self.times >= onset) & (self.times <= onset + _LOOK)
                look[frame] |= not look.any()
                kinds = self.types[look].mean(0).argmax(), self.types[frame].argmax()
                found.append((onset, *map(int, kinds)))
        return found


def measure_action() -> dict[str, float]:
    """Seen with an estimator's errors, with those and the size of all things, exactly, and without
    objects: share of grasps whose type and
    onset are right, and each by itself; grasps that were none, a minute; cost; real hands.

    ``_rule_``: of the labels' own rule on what is seen. ``_any_``: of all stored grasps as often as
    they are stored, those between two types as well.
    """
    draw, figures = SceneDraw("val"), {}
    frames = round(SECONDS * RATE)
    any_draw = SceneDraw("val", balanced=False)
    any_scenes = any_draw.handled(_ANY, frames, RATE, SEED + 2, whole=True)
    scenes = draw.handled(_HANDLED, frames, RATE, SEED, whole=True)
    gestures = draw.gestures(_GESTURES, frames, RATE, SEED + 1)
    network = load(find(SHIPPED))
    for name, config in (
        ("action", SightConfig(smoothed=0.0, shown=1.0)),
        ("action_sized", SightConfig(smoothed=0.0, shown=1.0, sized=1.0, size=0.0)),
        ("action_exact", EXACT),
        ("action_unseen", SightConfig(smoothed=0.0, shown=0.0)),
    ):
        rows = np.flatnonzero(~scenes.must_show)
        spoken = listen(network, scenes, rows, config)
        truth = [scenes.grasps[row] for row in rows]
        figures |= {f"{name}_{key}": value for key, value in judged(spoken, truth, scenes).items()}
        idle = listen(network, gestures, np.arange(_GESTURES), config)
        figures[f"{name}_false_per_min"] = false_a_minute(idle)
        figures[f"{name}_false_sure_per_min"] = false_a_minute(idle, _SURE)
        if name == "action":
            plain = [by_rule(sights_of(scenes, rows, config), row) for row in range(len(rows))]
            for key, value in judged(plain, truth, scenes).items():
                figures[f"{name}_rule_{key}"] = value
            rows = np.flatnonzero(~any_scenes.must_show)
            spoken = listen(network, any_scenes, rows, config)
            truth = [any_scenes.grasps[row] for row in rows]
            figures[f"{name}_any_accuracy"] = judged(spoken, truth, any_scenes)["accuracy"]
            mimes = listen(network, scenes, np.flatnonzero(scenes.must_show), config)
            figures[f"{name}_mimed_false_per_min"] = false_a_minute(mimes)
    figures["action_cpu_ms"] = _cost_ms(scenes)
    figures["action_steady_share"] = float(np.mean(draw.steady))
    if os.environ.get("MANIP_DATA"):
        from real_handling import measure_real

        figures |= measure_real(network, Path(os.environ["MANIP_DATA"]))
    return figures


def listen(
    network: ActionNetwork, scenes: Scenes, rows: np.ndarray, config: SightConfig
) -> list[Spoken]:
    """What the network says of sequences that are seen so."""
    return spoken_of(network, sights_of(scenes, rows, config))


def sights_of(scenes: Scenes, rows: np.ndarray, config: SightConfig) -> Sights:
    """Of whole sequences, always with the same errors."""
    return Sight(config).see(scenes, rows, scenes.joints.shape[1], np.random.default_rng(SEED))


def by_rule(sights: Sights, row: int) -> Spoken:
    """What the labels' own rule would say of what is seen, without a look ahead or back: fingers
    and thumb, or palm, lie on the object."""
    size, turn, place = (
        getattr(sights, f"object_{name}")[row] for name in ("size", "rotation", "position")
    )
    joints = sights.joints[row]
    away = gaps(joints, turn, place, size, True)
    on = away[:, 1:5].min(1) < NEAR
    on &= (away[:, 0] < NEAR) | (away[:, 5] < PALM_NEAR)
    known = (sights.object_confidence[row] > 0) & sights.seen[row] & size.all(1)
    return Spoken(
        times=np.array(sights.times[row]) - _LEAD,
        grasping=(on & known).astype(float),
        types=np.eye(NUM_GRASP_TYPES)[grasp_types(joints, turn, place, Shape(size[0], True))],
        confidence=np.ones(len(joints)),
    )


def spoken_of(network: ActionNetwork, sights: Sights) -> list[Spoken]:
    """Of each sequence."""
    with torch.no_grad():
        said = action_answers(network(*told(sights)))
    grasping = said["grasping"][..., _AT].sigmoid().numpy()
    types = said["type"].softmax(-1).numpy()
    confidence = said["confidence"][..., 0].sigmoid().numpy() * sights.seen
    return [
        Spoken(np.array(sights.times[row]), grasping[row], types[row], confidence[row])
        for row in range(len(grasping))
    ]


def observation(
    sights: Sights, row: int, frame: int
) -> tuple[Hand | None, float, tuple[SeenObject, ...]]:
    """A frame as an estimator tells it."""
    at = row, frame
    stamp = float(sights.times[at])
    hand = None
    if sights.seen[at]:
        hand = Hand(
            stamp=stamp,
            side=RIGHT,
            tracked=True,
            keypoints=sights.joints[at],
            confidence=float(sights.confidence[at]),
            contact=sights.contact[at],
        )
    things = ()
    if sights.object_confidence[at] > 0:
        size = sights.object_size[at]
        things = (
            SeenObject(
                name="object",
                position=sights.object_position[at],
                rotation=sights.object_rotation[at],
                confidence=float(sights.object_confidence[at]),
                size=size if size.any() else None,
            ),
        )
    return hand, stamp, things


def judged(spoken: list[Spoken], truth: list, scenes: Scenes) -> dict[str, float]:
    """Shares of the true grasps of sequences, what was said beside them, and the lead."""
    right, onset, kind, once, off, extra = [], [], [], [], [], 0
    confusion = np.zeros((NUM_GRASP_TYPES, NUM_GRASP_TYPES), dtype=int)
    for said, grasps in zip(spoken, truth, strict=True):
        begun = said.begun()
        extra += max(len(begun) - len(grasps), 0)
        for grasp in grasps:
            when = scenes.times[grasp.onset]
            near = min(begun, key=lambda one: abs(one[0] - when), default=(np.inf, -1, -1))
            # It is three frames, but not to the last bit.
            onset.append(abs(near[0] - when) <= WITHIN + 1e-6)
            kind.append(near[1] == grasp.kind)
            once.append(near[2] == grasp.kind)
            right.append(onset[-1] and kind[-1])
            if np.isfinite(near[0]):
                off.append(near[0] - when)
                confusion[grasp.kind, near[1]] += 1
    _print(confusion)
    return {
        "accuracy": float(np.mean(right)),
        "onset_share": float(np.mean(onset)),
        "type_share": float(np.mean(kind)),
        "at_once_share": float(np.mean(once)),
        "grasps": float(len(right)),
        "onset_off_ms_median": 1e3 * float(np.median(np.abs(off))) if off else np.nan,
        "extra_per_grasp": extra / max(len(right), 1),
    }


def false_a_minute(spoken: list[Spoken], least: float = 0.0) -> float:
    """Grasps that were said to begin where there was none."""
    minutes = sum(said.times[-1] - said.times[0] for said in spoken) / 60
    return sum(len(said.begun(least)) for said in spoken) / minutes


def _print(confusion: np.ndarray) -> None:
    """Types, true ones in rows, as they were named."""
    for name, row in zip(GRASP_NAMES, confusion, strict=True):
        print(f"  {name:<20}" + "".join(f"{count:5d}" for count in row))


def _cost_ms(scenes: Scenes) -> float:
    decoder, config = ActionDecoder(), replace(SightConfig(), shown=1.0)
    sights = Sight(config).see(scenes, np.arange(1), 150, np.random.default_rng(0))
    took = []
    for frame in range(150):
        given = observation(sights, 0, frame)
        began = time.perf_counter()
        decoder.update(*given)
        took.append(time.perf_counter() - began)
    return 1e3 * float(np.median(took[30:]))
