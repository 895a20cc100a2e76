"""Figures of merit of held objects and of contact. Metres in, millimetres out of ``_mm``."""

from typing import NamedTuple

import numpy as np

from manip_core.metrics import mpjpe_mm

# [mm]: accuracy over the threshold on ADD-S, up to 10 cm; Xiang et al. 2018, "PoseCNN".
ADD_THRESHOLDS_MM = np.linspace(0.0, 100.0, 101)


class Pose(NamedTuple):
    """Where objects are: ``point in camera = rotation @ point of object + position``.

    Attributes:
        rotation: ``(…, 3, 3)`` object frame to camera.
        position: ``(…, 3)`` of the object's origin [m], camera frame.
    """

    rotation: np.ndarray
    position: np.ndarray

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points of the object ``(P, 3)`` in the camera frame, ``(…, P, 3)``."""
        turned = points @ np.swapaxes(self.rotation, -1, -2)
        return turned + np.asarray(self.position)[..., None, :]


def position_errors_mm(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances ``(…)`` [mm] of positions ``(…, 3)`` in [m]."""
    return 1e3 * np.linalg.norm(predicted - true, axis=-1)


def rotation_errors_deg(predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Geodesic distances ``(…)`` in [deg], 0 to 180, of rotations ``(…, 3, 3)``.

    By the chord, ``|A - B|_F = 2√2 sin(θ/2)`` (Hartley et al. 2013, "Rotation averaging"), which is
    exact for small angles, where the arc cosine of the trace is not.
    """
    chord = np.linalg.norm(predicted - true, axis=(-2, -1)) / np.sqrt(8.0)
    return np.degrees(2.0 * np.arcsin(np.minimum(chord, 1.0)))


def add_mm(points: np.ndarray, predicted: Pose, true: Pose) -> np.ndarray:
    """Average distance ``(…)`` [mm] of each model point ``(P, 3)`` [m] to itself, posed twice.

    ADD of Hinterstoisser et al. 2012, "Model based training, detection and pose estimation of
    texture-less 3D objects". An object that looks the same when turned is punished for the turn.
    """
    _check_points(points)
    return mpjpe_mm(predicted.apply(points), true.apply(points))


def add_s_mm(points: np.ndarray, predicted: Pose, true: Pose) -> np.ndarray:
    """Average distance ``(…)`` [mm] of each point, truly posed, to the nearest predicted one.

    ADD-S of Xiang et al. 2018, "PoseCNN" (ADI of Hinterstoisser et al. 2012), for objects of any
    symmetry.
    """
    _check_points(points)
    rotation, position = _relative(predicted, true)
    shape = position.shape[:-1]
    pairs = zip(rotation.reshape(-1, 3, 3), position.reshape(-1, 3), strict=True)
    errors = []
    for turn, shift in pairs:
        posed = points @ turn.T + shift
        nearest = posed[_closeness(points, posed).argmin(-1)]
        errors.append(mpjpe_mm(nearest, points))
    return np.reshape(errors, shape)


def box_corners(points: np.ndarray) -> np.ndarray:
    """The 8 corners ``(8, 3)`` of the upright box around an object's points ``(P, 3)``."""
    _check_points(points)
    ends = np.stack((points.min(0), points.max(0)))
    return np.array([(x, y, z) for x in ends[:, 0] for y in ends[:, 1] for z in ends[:, 2]])


def mean_corner_error_mm(points: np.ndarray, predicted: Pose, true: Pose) -> np.ndarray:
    """MCE ``(…)`` [mm]: ADD of the corners of the box around the object's points ``(P, 3)`` [m].

    As in Hampali et al. 2022, "Keypoint Transformer", but without its list of symmetries.
    """
    return add_mm(box_corners(points), predicted, true)


def match_objects(
    query_class: np.ndarray,
    confidence: np.ndarray,
    true_class: np.ndarray,
    threshold: float = 0.5,
) -> np.ndarray:
    """For each true object the most confident query of its class; ``(B, O)`` index, -1 if missed.

    Where an image holds two objects of one class, the first takes its pick first; no query serves
    twice. Queries that serve none and are as confident as the threshold are false positives.

    Args:
        query_class: ``(B, Q)`` likeliest class of each query.
        confidence: ``(B, Q)`` probability that the query is an object.
        true_class: ``(B, O)``, -1 where there is none.
        threshold: Queries less confident than this do not count.
    """
    free = confidence >= threshold
    rows = np.arange(len(free))
    match = np.full(true_class.shape, -1)
    for slot in range(true_class.shape[1]):
        wanted = true_class[:, slot, None]
        fits = free & (query_class == wanted) & (wanted >= 0)
        best = np.where(fits, confidence, -1.0).argmax(1)
        found = fits.any(1)
        match[found, slot] = best[found]
        free[rows[found], best[found]] = False
    return match


def detection_counts(
    predicted: np.ndarray, true: np.ndarray, valid: np.ndarray | None = None
) -> np.ndarray:
    """True positives, false positives and false negatives ``(…, 3)`` over the last axis.

    Args:
        predicted, true: ``(…, K)`` bool.
        valid: Which of them are labelled; those that are not count nowhere.
    """
    valid = np.ones_like(true) if valid is None else valid
    pairs = (predicted & true, predicted & ~true, ~predicted & true)
    return np.stack([(pair & valid).sum(-1) for pair in pairs], axis=-1)


def precision_recall_f1(counts: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 ``(…, 3)`` of counts ``(…, 3)`` as of :func:`detection_counts`.

    Sum the counts of many samples first: pooled ("micro") figures do not overrate samples with few
    positives. NaN where a figure is 0/0: recall where there is nothing to find.
    """
    hit, false, missed = np.moveaxis(np.asarray(counts, dtype=float), -1, 0)
    above = np.stack((hit, hit, 2.0 * hit), axis=-1)
    below = np.stack((hit + false, hit + missed, 2.0 * hit + false + missed), axis=-1)
    return np.where(below > 0, above / np.maximum(below, 1.0), np.nan)


def penetration_mm(
    vertices: np.ndarray, surface: np.ndarray, normals: np.ndarray, neighbours: int = 6
) -> np.ndarray:
    """How deep hand vertices lie inside an object, ``(…, V)`` [mm]; 0 outside.

    The depth is the least distance below the tangent planes of the nearest few surface points. With
    one neighbour this is the signed distance of Hoppe et al. 1992, "Surface reconstruction from
    unorganized points", which beside an edge takes points outside for deep inside (19 mm on a box
    of 16 x 21 x 6 cm and 256 points; with six, 8 mm and on one point in a thousand). Exact on
    convex bodies but near edges; walls thinner than the spacing of the points are partly missed.

    Args:
        vertices: ``(…, V, 3)`` in [m].
        surface: ``(…, P, 3)`` points all over a closed surface [m], same frame.
        normals: ``(…, P, 3)`` unit, outward.
        neighbours: How many surface points have their say, 1 to P.
    """
    for name, value in (("vertices", vertices), ("surface", surface), ("normals", normals)):
        if value.ndim < 2 or value.shape[-1] != 3:
            raise ValueError(f"{name} must be (…, N, 3), got {value.shape}")
    if surface.shape != normals.shape:
        raise ValueError(f"a normal for each point: got {surface.shape} and {normals.shape}")
    if not 1 <= neighbours <= surface.shape[-2]:
        raise ValueError(f"neighbours must be 1 to {surface.shape[-2]}, got {neighbours}")
    order = _closeness(vertices, surface)
    nearest = np.argpartition(order, neighbours - 1, axis=-1)[..., :neighbours]
    # Height of every vertex over every plane: n·v - n·p.
    height = vertices @ np.swapaxes(normals, -1, -2) - (normals * surface).sum(-1)[..., None, :]
    depth = -np.take_along_axis(height, nearest, axis=-1).max(-1)
    return 1e3 * np.maximum(depth, 0.0)


def _relative(predicted: Pose, true: Pose) -> Pose:
    """The predicted pose as seen from the true one; distances are the same there."""
    back = np.swapaxes(true.rotation, -1, -2)
    shift = (back @ (predicted.position - true.position)[..., None])[..., 0]
    return Pose(back @ predicted.rotation, shift)


def _closeness(points: np.ndarray, among: np.ndarray) -> np.ndarray:
    """``(…, N, P)`` that rises with the distance of ``among`` ``(…, P, 3)`` to ``(…, N, 3)``."""
    # The squared distance less the point's own square, which is the same for all candidates.
    # Centred, for rounding grows with the distance from the origin.
    centre = among.mean(axis=-2, keepdims=True)
    points, among = points - centre, among - centre
    square = (among * among).sum(-1)[..., None, :]
    return square - 2.0 * points @ np.swapaxes(among, -1, -2)


def _check_points(points: np.ndarray) -> None:
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f"points of an object must be (P, 3), got {points.shape}")
