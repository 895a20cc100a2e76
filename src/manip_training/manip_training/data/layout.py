"""The folders of DexYCB: names, splits, calibration, and what a sequence says about itself.

Chao et al. 2021, "DexYCB: A Benchmark for Capturing Hand Grasping of Objects". Facts of the layout
and of the splits are those of the authors' toolkit, github.com/NVlabs/dex-ycb-toolkit.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from manip_core.camera import CameraIntrinsics
from manip_core.hand import SIDES

SUBJECTS = (
    "20200709-subject-01",
    "20200813-subject-02",
    "20200820-subject-03",
    "20200903-subject-04",
    "20200908-subject-05",
    "20200918-subject-06",
    "20200928-subject-07",
    "20201002-subject-08",
    "20201015-subject-09",
    "20201022-subject-10",
)
SERIALS = (
    "836212060125",
    "839512060362",
    "840412060917",
    "841412060263",
    "932122060857",
    "932122060861",
    "932122061900",
    "932122062010",
)
SEQUENCES_PER_SUBJECT = 100
FRAME_RATE = 30.0  # [Hz]
WIDTH, HEIGHT = 640, 480  # [px]

SETUPS = ("s0", "s1", "s2", "s3")
SPLITS = ("train", "val", "test")

HOW_TO_GET = (
    "Download DexYCB from https://dex-ycb.github.io and point the environment variable "
    "DEX_YCB_DIR at the folder that holds 20200709-subject-01, calibration and models; "
    "or train on the generated data set, which needs no download."
)


class BadData(ValueError):
    """A sequence or frame that cannot be used; the message says what it lacks."""


@dataclass(frozen=True)
class Split:
    """Which subjects, cameras and sequences of each subject belong to a split, by index."""

    subjects: frozenset[int]
    serials: frozenset[int]
    sequences: frozenset[int]

    def count(self) -> int:
        """Videos: triples of subject, camera and sequence in the published tree."""
        return len(self.subjects) * len(self.serials) * len(self.sequences)


def split(setup: str, name: str) -> Split:
    """The published split ``name`` of a setup.

    s0 holds out sequences of seen subjects, s1 subjects, s2 camera views, s3 grasped objects (each
    subject grasps an object in five sequences running).

    Raises:
        ValueError: No such setup or split.
    """
    if setup not in SETUPS:
        raise ValueError(f"setup must be one of {', '.join(SETUPS)}, got {setup!r}")
    if name not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {name!r}")
    subjects = set(range(len(SUBJECTS)))
    serials = set(range(len(SERIALS)))
    sequences = set(range(SEQUENCES_PER_SUBJECT))
    if setup == "s0":
        held_out = {i for i in sequences if i % 5 == 4}
        val_subjects = {0, 1}
        subjects = {"train": subjects, "val": val_subjects, "test": subjects - val_subjects}[name]
        sequences = sequences - held_out if name == "train" else held_out
    elif setup == "s1":
        val, test = {6}, {7, 8}
        subjects = {"train": subjects - val - test, "val": val, "test": test}[name]
    elif setup == "s2":
        val, test = {6}, {7}
        serials = {"train": serials - val - test, "val": val, "test": test}[name]
    else:
        val = {i for i in sequences if i // 5 in (3, 19)}
        test = {i for i in sequences if i // 5 in (7, 11, 15)}
        sequences = {"train": sequences - val - test, "val": val, "test": test}[name]
    return Split(frozenset(subjects), frozenset(serials), frozenset(sequences))


def find_root(root: str | Path | None = None) -> Path:
    """The data set's folder: ``root``, or what ``DEX_YCB_DIR`` names.

    Raises:
        FileNotFoundError: Neither is given, or it is no such folder; says how to get the data.
    """
    given = root or os.environ.get("DEX_YCB_DIR")
    if not given:
        raise FileNotFoundError(f"no folder of DexYCB is given. {HOW_TO_GET}")
    path = Path(given)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder. {HOW_TO_GET}")
    if not any((path / subject).is_dir() for subject in SUBJECTS):
        raise FileNotFoundError(f"{path} holds none of DexYCB's subjects. {HOW_TO_GET}")
    return path


@dataclass(frozen=True)
class Sequence:
    """What all frames of a sequence share.

    Attributes:
        name: ``subject/sequence``.
        folder: Where it lies.
        frames: Pictures of each camera.
        ycb_ids: Class numbers, 1 to 21, in the order of ``pose_y``.
        grasped: Index into ``ycb_ids``.
        side: Index into ``manip_core.hand.SIDES``.
        betas: ``(10,)`` MANO shape values.
        hand: Whose pose ``pose_m`` holds: ``"mano"``, or ``"open"`` in generated trees.
    """

    name: str
    folder: Path
    frames: int
    ycb_ids: tuple[int, ...]
    grasped: int
    side: int
    betas: np.ndarray
    hand: str


def read_sequence(root: Path, name: str) -> Sequence:
    """A sequence's ``meta.yml`` and its hand's calibration.

    Raises:
        BadData: Something is missing or unreadable.
    """
    meta = _read_yaml(root / name / "meta.yml")
    try:
        calibration = root / "calibration" / f"mano_{meta['mano_calib'][0]}" / "mano.yml"
        betas = np.array(_read_yaml(calibration)["betas"], dtype=np.float32)
        found = Sequence(
            name=name,
            folder=root / name,
            frames=int(meta["num_frames"]),
            ycb_ids=tuple(int(i) for i in meta["ycb_ids"]),
            grasped=int(meta["ycb_grasp_ind"]),
            side=SIDES.index(meta["mano_sides"][0]),
            betas=betas,
            hand=str(meta.get("hand_model", "mano")),
        )
    except KeyError as error:
        raise BadData(f"{error} is missing from meta.yml or mano.yml") from error
    except (TypeError, IndexError, ValueError) as error:
        if isinstance(error, BadData):
            raise
        raise BadData(f"meta.yml or mano.yml holds something unusable: {error}") from error
    if betas.shape != (10,) or not np.isfinite(betas).all():
        raise BadData(f"mano.yml must hold 10 finite betas, got shape {betas.shape}")
    if not 0 <= found.grasped < len(found.ycb_ids):
        raise BadData(f"ycb_grasp_ind {found.grasped} is none of {len(found.ycb_ids)} objects")
    return found


def read_intrinsics(root: Path, serial: str) -> CameraIntrinsics:
    """The colour camera's calibration.

    Raises:
        BadData: It is missing or unreadable.
    """
    path = root / "calibration" / "intrinsics" / f"{serial}_{WIDTH}x{HEIGHT}.yml"
    try:
        colour = _read_yaml(path)["color"]
        return CameraIntrinsics(
            width=WIDTH,
            height=HEIGHT,
            fx=colour["fx"],
            fy=colour["fy"],
            cx=colour["ppx"],
            cy=colour["ppy"],
        )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, BadData):
            raise
        raise BadData(f"{path.name} holds no colour camera: {error}") from error


def list_sequences(root: Path, wanted: Split) -> list[str]:
    """Names ``subject/sequence`` of a split that are there, in order.

    A sequence is known by its place among its subject's sorted folders, a subject by its name, so
    that a smaller tree splits by the same rule.
    """
    names = []
    for subject in sorted(wanted.subjects):
        folder = root / SUBJECTS[subject]
        if folder.is_dir():
            found = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
            names += [
                f"{SUBJECTS[subject]}/{found[i]}"
                for i in sorted(wanted.sequences)
                if i < len(found)
            ]
    return names


@dataclass
class Skipped:
    """What could not be used, and why.

    Attributes:
        entries: Pairs of a sequence, video or frame and the reason.
    """

    entries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, what: str, why: str) -> None:
        """One more."""
        self.entries.append((what, why))

    def extend(self, entries: Iterable[tuple[str, str]]) -> None:
        """Several more."""
        self.entries.extend(entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __str__(self) -> str:
        """Counts by reason, each with its first example."""
        if not self.entries:
            return "nothing skipped"
        counts = Counter(why for _, why in self.entries)
        first = {why: what for what, why in reversed(self.entries)}
        lines = [f"{n} x {why} (first: {first[why]})" for why, n in counts.most_common(10)]
        return f"{len(self.entries)} skipped: " + "; ".join(lines)


def _read_yaml(path: Path) -> dict:
    try:
        content = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as error:
        raise BadData(f"{path.name} is missing or unreadable") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadData(f"{path.name} is not YAML") from error
    if not isinstance(content, dict):
        raise BadData(f"{path.name} holds no mapping")
    return content
