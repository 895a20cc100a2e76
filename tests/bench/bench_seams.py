"""Lost hands in the stream, and clips of the robot joined to one: part of ``transition``."""

from pathlib import Path

import numpy as np
import torch

from manip_bringup import seam
from manip_bringup.bag_arrays import BagArrays, Hands, Series
from manip_bringup.demonstration import Demonstration, demonstrate
from manip_bringup.episodes import UNMARKED, Episode
from manip_bringup.merge import merged
from manip_control.control_config import ControlConfig
from manip_control.guard import Guard, GuardConfig
from manip_control.limiter import Limiter
from manip_core.hand import Hand
from manip_core.robot_model import JOINT_NAMES, home, limits
from manip_perception.bridging import Bridge
from manip_perception.smoothing import HandSmoother
from manip_perception.transition import Transition
from manip_retargeting.measures import contact_from_distance
from manip_retargeting.retargeter import Retargeter
from manip_training.synthetic.world import SyntheticWorld, WorldConfig

RATE = 30.0
_SEED, _LOST = 60_000, (5, 15)
_CLIPS, _CLIP_SECONDS, _CONTROL_RATE = 12, 4.0, 125.0


def rendered(size: int, frames: int, seed: int) -> np.ndarray:
    """Joints ``(B, T, 21, 3)`` [m]."""
    world = SyntheticWorld(WorldConfig(variant="val", free=0.15), size=64)
    generator = torch.Generator().manual_seed(seed)
    return world.motions.draw(size, frames, RATE, generator).joints.double().numpy()


def measure_losses(model: Transition) -> dict[str, float]:
    """Losses of 5 to 15 frames in the stream, with the bridge and without: error while nothing is
    seen and in the half second after [mm], and the wrist's largest step around it [mm]."""
    rng = np.random.default_rng(_SEED)
    found: dict[str, list[float]] = {}
    for joints in rendered(48, 65, _SEED):
        first, again = 30, 30 + int(rng.integers(_LOST[0], _LOST[1] + 1))
        seen = np.ones(len(joints), bool)
        seen[first:again] = False
        for name, bridge in (("smoother", None), ("bridge", Bridge(model))):
            given = _stream(joints, seen, bridge)
            # What is not tracked stays where it was last.
            steps = np.linalg.norm(np.diff(given[first - 1 :, 0], axis=0), axis=-1)
            for key, value in (
                ("lost", mean_error(given[first:again], joints[first:again])),
                ("after", mean_error(given[again : again + 15], joints[again : again + 15])),
                ("step", steps.max()),
            ):
                found.setdefault(f"loss_{key}_{name}_mm", []).append(1e3 * float(value))
    return {name: float(np.mean(values)) for name, values in found.items()}


def mean_error(given: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of points ``(…, 3)``."""
    return float(np.linalg.norm(given - true, axis=-1).mean())


def _stream(joints: np.ndarray, seen: np.ndarray, bridge: Bridge | None) -> np.ndarray:
    """Keypoints ``(T, 21, 3)`` [m] of the smoother, or of the bridge behind it; where they have no
    hand the last one they had."""
    smoother, given = HandSmoother(), []
    for t, points in enumerate(joints):
        hand = Hand(stamp=t / RATE, keypoints=points, tracked=True, confidence=1.0)
        out = smoother.update(hand if seen[t] else None, t / RATE)
        out = bridge.update(out) if bridge else out
        given.append(out.keypoints if out.tracked else given[-1])
    return np.stack(given)


def measure_seams(model: Transition) -> dict[str, float]:
    """Clips of the robot that follows rendered hands, joined two by two."""
    bounds, guard = limits(), Guard(GuardConfig())
    clips = []
    for joints in rendered(_CLIPS, round(_CLIP_SECONDS * RATE), _SEED + 1):
        clips.append(_clip(joints, guard))
    ratios, plain, seconds = [], [], []
    for one, other in zip(clips[::2], clips[1::2], strict=True):
        whole = merged(one, other, bounds, model)
        first, last = whole.seams[0]
        ratios.append(max(seam.seam_ratios(whole.action, first, last, whole.fps).values()))
        both = np.vstack((one.action, other.action))
        hard = seam.seam_ratios(both, first, first - 1, whole.fps)
        plain.append(max(hard.values()))
        seconds.append((last - first + 1) / whole.fps)
    return {
        "merge_pairs": len(ratios),
        "merge_seam_ratio": max(ratios),
        "merge_seam_ratio_plain": float(np.median(plain)),
        "merge_seam_s": float(np.median(seconds)),
        "merge_seam_s_max": max(seconds),
    }


def _clip(joints: np.ndarray, guard: Guard) -> Demonstration:
    """A demonstration by a robot that follows a hand, at the control's own rate."""
    retargeter, config = Retargeter(), ControlConfig()
    hands = [
        Hand(
            stamp=t / RATE,
            keypoints=points,
            contact=contact_from_distance(points),
            confidence=1.0,
            tracked=True,
        )
        for t, points in enumerate(joints)
    ]
    engaged = retargeter.engage(home(), hands[0])
    if engaged.reason:
        raise RuntimeError(engaged.reason)
    targets = np.stack([retargeter.solve(hand, 1 / RATE).q for hand in hands])
    own = limits()
    rise = np.where(np.arange(len(JOINT_NAMES)) < 6, config.arm_rise_time, config.hand_rise_time)
    limiter = Limiter(own, own.acceleration / rise, guard, gain=config.gain)
    limiter.reset(home())
    times = np.arange(round(len(hands) / RATE * _CONTROL_RATE)) / _CONTROL_RATE
    told = [limiter.step(targets[int(t * RATE)], 1 / _CONTROL_RATE).copy() for t in times]
    return _recorded(joints, times, np.stack(told))


def _recorded(joints: np.ndarray, times: np.ndarray, told: np.ndarray) -> Demonstration:
    count = len(joints)
    exposures = np.arange(count) / RATE
    bag = BagArrays(
        path=Path("clip"),
        origin=0,
        end=float(times[-1]),
        states={name: Series(times, told[:, i]) for i, name in enumerate(JOINT_NAMES)},
        commands=Series(times, told),
        hands=Hands(
            times=exposures,
            keypoints=joints.astype(np.float32),
            keypoints_px=np.zeros((count, 21, 2), np.float32),
            confidence=np.ones(count, np.float32),
            tracked=np.ones(count, bool),
        ),
        exposures=exposures,
        pictures="",
        marks=[],
        problems=[],
    )
    return demonstrate(bag, Episode(0.0, float(times[-1]), UNMARKED), round(RATE))
