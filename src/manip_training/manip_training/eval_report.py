"""What an evaluation found: its protocol, its figures, and the files it leaves in a folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from manip_core.hand_skeleton import Keypoint
from manip_training import plots

# Every figure that an evaluation may hold, in the order of the table: id -> what it is.
HAND = {
    "mpjpe_root_mm": "joint error, root-relative",
    "mpjpe_root_median_mm": "joint error, root-relative, median sample",
    "mpjpe_root_p95_mm": "joint error, root-relative, 95 % of samples below",
    "mpjpe_scale_mm": "joint error, root-relative and scaled",
    "pa_mpjpe_mm": "joint error, Procrustes-aligned (PA)",
    "mpjpe_abs_mm": "joint error, absolute in the camera frame",
    "pck_auc": "area under PCK, root-relative, 0 to 50 mm",
    "pa_pck_auc": "area under PCK, Procrustes-aligned, 0 to 50 mm",
    "coarse_mpjpe_root_mm": "joint error before refinement, root-relative",
    "spread_ratio": "spread of predicted over true hands",
    "mpjpe_2d_px": "keypoint error in the crop",
    "pck_2d_auc": "area under PCK in the crop, 0 to 0.2 of the hand's box",
    "pck_2d_at_0_05": "keypoints within 0.05 of the hand's box",
    "pck_2d_at_0_10": "keypoints within 0.10 of the hand's box",
    "pck_2d_at_0_15": "keypoints within 0.15 of the hand's box",
    "side_accuracy": "left or right told apart",
    "accel_error_mm_frame2": "acceleration error, root-relative",
    "accel_error_m_s2": "acceleration error, root-relative, by frame times",
}
MESH = {
    "mesh_mpjpe_root_mm": "joint error of the mesh, root-relative",
    "mpvpe_root_mm": "vertex error, root-relative",
    "pa_mpvpe_mm": "vertex error, Procrustes-aligned (PA)",
}
OBJECTS = {
    "object_recall": "objects found",
    "object_precision": "detections that are objects",
    "object_false_positives_per_image": "false detections per image",
    "object_position_mm": "position error of found objects",
    "object_rotation_deg": "rotation error of found objects",
    "object_add_mm": "ADD of found objects",
    "object_add_s_mm": "ADD-S of found objects",
    "object_add_s_auc": "area under ADD-S, 0 to 10 cm, missed ones count",
    "object_mce_mm": "corner error (MCE) of found objects",
}
CONTACT = {
    "contact_precision": "regions in contact, precision",
    "contact_recall": "regions in contact, recall",
    "contact_f1": "regions in contact, F1",
    "contact_vertex_precision": "vertices in contact, precision",
    "contact_vertex_recall": "vertices in contact, recall",
    "contact_vertex_f1": "vertices in contact, F1",
    "contact_type_accuracy": "kind of contact right, where there is one",
    "contact_point_mm": "contact point error",
    "contact_direction_deg": "force direction error",
    "contact_force_n": "force error",
    "penetration_max_mm": "predicted hand inside predicted object, deepest vertex",
    "penetration_mean_mm": "predicted hand inside predicted object, mean of vertices",
    "penetration_labels_max_mm": "labelled hand inside labelled object, deepest vertex",
    "penetration_labels_mean_mm": "labelled hand inside labelled object, mean of vertices",
}
GROUPS = {"hand": HAND, "mesh": MESH, "objects": OBJECTS, "contact": CONTACT}

_UNITS = {
    "_mm": "mm",
    "_px": "px",
    "_deg": "deg",
    "_n": "N",
    "_mm_frame2": "mm/frame²",
    "_m_s2": "m/s²",
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How an evaluation was made; figures of different protocols do not compare.

    Attributes:
        dataset, split: Names of what was looked at.
        root: Row of the joint that root-relative figures are about.
        boxes: Where the crops' boxes came from, in words.
        alignment: Which alignments the figures use, in words.
        side_given: The model was told the side where it is labelled.
        samples: How many pictures; the evaluation fills it in.
        command: What to type to get the figures again.
    """

    dataset: str
    split: str
    root: int = int(Keypoint.WRIST)
    boxes: str = "ground truth keypoints, 1.2 x"
    alignment: str = "as each figure says"
    side_given: bool = False
    samples: int = 0
    command: str = ""

    def __post_init__(self):
        if self.root not in tuple(Keypoint):
            raise ValueError(f"root must be a keypoint, 0 to {len(Keypoint) - 1}, got {self.root}")

    def lines(self) -> list[tuple[str, str]]:
        """Names and values, in words."""
        told = "told to the model where labelled" if self.side_given else "not told to the model"
        return [
            ("dataset", f"{self.dataset}, split {self.split}, {self.samples} samples"),
            ("boxes", self.boxes),
            ("root joint", Keypoint(self.root).name.lower().replace("_", " ")),
            ("alignment", self.alignment),
            ("side", told),
            *([("command", self.command)] if self.command else []),
        ]

    def to_dict(self) -> dict:
        """Plain values, the root by name."""
        return asdict(self) | {"root": Keypoint(self.root).name}


