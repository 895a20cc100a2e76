"""The transition model beside what needs no learning: gaps, forecasts, objects in the way.

``python tests/bench/run.py transition``, with ``MANIP_TRANSITION`` naming other weights than those
that ship, and ``MANIP_REFINEMENT`` weights of the refinement, of which none ship. Gaps are cut from
motions of the ``val`` world (other people and numbers than training's) and, where ``MANIP_DATA`` is
set, from real hands that grasp (DexYCB; nothing was trained on them). All are told the same frames
on either side, without errors.
"""

import os
import time
from pathlib import Path

import numpy as np
from bench_seams import RATE, mean_error, measure_losses, measure_seams, rendered
from scipy.spatial.transform import Rotation

from manip_model.hand_state import HandState, state_of
from manip_model.transition_features import CONTEXT, Gap, guesses, hands_of, window
from manip_perception.clearance import Near, kept_clear
from manip_perception.transition import Transition, TransitionNetwork, filled_gap
from manip_perception.transition_refinement import Refinement
from manip_training.data.primitives import PRIMITIVES
from manip_training.transition.distance_fields import of_mesh
from manip_training.transition.gaps import Cut, cut_gap

GAPS = (5, 10, 15)
_SEQUENCES, _FRAMES, _SEED, _APART = 256, 60, 50_000, 11
# Of the real sequences, those that are looked at for objects.
_EVERY = 4


def measure_transition() -> dict[str, float]:
    """All figures; ratios are ours over the best of the others."""
    model = _model()
    motions = rendered(_SEQUENCES, _FRAMES, _SEED)
    figures = _gaps(model, [motions], "transition")
    figures |= _forecasts(model, [motions])
    figures["transition_ms"] = _cost_ms(model)
    figures |= _refined(model, motions[:24])
    if folder := os.environ.get("MANIP_DATA"):
        figures |= _gaps(model, _real(Path(folder)), "transition_dexycb")
        figures |= _about_objects(model, Path(folder))
    return figures | measure_losses(model) | measure_seams(model)


def _model() -> Transition:
    path = os.environ.get("MANIP_TRANSITION")
    return Transition(TransitionNetwork.read(path)) if path else Transition.shipped()


def _real(folder: Path) -> list[np.ndarray]:
    """Joints ``(1, T, 21, 3)`` [m] of every stretch in which a hand is labelled all along."""
    path = folder / "dexycb_motion" / "dexycb_right_subjects_01_07.npz"
    with np.load(path) as file:
        held = {name: file[name] for name in ("seq", "frame", "valid", "joints_mp21")}
    breaks = (held["seq"][1:] != held["seq"][:-1]) | (np.diff(held["frame"]) != 1)
    breaks |= ~held["valid"][1:] | ~held["valid"][:-1]
    ends = np.flatnonzero(breaks) + 1
    parts = np.split(held["joints_mp21"].astype(float), ends)
    shortest = max(GAPS) + 2 * CONTEXT
    sound = [part for part in parts if len(part) >= shortest and np.isfinite(part).all()]
    return [part[None] for part in sound]


def _cut(motions: list[np.ndarray], frames: int, after: int) -> Cut:
    """Gaps that begin every so many frames of all motions."""
    whole = CONTEXT + frames + after
    parts = [
        joints[:, first : first + whole]
        for joints in motions
        for first in range(0, joints.shape[1] - whole + 1, _APART)
    ]
    return cut_gap(state_of(np.concatenate(parts)), CONTEXT, after, RATE)


def _hands(values: np.ndarray, cut: Cut) -> np.ndarray:
    """Joints ``(B, G, 21, 3)`` [m], against the last hand before the gap."""
    size, frames = values.shape[:2]
    palm = np.broadcast_to(cut.palm[:, None], (size, frames, 5, 3))
    lengths = np.broadcast_to(cut.lengths[:, None], (size, frames, 15))
    turn = np.broadcast_to(np.eye(3), (size, 3, 3))
    return hands_of(values, turn, np.zeros((size, 3)), palm, lengths)


def _guessed(gap: Gap) -> dict[str, np.ndarray]:
    """What needs no learning, by name."""
    held = np.repeat(gap.before[:, -1:], len(gap.times), axis=1)
    if not len(gap.after_times):
        _, soon, late, hardly = guesses(gap)
        return {"hold": held, "fading_soon": soon, "fading_late": late, "going_on": hardly}
    straight, cubic, spline, fifth = guesses(gap)
    named = {"hold": held, "linear": straight, "hermite": cubic, "spline": spline}
    return named | {"quintic": fifth}


def _compared(model: Transition, cut: Cut, prefix: str) -> dict[str, float]:
    """Errors of everyone [mm] from the wrist and in space, and ours over the best of those that
    people use; a polynomial of the fifth degree is one of our own guesses, and told apart."""
    true = _hands(cut.true, cut)
    ours, deviation = filled_gap(model.network, cut.gap)
    figures, means = {}, {}
    for name, values in (_guessed(cut.gap) | {"ours": ours}).items():
        hands = _hands(values, cut)
        off = _rooted(hands) - _rooted(true)
        pair = [1e3 * np.linalg.norm(x, axis=-1).mean() for x in (off, hands - true)]
        means[name] = np.array(pair)
        figures |= {f"{prefix}_{name}_mm": pair[0], f"{prefix}_{name}_in_space_mm": pair[1]}
        if name == "ours":
            within = np.abs(off[:, :, 1:]) <= deviation[:, :, 1:, None]
            figures[f"{prefix}_within_deviation_fraction"] = within.mean()
    best = np.min([means[name] for name in means if name not in ("ours", "quintic")], axis=0)
    rooted, whole = means["ours"] / best
    figures |= {f"{prefix}_ratio": rooted, f"{prefix}_in_space_ratio": whole}
    if "quintic" in means:
        rooted, whole = means["ours"] / means["quintic"]
        figures[f"{prefix}_to_quintic_ratio"] = rooted
        figures[f"{prefix}_to_quintic_in_space_ratio"] = whole
    return figures


