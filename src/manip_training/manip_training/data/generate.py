"""A small data set in DexYCB's layout, made from nothing: hands that grasp and move objects.

For trying the training out and for tests, where nothing can be downloaded. The hand is the open one
that ships, objects are boxes and cylinders as large as the YCB objects, and pictures are painted in
software, so that a network trained on it knows nothing of real pictures. Depth pictures and
``pose.npz``, which training does not read, are not written.
"""

import errno
import tempfile
from pathlib import Path

import cv2
import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from manip_core.hand import SIDES
from manip_model.config import YCB_CLASSES
from manip_model.hand_model import HandModel
from manip_model.hand_pose import values_from
from manip_training.data.layout import HEIGHT, SEQUENCES_PER_SUBJECT, SERIALS, SUBJECTS, WIDTH
from manip_training.data.painter import paint, table_and_wall
from manip_training.data.primitives import PRIMITIVES
from manip_training.data.scene import Camera, Person, Scene, draw_scene, rest_wrist
from manip_training.data.shapes import hand_shapes, object_shape

JPEG_QUALITY = 95
SENSOR_NOISE = 0.012
EXTRINSICS = "generated"


def generate_tree(
    root: str | Path,
    subjects: int = 2,
    sequences: int = 5,
    serials: int = 2,
    frames: int = 10,
    seed: int = 0,
) -> Path:
    """Write a tree, whole or not at all; about ten pictures a second on one core.

    The first frame of a sequence of four or more shows no hand, as in DexYCB.

    Args:
        root: Folder to make; it must not exist or be empty.
        subjects, sequences, serials, frames: How many subjects (up to 10), sequences of each (up to
            100), cameras (up to 8) and pictures of each camera in each sequence.
        seed: Of everything that is drawn.

    Returns:
        ``root`` as a path.

    Raises:
        ValueError: A number out of range.
        FileExistsError: The folder holds something.
    """
    root = Path(root)
    for name, value, most in (
        ("subjects", subjects, len(SUBJECTS)),
        ("sequences", sequences, SEQUENCES_PER_SUBJECT),
        ("serials", serials, len(SERIALS)),
        ("frames", frames, 10**6),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"{name} must be within 1 and {most}, got {value}")
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root} holds something already; give an empty folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f"{root.name}.") as folder:
        partial = Path(folder) / "tree"
        _write_tree(partial, subjects, sequences, SERIALS[:serials], frames, seed)
        try:
            partial.rename(root)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise FileExistsError(f"{root} was filled meanwhile") from error
            raise
    return root


def _write_tree(
    root: Path, subjects: int, sequences: int, serials: tuple[str, ...], frames: int, seed: int
) -> None:
    model = HandModel.open()
    _write_models(root)
    cameras = _write_cameras(root, serials, np.random.default_rng((seed, 0)))
    for subject in range(subjects):
        person = Person.draw(np.random.default_rng((seed, 1, subject)))
        date, name = SUBJECTS[subject].split("-", 1)
        calibrations = {side: f"{date}_120000_{name}_{side}" for side in SIDES}
        for calibration in calibrations.values():
            folder = root / "calibration" / f"mano_{calibration}"
            _write_yaml(folder / "mano.yml", {"betas": person.shape.tolist()})
        for number in range(sequences):
            rng = np.random.default_rng((seed, 2, subject, number))
            scene = draw_scene(model, person, frames, rng)
            folder = root / SUBJECTS[subject] / f"{date}_{120000 + number:06d}"
            meta = {
                "serials": list(cameras),
                "num_frames": frames,
                "extrinsics": EXTRINSICS,
                "ycb_ids": [index + 1 for index in scene.classes],
                "ycb_grasp_ind": 0,
                "mano_sides": [scene.side],
                "mano_calib": [calibrations[scene.side]],
                "hand_model": model.kind,
            }
            _write_yaml(folder / "meta.yml", meta)
            for serial, camera in cameras.items():
                _write_video(folder / serial, model, person, scene, camera, rng)


