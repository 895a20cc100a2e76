"""Robot-world and hand-eye in one: the camera in the world, and the board on the flange.

With ``Z`` the camera in the world, ``Y`` the board on the flange, ``A`` the flange in the world and
``B`` the board before the camera, every picture says ``A Y = Z B``. The closed solution of Shah
(2013, "Solving the robot-world/hand-eye calibration problem using the Kronecker product") begins,
and least squares on the pixels finish. Poses are homogeneous ``(4, 4)`` matrices, lengths in [m].
"""

from collections.abc import Sequence

import cv2
import numpy as np

from manip_bringup.charuco import Sighting
from manip_core.camera import CameraIntrinsics
from manip_core.rotation import exponential


class Fit:
    """Least squares on the pixels over ``(12,)`` or ``(13,)`` numbers: camera in the world and
    board on the flange, each a rotation vector and a place, and the board's scale where it is one
    of them.
    """

    def __init__(self, camera: CameraIntrinsics, sightings: Sequence[Sighting], flanges):
        self._camera = camera
        self._pixels = np.concatenate([s.pixels for s in sightings])
        self._points = np.concatenate([s.points for s in sightings])
        self._view = np.repeat(np.arange(len(sightings)), [len(s) for s in sightings])
        self._flanges = flanges

    def residuals(self, x: np.ndarray, views: np.ndarray | None = None) -> np.ndarray:
        """``(2 n,)`` predicted less seen [px]; of some views alone where they are named."""
        chosen = slice(None) if views is None else np.isin(self._view, views)
        scale = x[12] if len(x) > 12 else 1.0
        to_camera = np.linalg.inv(pose(x[:6])) @ self._flanges @ pose(x[6:12])
        frames = to_camera[self._view[chosen]]
        points = self._points[chosen] * scale
        seen = self._camera.project(
            np.einsum("nij,nj->ni", frames[:, :3, :3], points) + frames[:, :3, 3]
        )
        # A point behind the camera is as wrong as the picture is wide.
        return np.nan_to_num(seen - self._pixels[chosen], nan=float(self._camera.width)).ravel()

    def solve(self, x: np.ndarray, views: np.ndarray | None = None, steps: int = 50) -> np.ndarray:
        """Levenberg and Marquardt's descent from ``x``."""
        x, damping = np.array(x, dtype=float), 1e-3
        error = self.residuals(x, views)
        for _ in range(steps):
            jacobian = self._jacobian(x, views)
            normal, gradient = jacobian.T @ jacobian, jacobian.T @ error
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            tried = self.residuals(x + step, views)
            if tried @ tried < error @ error:
                x, error, damping = x + step, tried, damping / 10
                if np.abs(step).max() < 1e-9:
                    break
            elif damping > 1e8:
                break
            else:
                damping *= 10
        return x

    def jackknife(self, solved: np.ndarray) -> np.ndarray:
        """Standard deviation of each number, by how it moves when a picture is left out.

        Counts a picture as one piece of evidence, as its corners share the robot's error.
        """
        count = len(self._flanges)
        every = np.arange(count)
        without = [self.solve(solved, np.delete(every, i), steps=5) for i in range(count)]
        off = np.array(without) - solved
        return np.sqrt((count - 1) / count * (off**2).sum(0))

    def _jacobian(self, x: np.ndarray, views: np.ndarray | None) -> np.ndarray:
        nudge = 1e-6 * np.eye(len(x))
        return np.stack(
            [(self.residuals(x + d, views) - self.residuals(x - d, views)) / 2e-6 for d in nudge],
            axis=1,
        )


def closed_form(flanges: np.ndarray, boards: np.ndarray) -> np.ndarray:
    """``(12,)`` start of the fit: Shah's rotations, then places by linear least squares."""
    turns_a, turns_b = flanges[:, :3, :3], boards[:, :3, :3]
    # vec(A Y B') = (B kron A) vec(Y), so the sum of the products maps Y to n Z.
    u, _, vt = np.linalg.svd(sum(np.kron(b, a) for a, b in zip(turns_a, turns_b, strict=True)))
    camera, board = (nearest_rotation(v.reshape(3, 3, order="F")) for v in (u[:, 0], vt[0]))
    left = np.concatenate([np.c_[a, -np.eye(3)] for a in turns_a])
    right = np.concatenate(boards[:, :3, 3] @ camera.T - flanges[:, :3, 3])
    places = np.linalg.lstsq(left, right, rcond=None)[0]
    return np.r_[rotation_vector(camera), places[3:], rotation_vector(board), places[:3]]


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to a matrix known up to a factor of either sign."""
    u, _, vt = np.linalg.svd(matrix * np.sign(np.linalg.det(matrix)))
    return u @ vt


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """``(3,)`` [rad] of any rotation, half a turn included."""
    return np.ravel(cv2.Rodrigues(rotation)[0])


def pose(numbers: np.ndarray) -> np.ndarray:
    """Pose of a rotation vector and a place ``(6,)``."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = exponential(numbers[:3]), numbers[3:6]
    return matrix
