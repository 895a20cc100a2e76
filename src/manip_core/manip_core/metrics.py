"""Figures of merit. Lengths in are metres; those named ``_mm`` come out in millimetres."""

import numpy as np


def mpjpe_mm(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Mean per-joint position error of ``(…, J, 3)`` points in [m]; ``(…)`` in [mm]."""
    return 1e3 * np.linalg.norm(predicted - true, axis=-1).mean(axis=-1)


def align_similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """``points`` ``(…, J, 3)`` moved, turned and scaled to lie closest to ``onto``.

    Umeyama 1991, "Least-squares estimation of transformation parameters between two point
    patterns": the rotation is proper, so that a mirrored hand is not taken for a good one.
    """
    mean_p, mean_o = points.mean(axis=-2, keepdims=True), onto.mean(axis=-2, keepdims=True)
    p, o = points - mean_p, onto - mean_o
    u, s, vt = np.linalg.svd(np.swapaxes(o, -1, -2) @ p)
    sign = np.ones_like(s)
    sign[..., -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * sign[..., None, :]) @ vt
    scale = (s * sign).sum(-1) / np.maximum((p * p).sum((-1, -2)), 1e-12)
    return scale[..., None, None] * (p @ np.swapaxes(rotation, -1, -2)) + mean_o


def pa_mpjpe_mm(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """MPJPE after the best similarity transform of each pose (Procrustes-aligned)."""
    return mpjpe_mm(align_similarity(predicted, true), true)


def path_length(positions: np.ndarray) -> float:
    """Length in [m] of a path through ``(N, 3)`` positions in [m]."""
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=-1).sum())
