"""Rendered hands as a data set on disk: tar files of pictures and labels, as DexYCB names them.

A folder holds ``dataset.json`` and ``shard-00000.tar``, … Each sample is a JPEG and an ``.npz``:

- of DexYCB (its ``labels_*.npz``): ``seg`` (S, S) uint8, 255 the hand, an object's class number,
  0 the rest; ``pose_y`` (n, 3, 4) of the objects; ``pose_m`` (1, 51) of the hand, in principal
  components; ``joint_3d`` (1, 21, 3) [m]; ``joint_2d`` (1, 21, 2) [px];
- what DexYCB keeps beside its sequences: ``ycb_ids`` (n,), ``ycb_grasp_ind`` (-1 for none),
  ``mano_side``, ``mano_betas`` (10,), ``intrinsics`` (4,) fx, fy, cx, cy [px];
- what it does not have: ``depth`` (S, S) float16 [m], 0 where there is none; ``contact_type``,
  ``contact_point``, ``contact_force_direction``, ``contact_map``, ``object_surface``.

Pictures are whole hand crops of S = 224 px. Names within a tar file are those of WebDataset.
"""

import io
import json
import tarfile
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import torch

from manip_core.hand import SIDES
from manip_model.hand_model import HandModel
from manip_model.hand_pose import pose_from, values_from
from manip_training.batch import Batch, empty
from manip_training.data.cache import mixed_seed
from manip_training.data.layout import BadData
from manip_training.data.primitives import primitive_points
from manip_training.synthetic.parts import PARTS
from manip_training.synthetic.render_input import Rendered

FORMAT = "manip-synth-1"
INDEX = "dataset.json"
HAND_LABEL = 255
JPEG_QUALITY = 95
_AT_ONCE = 50
_EXTRA = ("contact_type", "contact_point", "contact_force_direction", "contact_map")


