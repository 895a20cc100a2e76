"""The thresholds by which grasps are labelled, and what that rule says of a hand that is not seen
exactly.

:mod:`manip_training.action.grasp_rule` has the rule itself, in words. It asks whether numbers are
below thresholds, and an estimator's are off; so each question is answered here by the probability
that the true number would be below, if it lay about the seen one with a normal distribution, and
answers are multiplied as if their errors had nothing to do with each other. The more exactly things
are seen, the more that is the rule.
"""

import numpy as np
from scipy.special import ndtr

from manip_core.grasp_types import NUM_GRASP_TYPES, GraspType

# Gap below which a finger, or the palm, lies on an object [m].
NEAR, PALM_NEAR = 0.010, 0.014
# Of the thumb beside the index finger: least share of the way that is across the palm, farthest
# [m], and the cosine of the least turn of the last phalanx.
ACROSS, SIDE, CURLED = 0.5, 0.08, float(np.cos(np.radians(80)))
# Ratios of sides, and the greatest cosine between the grip and the thin side.
FLAT, ROUND, COMPACT, IN_PLANE = 0.5, 0.65, 1.7, 0.7
LARGE = 0.052  # [m]
# Deviation of gaps [m] for which an answer is told: from exactly seen to what estimators see.
DEVIATIONS = (0.003, 0.008, 0.016)
NUM_RULED = len(DEVIATIONS) * (NUM_GRASP_TYPES + 1)
# Deviations of cosines for each metre of that, of logarithms of sides, and of a cylinder's two
# diameters; farthest apart that the latter's logarithms are.
_COSINE, _SIDES, _AS_ROUND = 15.0, 0.05, 0.1


def round_sided(size: np.ndarray) -> np.ndarray:
    """Which things of size ``(…, 3)`` [m] are taken for cylinders ``(…)``: as wide as deep."""
    wide, deep = np.moveaxis(np.log(np.maximum(size[..., :2], 1e-3)), -1, 0)
    return np.abs(wide - deep) < _AS_ROUND


def expected_types(
    away: np.ndarray, beside: np.ndarray, along: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """``(…, NUM_RULED)`` for each of ``DEVIATIONS``: probability of each type, if this is a grasp,
    and that thumb or palm, and a finger beside it, lie on the thing.

    Args:
        away: ``(…, 6)`` gaps between flesh and thing, fingers' and the palm's [m].
        beside: ``(…, 3)`` of :func:`manip_model.action_features.beside_index`.
        along: ``(…, 3)`` cosines between the fingers' grip and the thing's sides.
        size: ``(…, 3)`` of the thing along its sides [m].
    """
    off = np.array(DEVIATIONS)
    on = ndtr((NEAR - away[..., None, :5]) / off[:, None])  # (…, D, 5)
    palm = ndtr((PALM_NEAR - away[..., None, 5]) / off)
    apart, across, curled = np.moveaxis(beside[..., None, :], -1, 0)
    lateral = ndtr((across - ACROSS) / (_COSINE * off)) * ndtr((SIDE - apart) / off)
    lateral = lateral * ndtr((CURLED - curled) / (_COSINE * off)) * (1 - on[..., 2:]).prod(-1)
    none, one, two = _counted(on[..., 1:])

    order = np.argsort(size, -1, kind="stable")
    sides = np.log(np.maximum(np.take_along_axis(size, order, -1), 1e-3))[..., None, :]
    a, b, c = np.moveaxis(sides, -1, 0)
    flat = ndtr((np.log(FLAT) - a + b) / _SIDES) * ndtr((b - c - np.log(ROUND)) / _SIDES)
    compact = ndtr((np.log(COMPACT) - c + a) / _SIDES)
    large = ndtr((0.5 * (a + b) - np.log(LARGE)) / _SIDES)
    thin = np.take_along_axis(np.abs(along), order[..., :1], -1)
    disk = flat * ndtr((IN_PLANE - thin) / (_COSINE * off))

    free = 1 - lateral
    power, tips = free * palm * (1 - none - one), free * (1 - palm)
    many = tips * (1 - none - one - two)
    said = np.empty((*lateral.shape, NUM_GRASP_TYPES + 1))
    said[..., GraspType.POWER_DISK] = power * disk
    said[..., GraspType.POWER_SPHERE] = power * (1 - disk) * compact
    said[..., GraspType.LARGE_DIAMETER] = power * (1 - disk) * (1 - compact) * large
    said[..., GraspType.SMALL_DIAMETER] = power * (1 - disk) * (1 - compact) * (1 - large)
    said[..., GraspType.PRECISION_DISK] = many * disk
    said[..., GraspType.PRECISION_SPHERE] = many * (1 - disk) * compact
    said[..., GraspType.PRISMATIC_4_FINGER] = many * (1 - disk) * (1 - compact)
    said[..., GraspType.TRIPOD] = tips * two
    said[..., GraspType.PALMAR_PINCH] = free * (none + one)
    said[..., GraspType.LATERAL] = lateral
    said[..., -1] = (1 - none) * (1 - (1 - on[..., 0]) * (1 - palm))
    return said.reshape(*said.shape[:-2], NUM_RULED)


def _counted(on: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(…)`` probability that none, one, and two of ``(…, 4)`` are true."""
    count = np.zeros((*on.shape[:-1], 3))
    count[..., 0] = 1.0
    for finger in np.moveaxis(on, -1, 0):
        more = count[..., :-1] * finger[..., None]
        count = count * (1 - finger[..., None])
        count[..., 1:] += more
    return count[..., 0], count[..., 1], count[..., 2]
