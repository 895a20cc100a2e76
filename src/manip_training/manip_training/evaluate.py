"""Run a model over a dataset and measure everything that has labels."""

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from manip_core import metrics
from manip_core.object_metrics import ADD_THRESHOLDS_MM, precision_recall_f1
from manip_model.rotations import matrix_from_rotvec
from manip_training import eval_records
from manip_training.batch import Batch, check
from manip_training.eval_gallery import Gallery
from manip_training.eval_records import Records
from manip_training.eval_report import Evaluation, Protocol

# Of the longer side of the hand's box: where keypoints in the crop are counted as correct. The
# three single ones are those of HInt (Pavlakos et al. 2024, "HaMeR"); the range is ours.
PCK_2D_THRESHOLDS = np.linspace(0.0, 0.2, 101)
PCK_2D_AT = {"pck_2d_at_0_05": 0.05, "pck_2d_at_0_10": 0.10, "pck_2d_at_0_15": 0.15}
# Steps in time within this fraction of a sequence's usual one count as equal.
STEP_TOLERANCE = 0.1

# Kind of alignment -> the record that holds its errors of each joint.
JOINT_ERRORS = {
    "root-relative": "joint_root_mm",
    "scaled": "joint_scale_mm",
    "PA": "joint_pa_mm",
    "absolute": "joint_abs_mm",
    "2D [px]": "joint_2d_px",
}


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Which samples follow each other; a dataset with these two attributes will do as well.

    Attributes:
        sequence_ids: ``(N,)`` of the samples, in the order of the batches.
        frame_times: ``(N,)`` in [s].
    """

    sequence_ids: np.ndarray
    frame_times: np.ndarray


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    hand_model: nn.Module | None,
    protocol: Protocol,
    *,
    sequences: Sequences | None = None,
    object_points: Mapping[int, np.ndarray] | None = None,
    pictures: int = 4,
) -> Evaluation:
    """Measure a model.

    What is not labelled is not measured, and a figure without any label is absent. Figures are
    means over samples of the mean over a sample's labelled joints; keypoint curves pool all
    joints, and contact figures all regions or vertices.

    A true object is found by the most confident query whose likeliest class is its class, if that
    query's confidence is at least one half; no query serves twice, and confident queries that serve
    none are false positives. Pose errors are those of found objects; the area under ADD-S counts
    missed ones as failures. Penetration is that of the predicted hand into the predicted object:
    the labelled surface, moved to the predicted pose.

    Args:
        model: ``model(image, camera, side=None) -> ModelOutput``; its training flag is restored.
        batches: Dictionaries as :mod:`manip_training.batch` describes.
        hand_model: Of the labels' hands; without it the mesh is not measured.
        protocol: How the data were made; ``samples`` is filled in here.
        sequences: Which samples follow each other; without it there is no acceleration error.
        object_points: Points of the object's model ``(P, 3)`` [m], object frame, by index into
            ``ModelConfig.object_classes``; ADD, ADD-S and MCE are measured of these objects.
        pictures: Of the best, of the median and of the worst crops, how many to keep of each.

    Raises:
        ValueError: No batches, one of a wrong format, predictions that are not finite, or sequences
            of another length.
    """
    object_points = object_points or {}
    gallery = Gallery(pictures)
    collected: list[Records] = []
    with _evaluating(model):
        for batch in batches:
            check(batch)
            truth, said = _numpy(batch), _predict(model, batch, protocol.side_given)
            records = _records(truth, said, _true_mesh(batch, hand_model), object_points, protocol)
            gallery.add(records, truth, said)
            collected.append(records)
    if not collected:
        raise ValueError("nothing to evaluate: there are no batches")
    joined = {name: np.concatenate([r[name] for r in collected]) for name in collected[0]}
    figures = _Figures()
    _hand_figures(figures, joined, protocol)
    if sequences is not None:
        _acceleration_figures(figures, joined, sequences, protocol.root)
    _object_figures(figures, joined)
    _contact_figures(figures, joined)
    return Evaluation(
        protocol=replace(protocol, samples=len(joined["joints_valid"])),
        figures=figures.values,
        counts=figures.counts,
        per_joint=_per_joint(joined),
        per_sample=figures.per_sample,
        curves=_curves(joined),
        pictures=gallery.rows(),
    )


def _records(truth, said, true_mesh, object_points, protocol: Protocol) -> Records:
    """All errors of a batch."""
    root = protocol.root
    records = (
        eval_records.hand_records(truth, said, root)
        | eval_records.mesh_records(truth, said, true_mesh, root)
        | eval_records.object_records(truth, said, object_points)
        | eval_records.contact_records(truth, said)
    )
    return records | eval_records.penetration_records(
        truth, said, records["object_query"], true_mesh
    )


class _Figures:
    """Figures, over how much each was taken, and the errors of samples behind them."""

    def __init__(self):
        self.values: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.per_sample: dict[str, np.ndarray] = {}

    def add(self, id_: str, value: float, count: int) -> None:
        """Keep a figure, unless it was taken over nothing."""
        if count and not np.isnan(value):
            self.values[id_], self.counts[id_] = float(value), int(count)

    def mean(self, id_: str, errors: np.ndarray) -> None:
        """Keep the mean of errors that are not NaN, of samples ``(N,)`` or of parts of them."""
        self.add(id_, metrics.labelled_mean(errors, axis=None), (~np.isnan(errors)).sum())

    def sample_mean(self, id_: str, errors: np.ndarray) -> None:
        """Keep the mean over samples of each one's mean error ``(N,)`` or ``(N, K)``."""
        each = errors if errors.ndim == 1 else metrics.labelled_mean(errors)
        self.mean(id_, each)
        if id_ in self.values:
            self.per_sample[id_] = each


