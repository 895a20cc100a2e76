"""``manip photos``: what a model sees in ordinary photos, beside MediaPipe's hand landmarker.

There is no truth in them: the distance between the two says how far they differ, and the sheet of
pictures which of them is right.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from manip_core import metrics
from manip_core.camera import CameraIntrinsics
from manip_core.hand import SIDES
from manip_core.hand_skeleton import BONES, FINGER_COLOURS, FINGERS
from manip_core.preprocessing import BOX_SCALE, Crop, CropBox, crop
from manip_core.resources import find

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
# Photos do not tell their lens: about that of a phone or webcam [degrees, longer side].
FIELD_OF_VIEW = 60.0
_LANDMARKER = "models/hand_landmarker.task"
_TILE = 224
_COLUMNS = 8


@dataclass(frozen=True)
class Seen:
    """A hand that MediaPipe found in a photo.

    Attributes:
        crop: RGB, as the model is given it.
        side: 0 left, 1 right.
        pixels: ``(21, 2)`` in the crop [px].
        world: ``(21, 3)`` [m], about the hand's middle.
    """

    crop: Crop
    side: int
    pixels: np.ndarray
    world: np.ndarray


def look(paths: list[Path]) -> tuple[list[Seen], list[Path]]:
    """The most certain hand in each photo, and the photos without one.

    Raises:
        FileNotFoundError: MediaPipe's landmark model is not there.
        ValueError: A file is no picture.
    """
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.HandLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(find(_LANDMARKER))), num_hands=1
    )
    seen, empty = [], []
    with vision.HandLandmarker.create_from_options(options) as landmarker:
        for path in paths:
            picture = cv2.imread(str(path))
            if picture is None:
                raise ValueError(f"{path} is no picture")
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            found = landmarker.detect(Image(image_format=ImageFormat.SRGB, data=picture))
            if not found.hand_landmarks:
                empty.append(path)
                continue
            height, width = picture.shape[:2]
            marks = np.array([(p.x, p.y) for p in found.hand_landmarks[0]])
            pixels = marks * (width, height) - 0.5
            cut = crop(picture, camera_of(width, height), CropBox.around_points(pixels, BOX_SCALE))
            world = np.array([(p.x, p.y, p.z) for p in found.hand_world_landmarks[0]])
            side = SIDES.index(found.handedness[0][0].category_name.lower())
            seen.append(Seen(cut, side, cut.to_crop(pixels), world))
    return seen, empty


def camera_of(width: int, height: int) -> CameraIntrinsics:
    """The camera that a photo without data is taken for."""
    focal = 0.5 * max(width, height) / np.tan(np.radians(FIELD_OF_VIEW) / 2)
    return CameraIntrinsics(
        width=width,
        height=height,
        fx=focal,
        fy=focal,
        cx=0.5 * (width - 1),
        cy=0.5 * (height - 1),
    )


def predict(model: nn.Module, seen: list[Seen], device: torch.device) -> dict[str, np.ndarray]:
    """``joints`` ``(N, 21, 3)`` [m], ``pixels`` ``(N, 21, 2)`` of their projection into the crop,
    ``heat`` ``(N, 21, 2)`` of the 2D head, and ``side`` ``(N,)``."""
    size = model.config.image_size
    found: dict[str, list[np.ndarray]] = {}
    for one in seen:
        scale = size / one.crop.camera.width
        picture = one.crop.image
        if scale != 1:
            picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        camera = one.crop.camera.scaled(size, size)
        image = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
        given = torch.tensor([[camera.fx, camera.fy, camera.cx, camera.cy]], dtype=torch.float32)
        # Who sees left hands in the mirror must know which they are.
        side = torch.tensor([one.side], device=device) if model.config.mirror_left else None
        with torch.inference_mode():
            said = model(image.to(device), given.to(device), side)
        joints = said.joints[0].double().cpu().numpy()
        values = {
            "joints": joints,
            "pixels": (camera.project(joints) + 0.5) / scale - 0.5,
            "heat": (said.keypoints_px[0].double().cpu().numpy() + 0.5) / scale - 0.5,
            "side": said.side[0].cpu().numpy(),
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: np.stack(values) for name, values in found.items()}


def compare(seen: list[Seen], said: dict[str, np.ndarray]) -> dict[str, float]:
    """How far the model and MediaPipe differ; lengths against MediaPipe's, which is no truth."""
    pixels = np.stack([one.pixels for one in seen])
    world = np.stack([one.world for one in seen])
    sides = np.array([one.side for one in seen])
    box = np.ptp(pixels, axis=1).max(axis=1)[:, None]
    apart = {
        name: np.linalg.norm(said[name] - pixels, axis=-1) / box for name in ("pixels", "heat")
    }
    pa = metrics.pa_mpjpe_mm(said["joints"], world)
    return {
        "photos": float(len(seen)),
        "photos_pa_to_mediapipe_mm": float(pa.mean()),
        "photos_pa_to_mediapipe_median_mm": float(np.median(pa)),
        "photos_mean_pose_pa_mm": float(_mean_pose_pa(world, sides)),
        "photos_2d_of_box_pct": float(100 * apart["pixels"].mean()),
        "photos_pck05_pct": float(100 * (apart["pixels"] < 0.05).mean()),
        "photos_pck10_pct": float(100 * (apart["pixels"] < 0.10).mean()),
        "photos_heat_pck05_pct": float(100 * (apart["heat"] < 0.05).mean()),
        "photos_heat_pck10_pct": float(100 * (apart["heat"] < 0.10).mean()),
        "photos_side_agrees_pct": float(100 * (said["side"] == sides).mean()),
    }


