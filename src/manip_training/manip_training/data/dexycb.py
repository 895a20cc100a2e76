"""DexYCB, or a smaller tree in its layout, as samples of ``manip_training.batch.FIELDS``."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import torch

from manip_core.hand import SIDES
from manip_core.hand_skeleton import NUM_KEYPOINTS, TIPS
from manip_core.preprocessing import BOX_SCALE, CropBox, crop
from manip_model.config import NUM_OBJECT_QUERIES, YCB_CLASSES
from manip_model.hand_model import HandModel, load_hand_model
from manip_model.hand_pose import pose_from
from manip_model.hand_regions import vertex_regions
from manip_model.rotations import matrix_from_rotvec
from manip_training.batch import empty
from manip_training.data.contacts import ObjectSurface, PosedObject, label_contacts
from manip_training.data.layout import (
    FRAME_RATE,
    HEIGHT,
    HOW_TO_GET,
    WIDTH,
    BadData,
    Sequence,
    Skipped,
    find_root,
)
from manip_training.data.videos import BOTH, Video, find_frames, find_videos, read_labels

# Labels whose mesh has a joint farther than this from joint_3d are of another hand model. The tips
# are left out: releases of the model differ in which vertices they are.
MANO_TOLERANCE = 0.01  # [m]
_NOT_TIPS = np.setdiff1d(np.arange(NUM_KEYPOINTS), TIPS)


class DexYCB(torch.utils.data.Dataset):
    """Hand crops with their labels.

    Frames without a labelled hand in the picture are left out. What is corrupt is left out as well
    and reported in :attr:`skipped`; only where nothing is left, that is an error.

    Attributes:
        root: Folder of the tree.
        hand_model: Used for the labels of the mesh and of contacts.
        skipped: Corrupt sequences, videos and frames.
        without_hand: How many frames show no labelled hand.
        sequence_ids: ``(N,)`` int64: samples of the same video share a number.
        frame_times: ``(N,)`` [s] since the start of the sequence.
        object_points: ``(1024, 3)`` points in [m] on the surface of each object, object frame, by
            index into ``YCB_CLASSES``; objects whose mesh is missing are not there.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        setup: str = "s0",
        split: str = "train",
        hand_model: HandModel | None = None,
        side: str = BOTH,
        limit: int | None = None,
        box_scale: float = BOX_SCALE,
        stride: int = 1,
    ):
        """Find the samples.

        Args:
            root: Folder of the tree; ``$DEX_YCB_DIR`` by default.
            setup: ``s0`` to ``s3``.
            split: ``train``, ``val`` or ``test``.
            hand_model: By default MANO where ``$MANO_DIR`` points, and else the open hand. MANO
                labels need MANO, and labels of the open hand, in generated trees, need that.
            side: ``left`` or ``right`` hands only, or ``both``.
            limit: At most so many samples, drawn evenly and always the same.
            box_scale: Side of the crop over the extent of the keypoints.
            stride: Every so many frames.

        Raises:
            FileNotFoundError: No tree; says how to get it.
            ValueError: No such setup, split or side, or no usable frame.
        """
        if side not in (*SIDES, BOTH):
            raise ValueError(f"side must be one of {', '.join((*SIDES, BOTH))}, got {side!r}")
        for name, value in (("limit", limit), ("stride", stride)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        self.root = find_root(root)
        self.box_scale = box_scale
        self.skipped = Skipped()
        self._videos = find_videos(self.root, setup, split, side, self.skipped)
        self._index, self.without_hand = find_frames(self._videos, stride, limit, self.skipped)
        if not len(self._index):
            raise ValueError(
                f"{self.root} has no usable frame in {setup}/{split}, side {side}: "
                f"{len(self._videos)} videos, {self.without_hand} frames without hand, "
                f"{self.skipped}. {HOW_TO_GET}"
            )
        self.sequence_ids = self._index[:, 0].copy()
        self.frame_times = self._index[:, 1] / FRAME_RATE
        self._surfaces = self._load_surfaces()
        self.object_points = {index: found.points for index, found in self._surfaces.items()}
        self._set_hand_model(hand_model)

    def __len__(self) -> int:
        return len(self._index)

    def where(self, index: int) -> tuple[Path, int]:
        """The picture of a sample, and its frame."""
        video, frame = self._index[index]
        return self._videos[video].picture(frame), int(frame)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """One sample: ``FIELDS`` without the batch dimension, of the dtypes stated there.

        Raises:
            BadData: The picture or its labels turn out to be corrupt.
        """
        video, frame = self._videos[self._index[index, 0]], int(self._index[index, 1])
        sequence = video.sequence
        labels = read_labels(video, frame, ("joint_3d", "pose_m", "pose_y"))
        joints = labels["joint_3d"][0]
        picture = cv2.imread(str(video.picture(frame)))
        if picture is None or picture.shape != (HEIGHT, WIDTH, 3):
            raise BadData(f"{video.picture(frame)} is no picture of {WIDTH} x {HEIGHT} px")
        box = CropBox.around_points(video.camera.project(joints), self.box_scale)
        cropped = crop(picture, video.camera, box)
        camera = cropped.camera

        sample = _blank()
        sample["image"][:] = cropped.image[..., ::-1].transpose(2, 0, 1)
        sample["camera"][:] = camera.fx, camera.fy, camera.cx, camera.cy
        sample["side"][()], sample["side_valid"][()] = sequence.side, True
        sample["joints"][:], sample["joints_valid"][:] = joints, True
        sample["keypoints_px"][:] = camera.project(joints)
        sample["keypoints_px_valid"][:] = True
        vertices = self._add_hand(sample, sequence, labels["pose_m"].ravel(), joints)
        self._add_objects(sample, sequence, labels["pose_y"])
        if vertices is not None:
            self._add_contacts(sample, video, frame, labels["pose_y"], vertices)
        return sample

    def _add_hand(self, sample, sequence, pose, joints) -> np.ndarray | None:
        """MANO labels; the vertices ``(778, 3)`` they make, ``None`` where they are not valid."""
        if sequence.hand != self.hand_model.kind or not pose.any():
            return None
        side = SIDES[sequence.side]
        flat, translation = pose_from(pose, self.hand_model, pca=True, flat=False, side=side)
        sample["mano_pose"][:] = flat
        sample["mano_shape"][:] = sequence.betas
        # Without a translation the mesh is hung on the labelled wrist.
        if translation is None:
            translation = joints[0] - self._wrist(sequence)
        sample["mano_translation"][:] = translation
        vertices, found = _pose_hand(self.hand_model, sample)
        off = np.linalg.norm(found - joints, axis=1)[_NOT_TIPS].max()
        if off > MANO_TOLERANCE:
            # Python shows a warning of the same words once.
            warnings.warn(
                f"mesh labels that put a joint more than {MANO_TOLERANCE} m from joint_3d are left "
                "out: are they of another hand model, or of another release?",
                stacklevel=2,
            )
            for name in ("mano_pose", "mano_shape", "mano_translation"):
                sample[name][:] = 0
            return None
        sample["mano_valid"][()] = True
        return vertices

    def _wrist(self, sequence: Sequence) -> np.ndarray:
        shape, side = torch.from_numpy(sequence.betas)[None], torch.tensor([sequence.side])
        return self.hand_model.wrist(shape, side)[0].numpy()

    def _add_objects(self, sample, sequence, poses) -> None:
        slots = _slots(sequence)
        for slot, row in enumerate(slots):
            sample["object_class"][slot] = sequence.ycb_ids[row] - 1
            if poses[row].any():
                sample["object_rotation"][slot] = poses[row, :, :3]
                sample["object_position"][slot] = poses[row, :, 3]
                sample["object_pose_valid"][slot] = True
        sample["objects_valid"][()] = True
        if slots and slots[0] == sequence.grasped:
            sample["object_grasped"][()] = 0
            surface = self._surfaces.get(sequence.ycb_ids[slots[0]] - 1)
            if surface is not None and sample["object_pose_valid"][0]:
                rotation = poses[slots[0], :, :3]
                sample["object_surface"][:, :3] = (
                    surface.surface[:, :3] @ rotation.T + poses[slots[0], :, 3]
                )
                sample["object_surface"][:, 3:] = surface.surface[:, 3:] @ rotation.T
                sample["object_surface_valid"][()] = True

    def _add_contacts(self, sample, video, frame, poses, vertices) -> None:
        if not sample["object_surface_valid"]:
            return
        before = self._poses_before(video, frame)
        objects = [
            PosedObject(
                self._surfaces[video.sequence.ycb_ids[row] - 1],
                poses[row],
                before[row] if before is not None and before[row].any() else None,
            )
            for row in _slots(video.sequence)
            if poses[row].any() and video.sequence.ycb_ids[row] - 1 in self._surfaces
        ]
        found = label_contacts(vertices, self._regions, objects, 1 / FRAME_RATE)
        sample["contact_type"][:] = found.type
        sample["contact_point"][:] = found.point
        sample["contact_force_direction"][:] = found.direction
        sample["contact_map"][:] = found.map
        sample["contact_valid"][()] = True

    @staticmethod
    def _poses_before(video: Video, frame: int) -> np.ndarray | None:
        try:
            return read_labels(video, frame - 1, ("pose_y",))["pose_y"] if frame else None
        except BadData:
            return None

    def _set_hand_model(self, given: HandModel | None) -> None:
        model = given or load_hand_model()
        kinds = {video.sequence.hand for video in self._videos}
        if given is None and kinds == {"open"} and model.kind != "open":
            model = HandModel.open()
        if others := kinds - {model.kind}:
            warnings.warn(
                f"the tree's hands are of {', '.join(sorted(others))}, the hand model is "
                f"{model.kind}: labels of the mesh and of contacts are left out (for MANO labels, "
                "point the environment variable MANO_DIR at the folder with MANO_RIGHT.pkl)",
                stacklevel=3,
            )
        self.hand_model = model
        self._regions = vertex_regions(model)

    def _load_surfaces(self) -> dict[int, ObjectSurface]:
        used = {i for video in self._videos for i in video.sequence.ycb_ids}
        if unknown := sorted(i for i in used if not 1 <= i <= len(YCB_CLASSES)):
            warnings.warn(f"objects of unknown numbers {unknown} are left out", stacklevel=3)
        surfaces = {}
        for number in sorted(used - set(unknown)):
            name = YCB_CLASSES[number - 1]
            try:
                path = self.root / "models" / name / "textured_simple.obj"
                surfaces[number - 1] = ObjectSurface.load(path)
            except (OSError, ValueError) as error:
                self.skipped.add(f"models/{name}", f"no mesh: {error}")
        return surfaces


def _slots(sequence: Sequence) -> list[int]:
    """Rows of ``pose_y`` for the object slots: the grasped one first; unknown classes left out."""
    rows = [sequence.grasped, *(i for i in range(len(sequence.ycb_ids)) if i != sequence.grasped)]
    known = [i for i in rows if 1 <= sequence.ycb_ids[i] <= len(YCB_CLASSES)]
    return known[:NUM_OBJECT_QUERIES]


def _blank() -> dict[str, np.ndarray]:
    """A sample without labels."""
    return {name: value[0].numpy() for name, value in empty(1).items()}


def _pose_hand(model: HandModel, sample: dict) -> tuple[np.ndarray, np.ndarray]:
    """Vertices ``(778, 3)`` and keypoints ``(21, 3)`` of a sample's MANO labels."""
    with torch.no_grad():
        mesh = model(
            matrix_from_rotvec(torch.from_numpy(sample["mano_pose"]).view(1, 16, 3)),
            torch.from_numpy(sample["mano_shape"])[None],
            torch.from_numpy(sample["mano_translation"])[None],
            torch.from_numpy(sample["side"])[None],
        )
    return mesh.vertices[0].numpy(), mesh.joints[0].numpy()