@dataclass(kw_only=True)
class Evaluation:
    """Figures of one model on one dataset.

    Attributes:
        protocol: How they were made.
        figures: Value of each id; those without a label are absent.
        counts: Over how many samples (or objects, or contacts) each figure was taken.
        per_joint: ``(21,)`` [mm] or [px] by alignment; NaN where a joint has no label.
        per_sample: ``(N,)`` by figure, in the samples' order; NaN where a sample has no label.
        curves: Thresholds [mm] and fractions of correct keypoints by alignment.
        pictures: Best, median and worst crops by PA-MPJPE, equally many of each.
    """

    protocol: Protocol
    figures: dict[str, float]
    counts: dict[str, int]
    per_joint: dict[str, np.ndarray] = field(default_factory=dict)
    per_sample: dict[str, np.ndarray] = field(default_factory=dict)
    curves: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    pictures: dict[str, list[plots.Picture]] = field(default_factory=dict)

    def table(self) -> str:
        """Protocol and figures as aligned text."""
        names = self.protocol.lines()
        wide = max(len(name) for name, _ in names)
        lines = [f"{name:<{wide}}  {value}" for name, value in names]
        rows = {
            group: [
                (label, format_value(self.figures[id_]), unit_of(id_), self.counts[id_], id_)
                for id_, label in labels.items()
                if id_ in self.figures
            ]
            for group, labels in GROUPS.items()
        }
        wide = max((len(row[0]) for group in rows.values() for row in group), default=20) + 2
        lines += ["", f"{'':<{wide}}{'value':>9}  {'unit':<10}{'over':>7}  id"]
        for group, found in rows.items():
            if found:
                lines += ["", group.upper()]
            lines += [
                f"{label:<{wide}}{value:>9}  {unit:<10}{count:>7}  {id_}"
                for label, value, unit, count, id_ in found
            ]
        return "\n".join(lines)

    def write(self, folder: str | Path, facts: dict | None = None) -> list[Path]:
        """Print the table; write it, the figures, the errors and the plots. Returns the files.

        Args:
            folder: Where to; made if need be.
            facts: Kept beside the figures: ``git`` and ``device`` of this evaluation, as in a
                run.json, for the report to tell.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = self.table()
        print(text)
        paths = [folder / name for name in ("table.txt", "metrics.json", "errors.npz")]
        paths[0].write_text(text + "\n")
        held = self.to_dict() | (facts or {})
        paths[1].write_text(json.dumps(held, indent=1, allow_nan=False) + "\n")
        np.savez_compressed(paths[2], **self.per_sample)
        return paths + self._draw(folder)

    def to_dict(self) -> dict:
        """The figures by id, beside ``protocol``, ``command``, ``counts`` and ``per_joint``."""
        per_joint = {
            kind: {
                joint.name.lower(): round(float(errors[joint]), 4)
                for joint in Keypoint
                if np.isfinite(errors[joint])
            }
            for kind, errors in self.per_joint.items()
        }
        known = [id_ for labels in GROUPS.values() for id_ in labels if id_ in self.figures]
        return {id_: float(f"{self.figures[id_]:.6g}") for id_ in known} | {
            "command": self.protocol.command,
            "protocol": self.protocol.to_dict(),
            "counts": self.counts,
            "per_joint": per_joint,
        }

    def _draw(self, folder: Path) -> list[Path]:
        title = f"{self.protocol.dataset}, {self.protocol.split}, {self.protocol.samples} samples"
        samples = {
            kind: self.per_sample[id_]
            for kind, id_ in (("root-relative", "mpjpe_root_mm"), ("PA", "pa_mpjpe_mm"))
            if id_ in self.figures
        }
        joints = {kind: self.per_joint[kind] for kind in samples}
        pages = {}
        if samples:
            pages["joints.png"] = plots.joint_bars(joints, title)
            pages["pck.png"] = plots.pck_curves(self.curves, title)
            pages["histogram.png"] = plots.error_histogram(samples, title)
        if any(self.pictures.values()):
            pages["sheet.png"] = plots.picture_sheet(self.pictures, title)
        return [plots.save(figure, folder / name) for name, figure in pages.items()]


def unit_of(id_: str) -> str:
    """Unit of a figure, by the end of its id; empty for plain numbers."""
    ends = [end for end in _UNITS if id_.endswith(end)]
    return _UNITS[max(ends, key=len)] if ends else ""


def format_value(value: float) -> str:
    """Four significant digits, without exponent where that is readable."""
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    digits = max(0, 3 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{digits}f}"