def _hand_figures(figures: _Figures, records: Records, protocol: Protocol) -> None:
    for id_, name in (
        ("mpjpe_root_mm", "joint_root_mm"),
        ("mpjpe_scale_mm", "joint_scale_mm"),
        ("pa_mpjpe_mm", "joint_pa_mm"),
        ("mpjpe_abs_mm", "joint_abs_mm"),
        ("coarse_mpjpe_root_mm", "coarse_joint_root_mm"),
        ("mesh_mpjpe_root_mm", "mesh_joint_root_mm"),
        ("mpjpe_2d_px", "joint_2d_px"),
        ("mpvpe_root_mm", "vertex_root_mm"),
        ("pa_mpvpe_mm", "vertex_pa_mm"),
    ):
        figures.sample_mean(id_, records[name])
    if "mpjpe_root_mm" in figures.values:
        each = figures.per_sample["mpjpe_root_mm"]
        each = each[~np.isnan(each)]
        figures.add("mpjpe_root_median_mm", np.median(each), each.size)
        figures.add("mpjpe_root_p95_mm", np.quantile(each, 0.95), each.size)
    for id_, name in (("pck_auc", "joint_root_mm"), ("pa_pck_auc", "joint_pa_mm")):
        _area(figures, id_, records[name], metrics.PCK_THRESHOLDS_MM)
    boxed = records["joint_2d_box"]
    _area(figures, "pck_2d_auc", boxed, PCK_2D_THRESHOLDS)
    for id_, threshold in PCK_2D_AT.items():
        figures.add(id_, metrics.pck(boxed, np.array([threshold]))[0], (~np.isnan(boxed)).sum())
    if not protocol.side_given:
        figures.mean("side_accuracy", records["side_right"])
    joints = (records["joints_predicted"], records["joints_true"])
    spread = metrics.spread_ratio(*joints, protocol.root, records["joints_valid"])
    figures.add("spread_ratio", spread, records["joints_valid"][:, protocol.root].sum())


def _area(figures: _Figures, id_: str, errors: np.ndarray, thresholds: np.ndarray) -> None:
    area = metrics.area_under_curve(metrics.pck(errors, thresholds), thresholds)
    figures.add(id_, area, (~np.isnan(errors)).sum())


def _acceleration_figures(
    figures: _Figures, records: Records, sequences: Sequences, root: int
) -> None:
    """Errors of accelerations of root-relative joints, of frames at equal steps in time."""
    ids, times = np.asarray(sequences.sequence_ids), np.asarray(sequences.frame_times, dtype=float)
    size = len(records["joints_valid"])
    if ids.shape != (size,) or times.shape != (size,):
        raise ValueError(
            f"sequence_ids and frame_times must be ({size},) as the samples, "
            f"got {ids.shape} and {times.shape}"
        )
    predicted = metrics.root_relative(records["joints_predicted"], root)
    true = metrics.root_relative(records["joints_true"], root)
    valid = records["joints_valid"] & records["joints_valid"][:, root : root + 1]
    per_frame, per_second = [np.empty(0)], [np.empty(0)]
    for one in np.unique(ids):
        rows = np.flatnonzero(ids == one)
        rows = rows[np.argsort(times[rows], kind="stable")]
        steps = np.diff(times[rows])
        if len(steps) < 2:
            continue
        usual = np.median(steps)
        if not usual > 0:
            raise ValueError(f"frame_times of sequence {one} must differ, got steps of {usual} s")
        equal = np.abs(steps - usual) <= STEP_TOLERANCE * usual
        errors = metrics.acceleration_errors_mm(predicted[rows], true[rows], valid[rows])
        errors = errors[equal[:-1] & equal[1:]].ravel()
        per_frame.append(errors)
        per_second.append(1e-3 * errors / usual**2)
    figures.mean("accel_error_mm_frame2", np.concatenate(per_frame))
    figures.mean("accel_error_m_s2", np.concatenate(per_second))


