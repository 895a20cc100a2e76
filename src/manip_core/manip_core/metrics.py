"""Figures of merit of hands. Lengths in are metres; those named ``_mm`` come out in millimetres.

A mask ``valid`` says which labels exist; what stands where none exists may be anything, NaN
included. In an array of errors NaN means "no label" and infinity "missed altogether": a prediction
that is not finite where there is a label is infinitely wrong, and is never left out of a mean.
"""

import numpy as np

# [mm]: where the curve of correct keypoints is taken; 0 to 50 mm is the range of Zimmermann et al.
# 2019, "FreiHAND", and of most hand papers since.
PCK_THRESHOLDS_MM = np.linspace(0.0, 50.0, 101)


def joint_errors_mm(
    predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """Distances ``(…, J)`` [mm] of points ``(…, J, 3)`` in [m]; NaN where ``valid`` is False."""
    _check_points(predicted, true)
    return labelled(1e3 * np.linalg.norm(predicted - true, axis=-1), valid)


def labelled(errors: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Errors with NaN where ``valid`` is False, and infinity for NaN where it is True."""
    valid = True if valid is None else valid
    return np.where(valid, np.where(np.isnan(errors), np.inf, errors), np.nan)


def labelled_mean(errors: np.ndarray, axis: int | tuple[int, ...] | None = -1) -> np.ndarray:
    """Mean of the errors that are not NaN; NaN where there are none."""
    there = ~np.isnan(errors)
    count = there.sum(axis)
    total = np.where(there, errors, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def mpjpe_mm(
    predicted: np.ndarray,
    true: np.ndarray,
    valid: np.ndarray | None = None,
    *,
    root: int | None = None,
) -> np.ndarray:
    """Mean per-joint position error of ``(…, J, 3)`` points in [m]; ``(…)`` in [mm].

    Args:
        predicted, true: In one frame.
        valid: ``(…, J)`` which joints are labelled; all, if not given.
        root: Both hands are moved so that this joint lies at the origin, and it counts in the mean
            as the zero it then is, as in FreiHAND and DexYCB. Without it the error is absolute.

    Returns:
        NaN where no joint, or not the root, is labelled.
    """
    if root is not None:
        predicted, true = root_relative(predicted, root), root_relative(true, root)
        valid = None if valid is None else valid & valid[..., root : root + 1]
    if valid is None:
        _check_points(predicted, true)
        return 1e3 * np.linalg.norm(predicted - true, axis=-1).mean(axis=-1)
    return labelled_mean(joint_errors_mm(predicted, true, valid))


def scale_mpjpe_mm(
    predicted: np.ndarray, true: np.ndarray, root: int, valid: np.ndarray | None = None
) -> np.ndarray:
    """MPJPE after the best scale about the root joint, whose two places are made one; ``(…)``."""
    if valid is not None:
        valid = valid & valid[..., root : root + 1]
    return mpjpe_mm(align_scale(predicted, true, root, valid), true, valid)


def pa_mpjpe_mm(
    predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """MPJPE after the best similarity transform of each pose (Procrustes-aligned).

    NaN where fewer than three joints are labelled: a similarity brings any two onto any two.
    """
    error = mpjpe_mm(align_similarity(predicted, true, valid), true, valid)
    return error if valid is None else np.where(valid.sum(-1) >= 3, error, np.nan)


def root_relative(points: np.ndarray, root: int) -> np.ndarray:
    """Points ``(…, J, 3)`` less the one in row ``root``."""
    return points - points[..., root : root + 1, :]


def align_scale(
    points: np.ndarray, onto: np.ndarray, root: int, valid: np.ndarray | None = None
) -> np.ndarray:
    """``points`` ``(…, J, 3)`` with their root moved to ``onto``'s, and scaled about it to fit.

    The scale is that of least squares, ``Σ p·o / Σ p·p`` over root-relative points, and never
    negative. (The evaluation of HO-3D, Hampali et al. 2020, "HOnnotate", takes the ratio of the two
    distances from the wrist to the middle knuckle instead.)
    """
    _check_points(points, onto)
    p, o = _masked(root_relative(points, root), valid), _masked(root_relative(onto, root), valid)
    scale = (p * o).sum((-1, -2)) / np.maximum((p * p).sum((-1, -2)), 1e-12)
    scale = np.maximum(scale, 0.0)[..., None, None]
    return scale * root_relative(points, root) + onto[..., root : root + 1, :]


def align_similarity(
    points: np.ndarray, onto: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """``points`` ``(…, J, 3)`` moved, turned and scaled to lie closest to ``onto``.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point
    patterns": the rotation is proper, so that a mirrored hand is not taken for a good one. Only
    the points that are ``valid`` ``(…, J)`` decide; all are moved.
    """
    _check_points(points, onto)
    mean_p, mean_o = _centre(points, valid), _centre(onto, valid)
    p, o = _masked(points - mean_p, valid), _masked(onto - mean_o, valid)
    u, s, vt = np.linalg.svd(np.swapaxes(o, -1, -2) @ p)
    sign = np.ones_like(s)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (s * sign).sum(-1) / np.maximum((p * p).sum((-1, -2)), 1e-12)
    return scale[..., None, None] * ((points - mean_p) @ np.swapaxes(rotation, -1, -2)) + mean_o


def pck(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Fraction ``(T,)`` of all labelled errors, of any shape, that are at most each threshold.

    "Percentage of correct keypoints", pooled over samples and joints as in FreiHAND; errors that
    are NaN have no label and do not count. NaN where no error counts.
    """
    errors = np.sort(errors[~np.isnan(errors)])
    if not errors.size:
        return np.full(len(thresholds), np.nan)
    return np.searchsorted(errors, thresholds, side="right") / errors.size


def area_under_curve(fractions: np.ndarray, thresholds: np.ndarray) -> float:
    """Area under a curve by the trapezoid rule, over its width: 1 for one that is 1 throughout."""
    width = thresholds[-1] - thresholds[0]
    if not width > 0:
        raise ValueError(f"thresholds must rise, got {thresholds[0]} to {thresholds[-1]}")
    middle = 0.5 * (fractions[1:] + fractions[:-1])
    return float((middle * np.diff(thresholds)).sum() / width)


def box_relative_errors(
    predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """Distances ``(…, J)`` of pixels ``(…, J, 2)`` over the hand's size in the picture.

    The size is the longer side of the upright box around the true labelled keypoints, by which HInt
    (Pavlakos et al. 2024, "HaMeR") and others norm theirs. NaN where the box has none.
    """
    if predicted.shape[-1] != 2 or true.shape[-1] != 2:
        raise ValueError(f"pixels must be (…, J, 2), got {predicted.shape} and {true.shape}")
    there = np.ones(true.shape[:-1], bool) if valid is None else valid
    high = np.where(there[..., None], true, -np.inf).max(-2)
    low = np.where(there[..., None], true, np.inf).min(-2)
    size = (high - low).max(-1)
    valid = there & (size > 0)[..., None]
    distance = np.linalg.norm(predicted - true, axis=-1)
    return labelled(distance / np.where(size > 0, size, 1.0)[..., None], valid)


def acceleration_errors_mm(
    predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """How far the accelerations of one sequence are apart, ``(T - 2, J)`` in [mm/frame²].

    ``|(p[t-1] - 2 p[t] + p[t+1]) - (q[t-1] - 2 q[t] + q[t+1])|``, Kanazawa et al. 2019, "Learning
    3D human dynamics from video"; per frame², as that paper and those after it compute it. Times
    the frame rate squared it is in [mm/s²].

    Args:
        predicted, true: ``(T, J, 3)`` in [m], frames at equal steps in time.
        valid: ``(T, J)``; an acceleration is labelled where its three joints are.
    """
    _check_points(predicted, true)
    if predicted.ndim != 3:
        raise ValueError(f"a sequence must be (T, J, 3), got {predicted.shape}")
    if valid is not None:
        valid = valid[:-2] & valid[1:-1] & valid[2:]
    difference = np.diff(predicted, 2, axis=0) - np.diff(true, 2, axis=0)
    return labelled(1e3 * np.linalg.norm(difference, axis=-1), valid)


def spread_ratio(
    predicted: np.ndarray, true: np.ndarray, root: int, valid: np.ndarray | None = None
) -> float:
    """Standard deviation of predicted over true root-relative joints ``(N, J, 3)``, over samples.

    Both variances are summed over joints and axes. Near 0, the model says the same hand for every
    picture; near 1, its hands differ as much as the true ones.
    """
    _check_points(predicted, true)
    if valid is None:
        valid = np.ones(true.shape[:-1], bool)
    valid = valid & valid[:, root : root + 1]
    spreads = [_variance(root_relative(points, root), valid) for points in (predicted, true)]
    return float(np.sqrt(spreads[0] / spreads[1])) if spreads[1] > 0 else np.nan


def path_length(positions: np.ndarray) -> float:
    """Length in [m] of a path through ``(N, 3)`` positions in [m]."""
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=-1).sum())


def _variance(points: np.ndarray, valid: np.ndarray) -> float:
    """Variance over samples of ``(N, J, 3)`` points, summed over joints and axes."""
    count = np.maximum(valid.sum(0), 1)[:, None]
    mean = _masked(points, valid).sum(0) / count
    return float((_masked(points - mean, valid) ** 2 / count).sum())


def _centre(points: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """Mean ``(…, 1, 3)`` of the valid points."""
    if valid is None:
        return points.mean(axis=-2, keepdims=True)
    count = np.maximum(valid.sum(-1), 1)[..., None, None]
    return _masked(points, valid).sum(-2, keepdims=True) / count


def _masked(points: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    return points if valid is None else np.where(valid[..., None], points, 0.0)


def _check_points(predicted: np.ndarray, true: np.ndarray) -> None:
    shapes = predicted.shape, true.shape
    if any(len(s) < 2 or s[-1] != 3 for s in shapes) or shapes[0][-2] != shapes[1][-2]:
        raise ValueError(f"points must be (…, J, 3) with as many joints, got {shapes}")
