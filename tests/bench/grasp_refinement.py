"""Grasps refined by simulation before they are made: a search over small changes of the motion.

The cross-entropy method (Rubinstein 1999, "The cross-entropy method for combinatorial and
continuous optimization") draws changes of where the palm is led, of how far fingers and thumb are
closed, and of when help begins; plays each in the trial's own simulation; and goes on from the
best. The simulation knows the object and is the one that judges: what comes out is what foresight
could make of the recorded motion, and no hand that sees a new object for the first time.
"""

from dataclasses import replace

import numpy as np
from grasp_setting import HAND, Setting
from grasp_trial import LIFTED, IntentSource, Record, retarget, run_trial

from manip_control.assist_config import AssistConfig, GraspIntent
from manip_core import robot_model
from manip_core.hand import Hand

# Generations, motions in each, and those of them that it goes on from.
GENERATIONS, SIZE, ELITE = 4, 8, 3
# First spread of each number: the palm along the world's axes [m]; closing of the fingers and of
# the thumb [rad]; when help begins [s].
_SPREAD = np.array([0.012, 0.012, 0.012, 0.15, 0.15, 0.2])
_LEAST_SPREAD = 0.3 * _SPREAD
# Changes grow from nothing to all of them in so long before the object is touched [s].
_GROWS = 1.0
# Joints by finger and place in it that bend it.
_FINGERS = np.zeros((4, 4))
_FINGERS[:3, 1:] = 1.0
_THUMB = np.zeros((4, 4))
_THUMB[3, 2:] = 1.0


def refined(
    setting: Setting,
    source: IntentSource,
    config: AssistConfig,
    rng: np.random.Generator,
    *,
    keep: bool = False,
) -> tuple[Record, int]:
    """The best of the motions that were tried, and how many were; the first is the one as it is.

    Args:
        setting: The trial.
        source: What the decoder says.
        config: Of assist.
        rng: Where changes come from.
        keep: Remember MuJoCo's positions of the best.
    """
    mean, spread = np.zeros(len(_SPREAD)), _SPREAD
    best: tuple[float, np.ndarray] | None = None
    tried = 0
    for generation in range(GENERATIONS):
        drawn = mean + spread * rng.normal(size=(SIZE, len(mean)))
        if generation == 0:
            drawn[0] = 0.0
        scores = []
        for change in drawn:
            record = play(setting, change, source, config)
            tried += 1
            scores.append(_score(record))
            if best is None or scores[-1] > best[0]:
                best = scores[-1], change
            if record.outcome == "success":
                break
        if record.outcome == "success":
            break
        elite = drawn[np.argsort(scores)[-ELITE:]]
        mean, spread = elite.mean(axis=0), np.maximum(elite.std(axis=0), _LEAST_SPREAD)
    return play(setting, best[1], source, config, keep=keep), tried


def play(
    setting: Setting,
    change: np.ndarray,
    source: IntentSource,
    config: AssistConfig,
    *,
    keep: bool = False,
) -> Record:
    """A trial with its motion changed.

    Args:
        setting: The trial.
        change: ``(6,)`` as in ``_SPREAD``.
        source, config, keep: As for :func:`run_trial`.
    """
    times = np.array([hand.stamp for hand in setting.hands])
    share = np.clip((times - setting.touched) / _GROWS + 1.0, 0.0, 1.0)
    share = share * share * (3 - 2 * share)
    shift = change[:3] @ robot_model.camera_mount()[0]
    hands = [
        replace(hand, keypoints=hand.keypoints + part * shift)
        for hand, part in zip(setting.hands, share, strict=True)
    ]
    moved = replace(setting, hands=hands)
    closing = (change[3] * _FINGERS + change[4] * _THUMB).ravel()
    limits = robot_model.limits()
    targets = []
    for target, part in zip(retarget(moved), share, strict=True):
        if target is not None:
            target = target.copy()
            target[HAND] += part * closing
            target = np.clip(target, limits.lower, limits.upper)
        targets.append(target)

    def later(frames: list[Hand]) -> GraspIntent | None:
        # What was said so long ago is said now.
        said = [hand for hand in frames if hand.stamp <= frames[-1].stamp - change[5]]
        if change[5] <= 0.0 or not said:
            return source(frames)
        return replace(source(said), stamp=frames[-1].stamp)

    return run_trial(moved, targets, later, config=config, keep=keep)


def _score(record: Record) -> float:
    """How near it came to success: how high the object rose, how much of the time it was up."""
    up = np.clip(record.lift / LIFTED, 0.0, 1.0)
    return float(up.max() + up[-1] + 2 * up.mean() - (record.outcome == "knocked_over"))
