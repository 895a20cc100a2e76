"""Errors of every sample of a batch; NaN where there is no label.

All arrays come in float64; ``truth`` is a batch and ``said`` a model's output, both as numpy.
"""

from collections.abc import Mapping

import numpy as np

from manip_core import metrics
from manip_core import object_metrics as objects
from manip_core.object_metrics import Pose

# A query, a region or a vertex counts as found from this probability on; as a logit, from 0.
FOUND = 0.5

Records = dict[str, np.ndarray]


def hand_records(truth: Records, said: Records, root: int) -> Records:
    """Joint errors ``(B, 21)``, and the joints themselves for figures over many samples."""
    predicted, true, valid = said["joints"], truth["joints"], truth["joints_valid"]
    rooted = valid & valid[:, root : root + 1]
    three = valid & (valid.sum(1, keepdims=True) >= 3)
    scaled = metrics.align_scale(predicted, true, root, rooted)
    aligned = metrics.align_similarity(predicted, true, valid)
    pixels, pixels_valid = said["keypoints_px"], truth["keypoints_px_valid"]
    distance_px = np.linalg.norm(pixels - truth["keypoints_px"], axis=-1)
    side_right = said["side_logits"].argmax(1) == truth["side"]
    return {
        "joints_predicted": predicted,
        "joints_true": true,
        "joints_valid": valid,
        "joint_abs_mm": metrics.joint_errors_mm(predicted, true, valid),
        "joint_root_mm": _rooted_errors(predicted, true, rooted, root),
        "joint_scale_mm": metrics.joint_errors_mm(scaled, true, rooted),
        "joint_pa_mm": metrics.joint_errors_mm(aligned, true, three),
        "coarse_joint_root_mm": _rooted_errors(said["coarse_joints"], true, rooted, root),
        "mesh_joint_root_mm": _rooted_errors(said["mano_joints"], true, rooted, root),
        "joint_2d_px": metrics.labelled(distance_px, pixels_valid),
        "joint_2d_box": metrics.box_relative_errors(pixels, truth["keypoints_px"], pixels_valid),
        "side_right": metrics.labelled(side_right.astype(float), truth["side_valid"]),
    }


def mesh_records(truth: Records, said: Records, true_mesh: Records | None, root: int) -> Records:
    """Vertex errors ``(B,)`` against ``true_mesh``: vertices and joints of the labelled pose."""
    if true_mesh is None:
        return {
            name: np.full(len(said["vertices"]), np.nan)
            for name in ("vertex_root_mm", "vertex_pa_mm")
        }
    valid = truth["mano_valid"] & truth["side_valid"]
    at = slice(root, root + 1)
    predicted = said["vertices"] - said["mano_joints"][:, at]
    true = true_mesh["vertices"] - true_mesh["joints"][:, at]
    return {
        "vertex_root_mm": metrics.labelled(metrics.mpjpe_mm(predicted, true), valid),
        "vertex_pa_mm": metrics.labelled(metrics.pa_mpjpe_mm(predicted, true), valid),
    }


def object_records(truth: Records, said: Records, points: Mapping[int, np.ndarray]) -> Records:
    """Errors ``(B, O)`` of found objects, which were found, and how many detections there were.

    ``object_query`` is the query that found an object, -1 where none did.
    """
    labelled = truth["objects_valid"]
    there = (truth["object_class"] >= 0) & labelled[:, None]
    confidence = _probability(said["object_confidence_logits"])
    query = objects.match_objects(
        said["object_class_logits"].argmax(-1),
        confidence,
        np.where(there, truth["object_class"], -1),
        FOUND,
    )
    posed = there & truth["object_pose_valid"]
    compared = posed & (query >= 0)
    true = Pose(truth["object_rotation"], truth["object_position"])
    pick = np.maximum(query, 0)
    predicted = Pose(
        np.take_along_axis(said["object_rotation"], pick[..., None, None], axis=1),
        np.take_along_axis(said["object_position"], pick[..., None], axis=1),
    )
    position = objects.position_errors_mm(predicted.position, true.position)
    rotation = objects.rotation_errors_deg(predicted.rotation, true.rotation)
    modelled = posed & np.isin(truth["object_class"], list(points))
    records = {
        "object_there": there,
        "object_modelled": modelled,
        "object_query": query,
        "object_detections": metrics.labelled((confidence >= FOUND).sum(1).astype(float), labelled),
        "object_position_mm": metrics.labelled(position, compared),
        "object_rotation_deg": metrics.labelled(rotation, compared),
    }
    measures = {
        "object_add_mm": objects.add_mm,
        "object_add_s_mm": objects.add_s_mm,
        "object_mce_mm": objects.mean_corner_error_mm,
    }
    for name, measure in measures.items():
        errors = np.full(there.shape, np.nan)
        for class_, cloud in points.items():
            at = compared & (truth["object_class"] == class_)
            if at.any():
                errors[at] = measure(cloud, _at(predicted, at), _at(true, at))
        records[name] = errors
    return records