def _write_video(
    folder: Path,
    model: HandModel,
    person: Person,
    scene: Scene,
    camera: Camera,
    rng: np.random.Generator,
) -> None:
    folder.mkdir(parents=True)
    background = table_and_wall(camera.intrinsics, camera.rotation, camera.position, rng)
    light = rng.normal((0, 0, 1), 0.5)
    light = camera.rotation.T @ (light / np.linalg.norm(light))
    mottled = 1 + rng.normal(0, 0.04, (scene.vertices.shape[1], 1))
    skin = np.clip(person.skin * mottled, 0, 1)
    for frame, seen in enumerate(scene.seen):
        poses = scene.objects[frame]
        turned = camera.rotation.T @ poses[..., :3]
        poses = np.concatenate((turned, camera.sees(poses[..., 3])[..., None]), axis=-1)
        shapes = [object_shape(index, p) for index, p in zip(scene.classes, poses, strict=True)]
        if seen:
            vertices = camera.sees(scene.vertices[frame])
            shapes += hand_shapes(model, scene.side, vertices, skin, person.sleeve)
        picture, segments = paint(background, shapes, camera.intrinsics, light)
        picture = cv2.GaussianBlur(picture, (3, 3), 0.6)
        picture += rng.normal(0, SENSOR_NOISE, picture.shape[:2])[..., None]
        picture = np.clip(255 * picture + 0.5, 0, 255).astype(np.uint8)
        cv2.imwrite(
            str(folder / f"color_{frame:06d}.jpg"),
            picture[..., ::-1],
            (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY),
        )
        labels = _hand_labels(model, person, scene, frame, camera) if seen else _no_hand()
        np.savez_compressed(
            folder / f"labels_{frame:06d}.npz",
            seg=segments,
            pose_y=poses.astype(np.float32),
            **{name: value.astype(np.float32) for name, value in labels.items()},
        )


def _no_hand() -> dict[str, np.ndarray]:
    return {
        "pose_m": np.zeros((1, 51)),
        "joint_3d": np.full((1, 21, 3), -1.0),
        "joint_2d": np.full((1, 21, 2), -1.0),
    }


def _hand_labels(
    model: HandModel, person: Person, scene: Scene, frame: int, camera: Camera
) -> dict[str, np.ndarray]:
    pose = scene.pose[frame].copy()
    turn = camera.rotation.T @ Rotation.from_rotvec(pose[0]).as_matrix()
    pose[0] = Rotation.from_matrix(turn).as_rotvec()
    stored = values_from(pose.ravel(), model, pca=True, flat=False, side=scene.side)
    rest = rest_wrist(model, person.shape, scene.side)
    joints = camera.sees(scene.keypoints[frame])
    return {
        "pose_m": np.concatenate((stored, camera.sees(scene.wrist[frame]) - rest))[None],
        "joint_3d": joints[None],
        "joint_2d": camera.intrinsics.project(joints)[None],
    }


def _write_models(root: Path) -> None:
    for name in YCB_CLASSES:
        folder = root / "models" / name
        folder.mkdir(parents=True)
        PRIMITIVES[name].mesh().export(folder / "textured_simple.obj")


def _write_cameras(
    root: Path, serials: tuple[str, ...], rng: np.random.Generator
) -> dict[str, Camera]:
    cameras, extrinsics = {}, {"apriltag": np.eye(3, 4).ravel().tolist()}
    for i, serial in enumerate(serials):
        # Three eighths of a turn apart, so that few cameras see the table from all around, too.
        camera = cameras[serial] = Camera.draw(2 * np.pi * (3 * i % 8) / 8, rng)
        lens = camera.intrinsics
        colour = {"fx": lens.fx, "fy": lens.fy, "ppx": lens.cx, "ppy": lens.cy}
        path = root / "calibration" / "intrinsics" / f"{serial}_{WIDTH}x{HEIGHT}.yml"
        _write_yaml(path, {"color": colour})
        pose = np.column_stack((camera.rotation, camera.position))
        extrinsics[serial] = pose.ravel().tolist()
    path = root / "calibration" / f"extrinsics_{EXTRINSICS}" / "extrinsics.yml"
    _write_yaml(path, {"master": serials[0], "extrinsics": extrinsics})
    return cameras


def _write_yaml(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