def _object_figures(figures: _Figures, records: Records) -> None:
    there, found = records["object_there"], records["object_query"] >= 0
    detections = records["object_detections"]
    images, detected = (~np.isnan(detections)).sum(), np.nansum(detections)
    figures.add("object_recall", found.sum() / max(there.sum(), 1), there.sum())
    figures.add("object_precision", found.sum() / max(detected, 1), detected)
    false_positives = (detected - found.sum()) / max(images, 1)
    figures.add("object_false_positives_per_image", false_positives, images)
    for id_ in ("position_mm", "rotation_deg", "add_mm", "add_s_mm", "mce_mm"):
        figures.mean(f"object_{id_}", records[f"object_{id_}"])
    modelled = records["object_modelled"]
    add_s = np.where(found, records["object_add_s_mm"], np.inf)[modelled]
    _area(figures, "object_add_s_auc", add_s, ADD_THRESHOLDS_MM)


def _contact_figures(figures: _Figures, records: Records) -> None:
    for prefix, name in (("contact", "contact_regions"), ("contact_vertex", "contact_vertices")):
        counts = records[name].sum(0)
        over = records["contact_labelled"].sum()
        for part, value in zip(
            ("precision", "recall", "f1"), precision_recall_f1(counts), strict=True
        ):
            figures.add(f"{prefix}_{part}", value, over)
    figures.mean("contact_type_accuracy", records["contact_type_right"])
    for id_ in ("contact_point_mm", "contact_direction_deg", "contact_force_n"):
        figures.mean(id_, records[id_])
    for id_ in ("max", "mean", "labels_max", "labels_mean"):
        figures.sample_mean(f"penetration_{id_}_mm", records[f"penetration_{id_}_mm"])


def _per_joint(records: Records) -> dict[str, np.ndarray]:
    means = {k: metrics.labelled_mean(records[name], axis=0) for k, name in JOINT_ERRORS.items()}
    return {kind: mean for kind, mean in means.items() if np.isfinite(mean).any()}


def _curves(records: Records) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    curves = {}
    for kind in ("root-relative", "scaled", "PA"):
        errors = records[JOINT_ERRORS[kind]]
        if not np.isnan(errors).all():
            thresholds = metrics.PCK_THRESHOLDS_MM
            curves[kind] = thresholds, metrics.pck(errors, thresholds)
    return curves


@contextmanager
def _evaluating(model: nn.Module):
    """Evaluation mode without gradients; every module's mode is as before afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        # Not inference mode: a model may keep what it made here, and train with it later.
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _predict(model: nn.Module, batch: Batch, side_given: bool) -> Records:
    """What the model says of a batch, as numpy; ``ValueError`` where that is not finite."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    side = None
    if side_given:
        side = torch.where(batch["side_valid"], batch["side"], -1).to(device)
    output = model(batch["image"].to(device), batch["camera"].to(device), side=side)
    said = _numpy(output.tensors())
    broken = {name: ~np.isfinite(v).reshape(len(v), -1).all(1) for name, v in said.items()}
    broken = {name: rows for name, rows in broken.items() if rows.any()}
    if broken:
        samples = np.any(list(broken.values()), axis=0)
        raise ValueError(
            f"predictions must be finite, but in {samples.sum()} of {len(samples)} samples "
            f"these are not: {', '.join(broken)}"
        )
    return said


def _true_mesh(batch: Batch, hand_model: nn.Module | None) -> Records | None:
    """Vertices and keypoints of the labelled pose; where there is none, of a meaningless one."""
    if hand_model is None:
        return None
    device = next((b.device for b in hand_model.buffers()), torch.device("cpu"))
    names = ("mano_pose", "mano_shape", "mano_translation", "side")
    pose, shape, translation, side = (batch[name].to(device) for name in names)
    rotations = matrix_from_rotvec(pose.unflatten(1, (16, 3)))
    mesh = hand_model(rotations, shape, translation, side)
    return _numpy({"vertices": mesh.vertices, "joints": mesh.joints})


def _numpy(tensors: Mapping[str, Tensor]) -> Records:
    """As numpy; floating point ones in float64, so that rounding adds nothing to the errors."""
    return {
        name: (value.double() if value.is_floating_point() else value).detach().cpu().numpy()
        for name, value in tensors.items()
    }
