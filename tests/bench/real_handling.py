"""Real hands that grasp real objects (DexYCB), for the action decoder and for the rule behind it.

Recordings are CC BY-NC: they judge, nothing learns from them. An object is the box or cylinder of
its published size. The axes of its scan are not those of the primitive, so of their six orders it
takes the one on whose surface the fingers lie best while it moves.
"""

from itertools import permutations
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from manip_core.grasp_types import NUM_GRASP_TYPES
from manip_model.action_features import gaps
from manip_model.config import YCB_CLASSES
from manip_training.action.labels import find_grasps, first_motion
from manip_training.action.scenes import SHAPES, Scenes
from manip_training.action.sight import EXACT, Sight, SightConfig

FILE = "dexycb_motion/dexycb_right_subjects_01_07.npz"
RATE = 30.0
_LEAST = 30  # frames
_DEEP = 0.01  # [m]


def load(folder: Path) -> list[dict]:
    """Sequences: ``joints (T, 21, 3)``, ``rotation``, ``position`` of the object, its ``index``.

    Frames without a hand are left out; they lie at the beginnings and ends.
    """
    path = folder / FILE
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there")
    with np.load(path) as file:
        data = {name: file[name] for name in file.files}
    found = []
    for name in np.unique(data["seq"]):
        rows = np.flatnonzero((data["seq"] == name) & data["valid"])
        rows = rows[np.argsort(data["frame"][rows])]
        if len(rows) < _LEAST or (np.diff(data["frame"][rows]) != 1).any():
            continue
        found.append(
            {
                "index": YCB_CLASSES.index(str(data["obj"][rows[0]])),
                "joints": data["joints_mp21"][rows].astype(float),
                "rotation": Rotation.from_rotvec(data["obj_rotvec"][rows]).as_matrix(),
                "position": data["obj_trans"][rows].astype(float),
            }
        )
    return found


def along_primitives(sequences: list[dict]) -> None:
    """Turn each object's axes, in place, to those of its primitive."""
    for index in {one["index"] for one in sequences}:
        own = [one for one in sequences if one["index"] == index]
        order = min(permutations(range(3)), key=lambda order: _misfit(own, order))
        for one in own:
            one["rotation"] = _ordered(one["rotation"], order)


def _ordered(rotation: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    turned = rotation[..., list(order)].copy()
    turned[..., 2] *= np.linalg.det(turned)[..., None]
    return turned


def _misfit(sequences: list[dict], order: tuple[int, ...]) -> float:
    """How far thumb and fingers are from the surface, or too deep inside, in the last frames."""
    total = []
    for one in sequences:
        last = slice(-15, None)
        shape = SHAPES[one["index"]]
        turned = _ordered(one["rotation"][last], order)
        away = gaps(one["joints"][last], turned, one["position"][last], shape.size, shape.box)
        total.append(np.clip(np.maximum(away, -2 * (away + _DEEP)), 0, 0.03)[:, :4].mean())
    return float(np.mean(total))


def scenes_of(sequences: list[dict]) -> list[Scenes]:
    """One of each, with the grasps that the rule finds."""
    made = []
    for one in sequences:
        times = np.arange(len(one["joints"])) / RATE
        shape = SHAPES[one["index"]]
        grasps = find_grasps(times, one["joints"], one["rotation"], one["position"], shape)
        made.append(
            Scenes(
                times=times,
                joints=one["joints"][None],
                index=np.array([one["index"]]),
                rotation=one["rotation"][None],
                position=one["position"][None],
                grasps=[grasps],
                must_show=np.zeros(1, dtype=bool),
                scale=np.ones(1),
            )
        )
    return made


def measure_real(network, folder: Path) -> dict[str, float]:
    """The rule's onsets against the objects' first motion; the decoder's answers against the rule,
    of hands and objects as they are labelled, and as an estimator would have seen them."""
    from bench_action import WITHIN, judged, spoken_of

    sequences = load(folder)
    along_primitives(sequences)
    made = scenes_of(sequences)
    off, kinds = [], []
    for scenes in made:
        motion = first_motion(scenes.times, scenes.position[0])
        if motion is not None and scenes.grasps[0]:
            off.append(scenes.times[motion] - scenes.times[scenes.grasps[0][0].onset])
            kinds.append(scenes.grasps[0][0].kind)
    figures = {
        "action_real_sequences": float(len(made)),
        "action_real_rule_found": float(np.mean([bool(scenes.grasps[0]) for scenes in made])),
        "action_real_rule_lead_ms": 1e3 * float(np.median(off)),
        "action_real_rule_within": float(np.mean(np.abs(off) <= WITHIN)),
        "action_real_types": float(
            (np.bincount(kinds, minlength=NUM_GRASP_TYPES) >= 0.02 * len(kinds)).sum()
        ),
    }
    for name, config in (("exact", EXACT), ("seen", SightConfig(smoothed=0.0, shown=1.0))):
        spoken, truth = [], []
        rng = np.random.default_rng(0)
        for scenes in made:
            sights = Sight(config).see(scenes, np.arange(1), len(scenes.times), rng)
            spoken += spoken_of(network, sights)
            truth.append(scenes.grasps[0][:1])
        longest = max(made, key=lambda scenes: len(scenes.times))
        for key, value in judged(spoken, truth, longest).items():
            figures[f"action_real_{name}_{key}"] = value
    return figures