def _mean_pose_pa(world: np.ndarray, sides: np.ndarray) -> float:
    """What an answer that never changes would have: the medoid of MediaPipe's own poses."""
    as_right = np.where((sides == 0)[:, None, None], world * (-1, 1, 1), world)
    between = np.array(
        [metrics.pa_mpjpe_mm(np.broadcast_to(one, as_right.shape), as_right) for one in as_right]
    )
    count = len(as_right)
    return between.sum(axis=1).min() / max(count - 1, 1)


def sheet(seen: list[Seen], said: dict[str, np.ndarray]) -> np.ndarray:
    """BGR picture: every crop with MediaPipe's hand in grey and the model's in colours."""
    tiles = []
    for i, one in enumerate(seen):
        tile = cv2.cvtColor(one.crop.image, cv2.COLOR_RGB2BGR)
        _draw(tile, one.pixels, grey=True)
        _draw(tile, said["pixels"][i], grey=False)
        name = SIDES[int(said["side"][i])] + ("" if said["side"][i] == one.side else " (!)")
        cv2.putText(tile, name, (4, 14), 0, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(tile, name, (4, 14), 0, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(tile)
    tiles += [np.zeros((_TILE, _TILE, 3), np.uint8)] * (-len(tiles) % _COLUMNS)
    return np.vstack([np.hstack(tiles[i : i + _COLUMNS]) for i in range(0, len(tiles), _COLUMNS)])


def measure(
    model: nn.Module, where: Path, device: torch.device
) -> tuple[dict[str, float], np.ndarray]:
    """Figures of :func:`compare` and the picture of :func:`sheet`, of the photos at ``where``.

    Raises:
        ValueError: MediaPipe finds no hand in any of them.
    """
    seen, empty = look(pictures_in(where))
    if not seen:
        raise ValueError(f"no hand is found in any of the {len(empty)} pictures at {where}")
    said = predict(model, seen, device)
    return compare(seen, said) | {"photos_without_hand": float(len(empty))}, sheet(seen, said)


def _draw(tile: np.ndarray, pixels: np.ndarray, grey: bool) -> None:
    def at(k: int) -> tuple[int, int]:
        return tuple(np.clip(np.round(4 * pixels[k]), -4000, 4000).astype(int).tolist())

    for a, b in BONES:
        red, green, blue = (200, 200, 200) if grey else _colour_of(b)
        cv2.line(tile, at(a), at(b), (blue, green, red), 1 if grey else 2, cv2.LINE_AA, 2)


def _colour_of(keypoint: int) -> tuple[int, int, int]:
    return FINGER_COLOURS[FINGERS[(keypoint - 1) // 4]]


def pictures_in(where: Path) -> list[Path]:
    """Pictures of a folder in the order of their names, or the one file.

    Raises:
        FileNotFoundError: There is none.
    """
    found = [where] if where.is_file() else sorted(where.glob("*"))
    found = [path for path in found if path.suffix.lower() in PICTURES]
    if not found:
        raise FileNotFoundError(f"no pictures ({', '.join(PICTURES)}) at {where}")
    return found