def _gaps(model: Transition, motions: list[np.ndarray], prefix: str) -> dict[str, float]:
    figures = {}
    for frames in GAPS:
        found = _compared(model, _cut(motions, frames, CONTEXT), f"{prefix}_{frames}")
        figures |= found | {f"{prefix}_ratio_{frames}": found[f"{prefix}_{frames}_ratio"]}
    return figures


def _forecasts(model: Transition, motions: list[np.ndarray]) -> dict[str, float]:
    figures = {}
    for frames in GAPS:
        figures |= _compared(model, _cut(motions, frames, 0), f"forecast_{frames}")
    return figures


def _cost_ms(model: Transition) -> float:
    """A gap of 15 frames, alone."""
    cut = _cut([rendered(1, 30, _SEED + 1)], max(GAPS), CONTEXT)
    times = []
    for _ in range(30):
        began = time.perf_counter()
        filled_gap(model.network, cut.gap)
        times.append(time.perf_counter() - began)
    return 1e3 * float(np.median(times))


def _refined(model: Transition, motion: np.ndarray) -> dict[str, float]:
    """Gaps of 15 frames as diffusion would have them: one motion, the likeliest, the mean of eight;
    and how large the third differences of each are over those of the truth. Empty without weights.
    """
    path = os.environ.get("MANIP_REFINEMENT")
    if not path:
        return {}
    refined, rng = Refinement.read(model.network, path), np.random.default_rng(_SEED)
    cut = _cut([motion], max(GAPS), CONTEXT)
    true = _rooted(_hands(cut.true, cut))
    eight = [refined(cut.gap, rng) for _ in range(8)]
    told = {
        "mean": filled_gap(model.network, cut.gap)[0],
        "one": eight[0],
        "of_eight": np.mean(eight, axis=0),
        "likeliest": refined(cut.gap, rng, noise=0.0),
        "spline": guesses(cut.gap)[2],
    }
    figures, jerk = {}, _third(true)
    for name, values in told.items():
        hands = _rooted(_hands(values, cut))
        figures[f"refined_{name}_mm"] = 1e3 * mean_error(hands, true)
        figures[f"refined_{name}_jerk_ratio"] = _third(hands) / jerk
    return figures | {"refined_ratio_15": figures["refined_one_mm"] / figures["refined_mean_mm"]}


def _third(hands: np.ndarray) -> float:
    """Size of the third differences."""
    return float(np.linalg.norm(np.diff(hands, 3, axis=1), axis=-1).mean())


def _rooted(hands: np.ndarray) -> np.ndarray:
    return hands - hands[:, :, :1]


def _about_objects(model: Transition, folder: Path) -> dict[str, float]:
    """Gaps of 15 frames by a real hand at an object, seen from the object: how deep the keypoints
    are in it [mm], and the error, with and without its distance field. What stands for the object
    is a box or cylinder of its published size about its origin; gaps in which the real hand goes
    into that are left out."""
    fields = {}
    depths: dict[str, list[float]] = {"true": [], "plain": [], "clear": []}
    errors: dict[str, list[float]] = {"plain": [], "clear": []}
    inside = slice(CONTEXT, CONTEXT + max(GAPS))
    for joints, name in _grasps(folder, max(GAPS) + 2 * CONTEXT):
        if name not in fields:
            fields[name] = Near(of_mesh(PRIMITIVES[name].mesh()), np.eye(3), np.zeros(3))
        state, near = state_of(joints), fields[name]
        alone = HandState(**{k: v[None] for k, v in vars(state).items()})
        gap = cut_gap(alone, CONTEXT, CONTEXT, RATE).gap
        values = filled_gap(model.network, gap)[0][0]
        frame = state.turn[CONTEXT - 1], state.wrist[CONTEXT - 1]
        sizes = state.palm[inside], state.lengths[inside]
        told = {"plain": values, "clear": kept_clear(values, window(gap), near, frame, sizes)}
        hands = {key: hands_of(one, *frame, *sizes) for key, one in told.items()}
        # Where the real hand is in it, it is no likeness of the real object.
        if near.depths(joints[inside]).max() > 2e-3 or not near.depths(hands["plain"]).any():
            continue
        for key, one in (hands | {"true": joints[inside]}).items():
            depths[key].append(1e3 * float(near.depths(one).max(-1).mean()))
            if key in errors:
                errors[key].append(1e3 * mean_error(one, joints[inside]))
    figures = {"object_gaps": float(len(errors["plain"]))}
    figures |= {f"object_depth_{key}_mm": float(np.mean(depths[key])) for key in depths}
    return figures | {f"object_error_{key}_mm": float(np.mean(errors[key])) for key in errors}


def _grasps(folder: Path, whole: int):
    """Stretches of real hands, in the frame of the object that they grasp, and its name."""
    path = folder / "dexycb_motion" / "dexycb_right_subjects_01_07.npz"
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    for name in np.unique(held["seq"])[::_EVERY]:
        rows = np.flatnonzero((held["seq"] == name) & held["valid"])
        for first in range(0, len(rows) - whole + 1, whole):
            chosen = rows[first : first + whole]
            if (np.diff(held["frame"][chosen]) != 1).any():
                continue
            turn = Rotation.from_rotvec(held["obj_rotvec"][chosen]).as_matrix()
            place = held["obj_trans"][chosen, None].astype(float)
            joints = (held["joints_mp21"][chosen].astype(float) - place) @ turn
            yield joints, str(held["obj"][chosen[0]])