def write(world, folder: str | Path, *, count: int, per_shard: int = 1000, seed: int = 0) -> None:
    """Render a data set; one that was broken off goes on with the shard that it lacks.

    Args:
        world: A :class:`manip_training.synthetic.world.SyntheticWorld`.
        folder: Gets it.
        count: Pictures.
        per_shard: Pictures in a tar file.
        seed: The same seed makes the same pictures.

    Raises:
        ValueError: Numbers out of range, or the folder holds another data set.
        FileExistsError: The folder holds something that is no data set.
        OSError: The disk is full; whole shards stay.
    """
    if count < 1 or per_shard < 1:
        raise ValueError(f"count and per-shard must be 1 or more, got {count} and {per_shard}")
    folder = Path(folder)
    about = {
        "format": FORMAT,
        "count": count,
        "per_shard": per_shard,
        "seed": seed,
        "hand_model": "open",
        "world": asdict(world.config),
    }
    # As it will be read again: JSON has no tuples.
    _begin(folder, json.loads(json.dumps(about)))
    model = HandModel.open()
    for shard in range(-(-count // per_shard)):
        path = folder / f"shard-{shard:05d}.tar"
        if path.exists():
            continue
        first = shard * per_shard
        partial = path.with_suffix(".partial")
        try:
            with tarfile.open(partial, "w") as tar:
                for start in range(first, min(first + per_shard, count), _AT_ONCE):
                    size = min(_AT_ONCE, first + per_shard - start, count - start)
                    seen, labels = world.rendered(size, mixed_seed(seed, start))
                    _write_samples(tar, start, labels, seen, model)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        partial.replace(path)


def _begin(folder: Path, about: dict) -> None:
    index = folder / INDEX
    if index.is_file():
        held = json.loads(index.read_text())
        if held != about:
            other = [name for name, value in about.items() if held.get(name) != value]
            raise ValueError(f"{folder} holds a data set with another {', '.join(other)}")
        return
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds something already; give an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    index.write_text(json.dumps(about, indent=2) + "\n")


def _write_samples(tar, start: int, labels: Batch, seen: Rendered, model: HandModel) -> None:
    arrays = {name: value.cpu().numpy() for name, value in labels.items()}
    depth, part = seen.depth.cpu().numpy(), seen.part.cpu().numpy()
    for i in range(len(part)):
        one = {name: value[i] for name, value in arrays.items()}
        picture = np.ascontiguousarray(one["image"].transpose(1, 2, 0)[..., ::-1])
        _, jpeg = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        file = io.BytesIO()
        np.savez_compressed(
            file,
            depth=depth[i].astype(np.float16),
            seg=_segments(part[i], one),
            **_labels(one, model),
        )
        for kind, data in (("jpg", jpeg.tobytes()), ("npz", file.getvalue())):
            member = tarfile.TarInfo(f"{start + i:08d}.{kind}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def _segments(part: np.ndarray, one: dict[str, np.ndarray]) -> np.ndarray:
    """DexYCB's ``seg`` of a part map ``(S, S)``."""
    table = np.zeros(256, np.uint8)
    table[1 + PARTS.index("hand")] = HAND_LABEL
    if one["object_grasped"] >= 0:
        table[1 + PARTS.index("object")] = 1 + one["object_class"][one["object_grasped"]]
    return table[part]


def _labels(one: dict[str, np.ndarray], model: HandModel) -> dict[str, np.ndarray]:
    there = one["object_class"] >= 0
    side = SIDES[int(one["side"])]
    pose = values_from(
        one["mano_pose"].astype(np.float64),
        model,
        translation=one["mano_translation"].astype(np.float64),
        pca=True,
        flat=False,
        side=side,
    )
    poses = np.concatenate((one["object_rotation"], one["object_position"][..., None]), axis=-1)
    labels = {
        "pose_y": poses[there].astype(np.float32),
        "pose_m": pose[None].astype(np.float32),
        "joint_3d": one["joints"][None],
        "joint_2d": one["keypoints_px"][None],
        "ycb_ids": one["object_class"][there] + 1,
        "ycb_grasp_ind": one["object_grasped"],
        "mano_side": np.array(side),
        "mano_betas": one["mano_shape"],
        "intrinsics": one["camera"],
    }
    if one["contact_valid"]:
        labels |= {name: one[name] for name in _EXTRA}
    if one["object_surface_valid"]:
        labels["object_surface"] = one["object_surface"]
    return labels


class Shards(torch.utils.data.Dataset):
    """A data set that :func:`write` made, as samples of ``FIELDS``.

    Attributes:
        hand_model: Of its labels.
        object_points: Of the objects, by index into ``YCB_CLASSES``.
        about: Of ``dataset.json``.
    """

    def __init__(self, folder: str | Path, split: str = "train", limit: int = 0):
        """Open it.

        Args:
            folder: Of the data set.
            split: The last tenth of the shards, but one at least where there are several, is
                ``val`` and ``test``; the others are ``train``. One shard alone is all of them.
            limit: At most so many samples; 0 for all.

        Raises:
            FileNotFoundError: No data set there, or a shard is missing.
            ValueError: Of another format, or of a hand model that is not at hand.
        """
        self.folder = Path(folder)
        index = self.folder / INDEX
        if not index.is_file():
            raise FileNotFoundError(f"no {INDEX} in {folder}: make a data set by manip synth")
        self.about = json.loads(index.read_text())
        if self.about.get("format") != FORMAT:
            raise ValueError(f"{index} is of format {self.about.get('format')!r}, not {FORMAT!r}")
        if self.about["hand_model"] != "open":
            raise ValueError(f"its hand model is {self.about['hand_model']!r}, not 'open'")
        self.hand_model = HandModel.open()
        self._places: list[tuple[Path, dict[str, tuple[int, int]]]] = []
        self.object_points = primitive_points()
        shards = range(-(-self.about["count"] // self.about["per_shard"]))
        if len(shards) > 1:
            held_out = max(len(shards) // 10, 1)
            shards = shards[:-held_out] if split == "train" else shards[-held_out:]
        for shard in shards:
            path = self.folder / f"shard-{shard:05d}.tar"
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing: manip synth goes on where it stopped")
            self._places += _places(path)
        self._places = self._places[: limit or None]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """One sample: ``FIELDS`` without the batch dimension.

        Raises:
            BadData: The picture or its labels are corrupt.
        """
        path, places = self._places[index]
        try:
            with path.open("rb") as file:
                jpeg, labels = (_read(file, *places[kind]) for kind in ("jpg", "npz"))
            held = dict(np.load(io.BytesIO(labels), allow_pickle=False))
            picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            return self._sample(picture, held)
        except (OSError, ValueError, KeyError, TypeError, cv2.error) as error:
            raise BadData(f"{path}, sample {index}: {error}") from error

    def _sample(self, picture: np.ndarray, held: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sample = {name: value[0].numpy() for name, value in empty(1).items()}
        side = SIDES.index(str(held["mano_side"]))
        pose, translation = pose_from(
            held["pose_m"][0].astype(np.float64),
            self.hand_model,
            pca=True,
            flat=False,
            side=SIDES[side],
        )
        count = len(held["ycb_ids"])
        values = {
            "image": picture[..., ::-1].transpose(2, 0, 1),
            "camera": held["intrinsics"],
            "side": side,
            "joints": held["joint_3d"][0],
            "keypoints_px": held["joint_2d"][0],
            "mano_pose": pose,
            "mano_shape": held["mano_betas"],
            "mano_translation": translation,
            "object_grasped": held["ycb_grasp_ind"],
            **{name: held[name] for name in (*_EXTRA, "object_surface") if name in held},
        }
        for name, value in values.items():
            sample[name][...] = value
        sample["object_class"][:count] = held["ycb_ids"] - 1
        sample["object_rotation"][:count] = held["pose_y"][..., :3]
        sample["object_position"][:count] = held["pose_y"][..., 3]
        sample["object_pose_valid"][:count] = True
        for name in ("side", "joints", "keypoints_px", "mano", "objects"):
            sample[f"{name}_valid"][...] = True
        sample["contact_valid"][...] = "contact_type" in held
        sample["object_surface_valid"][...] = "object_surface" in held
        return sample


def _places(path: Path) -> list[tuple[Path, dict[str, tuple[int, int]]]]:
    """Of each sample of a tar file where its members begin, and their sizes."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            name, _, kind = member.name.partition(".")
            found.setdefault(name, {})[kind] = member.offset_data, member.size
    return [(path, found[name]) for name in sorted(found)]


def _read(file, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