def contact_records(truth: Records, said: Records) -> Records:
    """Counts ``(B, 3)`` of regions and vertices in contact, and errors ``(B, 10)`` of contacts."""
    labelled = truth["contact_valid"]
    touching = (truth["contact_type"] > 0) & labelled[:, None]
    regions = objects.detection_counts(
        said["contact_confidence_logits"] >= 0, touching, labelled[:, None]
    )
    vertices = objects.detection_counts(
        said["contact_map_logits"] >= 0, truth["contact_map"] > 0.5, labelled[:, None]
    )
    kind_right = said["contact_type_logits"].argmax(-1) == truth["contact_type"]
    distance = objects.position_errors_mm(said["contact_point"], truth["contact_point"])
    chord = np.linalg.norm(
        said["contact_force_direction"] - truth["contact_force_direction"], axis=-1
    )
    # Of unit vectors; the arc cosine of their product would be inexact for small angles.
    angle = np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)))
    force = np.abs(said["contact_force"] - truth["contact_force"])
    return {
        "contact_labelled": labelled,
        "contact_regions": regions,
        "contact_vertices": vertices,
        "contact_type_right": metrics.labelled(kind_right.astype(float), touching),
        "contact_point_mm": metrics.labelled(distance, touching),
        "contact_direction_deg": metrics.labelled(angle, touching),
        "contact_force_n": metrics.labelled(force, touching & truth["contact_force_valid"]),
    }


def penetration_records(
    truth: Records, said: Records, query: np.ndarray, true_mesh: Records | None
) -> Records:
    """Deepest and mean penetration ``(B,)`` [mm] of the predicted hand, and of the labelled one.

    The predicted hand is measured against the predicted object, which is the labelled surface moved
    from the true to the predicted pose, where the grasped object was found.

    Args:
        truth, said: As everywhere in this module.
        query: ``(B, O)`` which query found each object.
        true_mesh: Vertices of the labelled pose, or None.
    """
    size = len(query)
    names = [f"penetration_{of}{part}_mm" for of in ("", "labels_") for part in ("max", "mean")]
    records = {name: np.full(size, np.nan) for name in names}
    for row in np.flatnonzero(truth["object_surface_valid"]):
        surface, normals = np.split(truth["object_surface"][row], 2, axis=-1)
        slot = int(truth["object_grasped"][row])
        if slot >= 0 and query[row, slot] >= 0 and truth["object_pose_valid"][row, slot]:
            seen = query[row, slot]
            turn = said["object_rotation"][row, seen] @ truth["object_rotation"][row, slot].T
            centre = truth["object_position"][row, slot]
            moved = (surface - centre) @ turn.T + said["object_position"][row, seen]
            depth = objects.penetration_mm(said["vertices"][row], moved, normals @ turn.T)
            records[names[0]][row], records[names[1]][row] = depth.max(), depth.mean()
        if true_mesh is not None and truth["mano_valid"][row] and truth["side_valid"][row]:
            depth = objects.penetration_mm(true_mesh["vertices"][row], surface, normals)
            records[names[2]][row], records[names[3]][row] = depth.max(), depth.mean()
    return records


def _rooted_errors(
    predicted: np.ndarray, true: np.ndarray, valid: np.ndarray, root: int
) -> np.ndarray:
    relative = (metrics.root_relative(points, root) for points in (predicted, true))
    return metrics.joint_errors_mm(*relative, valid)


def _at(pose: Pose, where: np.ndarray) -> Pose:
    return Pose(pose.rotation[where], pose.position[where])


def _probability(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * logits))
