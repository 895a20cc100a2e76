"""Shape space, joint regressor and principal poses of the open hand."""

import numpy as np
from scipy.optimize import nnls

from manip_model.hand_regions import MESH_PARENTS
from open_hand.source import Hands

NUM_SHAPE = 10
_REACH = 0.04  # [m], vertices further from a joint have no say in where it lies


def shape_space(hands: Hands, grown: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict]:
    """Template ``(V, 3)`` and shape directions ``(V, 3, 10)``, and how well they hold the sample.

    Zeros are the mean of the grown-ups; each direction is as long as the sample's root mean square
    deviation from there along it, so that people lie within a few units.
    """
    flat = hands.vertices.reshape(len(hands.vertices), -1)
    template = flat[grown].mean(axis=0)
    away = flat - template
    _, spread, directions = np.linalg.svd(away, full_matrices=False)
    first = directions[:NUM_SHAPE]
    # A positive first value is a larger hand: signs of principal components are free.
    first = first * np.sign(first @ template)[:, None]
    scale = spread[:NUM_SHAPE] / np.sqrt(len(flat))
    left = (away - away @ first.T @ first).reshape(hands.vertices.shape)
    report = {
        "explained": (spread[:NUM_SHAPE] ** 2 / (spread**2).sum()).round(5).tolist(),
        "residual_mm": float(1e3 * np.linalg.norm(left, axis=-1).mean()),
        "residual_mm_95": float(1e3 * np.quantile(np.linalg.norm(left, axis=-1), 0.95)),
    }
    shape = (first * scale[:, None]).reshape(NUM_SHAPE, -1, 3).transpose(1, 2, 0)
    return template.reshape(-1, 3), shape, report


def shape_values(hands: Hands, template: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """``(N, 10)`` the least-squares shape of each hand."""
    basis = shape.reshape(-1, NUM_SHAPE)
    away = (hands.vertices - template).reshape(len(hands.vertices), -1)
    return np.linalg.lstsq(basis, away.T, rcond=None)[0].T


def joint_regressor(
    hands: Hands, weights: np.ndarray, template: np.ndarray, shape: np.ndarray
) -> tuple[np.ndarray, float]:
    """Sparse convex weights ``(16, V)`` of vertices, and the mean joint error [mm] they leave."""
    values = shape_values(hands, template, shape)
    design = np.column_stack((np.ones(len(values)), values))
    # (11, 16, 3): joints of the template, and how each shape value moves them.
    targets = np.linalg.lstsq(design, hands.joints.reshape(len(values), -1), rcond=None)[0]
    targets = targets.reshape(-1, 16, 3)
    known = np.concatenate((template[..., None], shape), axis=-1)  # (V, 3, 11)
    regressor = np.zeros((16, len(template)))
    for joint in range(16):
        parent = max(MESH_PARENTS[joint], 0)
        near = np.linalg.norm(template - targets[0, joint], axis=1) < _REACH
        own = np.flatnonzero(near & (weights[:, [joint, parent]].max(axis=1) > 0.02))
        system = known[own].transpose(2, 1, 0).reshape(-1, len(own))
        goal = targets[:, joint].ravel()
        # The last rows ask for a sum of one, and spread the weights over many vertices.
        even = 3e-4 * np.eye(len(own))
        system = np.concatenate((system, np.ones((1, len(own))), even))
        goal = np.concatenate((goal, [1.0], np.zeros(len(own))))
        found, _ = nnls(system, goal)
        regressor[joint, own] = found / found.sum()
    error = np.linalg.norm(regressor @ hands.vertices - hands.joints, axis=-1)
    return regressor, float(1e3 * error.mean())
