"""Rotations as unit quaternions (x, y, z, w), matrices and rotation vectors."""

import numpy as np


def quaternion_from_matrix(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternion ``(4,)`` (x, y, z, w), w ≥ 0, of a proper rotation ``(3, 3)``.

    The largest of the four components is found first, which keeps the division well scaled
    (Shepperd 1978, "Quaternion from rotation matrix").
    """
    m = rotation
    trace = m[0, 0] + m[1, 1] + m[2, 2]
    squares = np.array([m[0, 0], m[1, 1], m[2, 2], trace])
    largest = int(np.argmax(squares))
    if largest == 3:
        q = np.array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1.0 + trace])
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q = np.empty(4)
        q[i] = 1.0 - trace + 2.0 * m[i, i]
        q[j] = m[j, i] + m[i, j]
        q[k] = m[k, i] + m[i, k]
        q[3] = m[k, j] - m[j, k]
    q /= np.linalg.norm(q)
    return -q if q[3] < 0 else q


def matrix_from_quaternion(quaternion: np.ndarray) -> np.ndarray:
    """Proper rotation ``(3, 3)`` of a quaternion ``(4,)`` (x, y, z, w) of any positive norm."""
    x, y, z, w = np.asarray(quaternion, dtype=float) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def angle(rotation: np.ndarray) -> np.ndarray:
    """Angle in [rad], 0 to π, of rotations ``(…, 3, 3)``."""
    cosine = (np.trace(rotation, axis1=-2, axis2=-1) - 1.0) / 2.0
    return np.arccos(np.clip(cosine, -1.0, 1.0))


def exponential(vector: np.ndarray) -> np.ndarray:
    """Rotation ``(3, 3)`` of a rotation vector ``(3,)`` [rad] (Rodrigues)."""
    angle = np.sqrt(vector @ vector)
    x, y, z = vector
    k = np.array(((0.0, -z, y), (z, 0.0, -x), (-y, x, 0.0)))
    if angle < 1e-8:
        return np.eye(3) + k
    return np.eye(3) + np.sin(angle) / angle * k + (1.0 - np.cos(angle)) / angle**2 * (k @ k)


def logarithm(rotation: np.ndarray) -> np.ndarray:
    """Rotation vector ``(3,)`` [rad] of a rotation ``(3, 3)`` by less than π."""
    odd = 0.5 * np.array(
        (
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        )
    )
    sine = np.sqrt(odd @ odd)
    cosine = 0.5 * (np.trace(rotation) - 1.0)
    return odd * (np.arctan2(sine, cosine) / sine) if sine > 1e-8 else odd
