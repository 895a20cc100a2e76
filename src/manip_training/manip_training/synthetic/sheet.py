"""A batch as a picture that a person can judge: crops in a grid, their labels drawn into them."""

import cv2
import numpy as np

from manip_core.hand import SIDES
from manip_core.hand_skeleton import BONES, FINGER_COLOURS, FINGERS
from manip_model.config import CONTACT_TYPES, YCB_CLASSES
from manip_training.batch import Batch

AXIS_LENGTH = 0.05  # [m]
AXES = ((235, 70, 70), (80, 200, 80), (80, 120, 245))
CONTACT_COLOURS = {"light": (255, 255, 255), "firm": (255, 220, 0), "manipulation": (255, 0, 200)}
GREY = (225, 225, 225)


def sheet(batch: Batch, columns: int = 8, zoom: int = 1, labels: bool = True) -> np.ndarray:
    """``(H, W, 3)`` uint8 RGB: the batch's crops row by row.

    Bones in the colours of their fingers, contacts as dots with the direction of force, the axes of
    objects with a pose, and in words side and held object.

    Args:
        batch: With pictures.
        columns: Crops in a row.
        zoom: Pixels for each of the crop's.
        labels: Draw them; else the crops alone.
    """
    values = {name: value.cpu().numpy() for name, value in batch.items()}
    crops = values["image"].transpose(0, 2, 3, 1)
    crops = crops.repeat(zoom, axis=1).repeat(zoom, axis=2)
    crops = [np.ascontiguousarray(crop) for crop in crops]
    if labels:
        for row, crop in enumerate(crops):
            draw_labels(crop, {name: value[row] for name, value in values.items()}, zoom)
    crops += [np.zeros_like(crops[0])] * (-len(crops) % columns)
    rows = [np.hstack(crops[i : i + columns]) for i in range(0, len(crops), columns)]
    return np.vstack(rows)


def draw_labels(crop: np.ndarray, sample: dict[str, np.ndarray], zoom: int) -> None:
    """Draw one sample's labels into its crop ``(S, S, 3)``, in place."""

    def place(pixel: np.ndarray) -> tuple[int, int]:
        return tuple(round(x) for x in (pixel + 0.5) * zoom - 0.5)

    def project(point: np.ndarray) -> np.ndarray:
        fx, fy, cx, cy = sample["camera"]
        return np.array((fx * point[0] / point[2] + cx, fy * point[1] / point[2] + cy))

    pixels = sample["keypoints_px"]
    for number, (parent, child) in enumerate(BONES):
        colour = FINGER_COLOURS[FINGERS[number // 4]]
        cv2.line(crop, place(pixels[parent]), place(pixels[child]), colour, zoom, cv2.LINE_AA)
    for pixel in pixels:
        cv2.circle(crop, place(pixel), zoom + 1, GREY, -1, cv2.LINE_AA)
    for slot in np.flatnonzero(sample["object_pose_valid"]):
        centre, turn = sample["object_position"][slot], sample["object_rotation"][slot]
        for axis, colour in enumerate(AXES):
            end = centre + AXIS_LENGTH * turn[:, axis]
            if min(centre[2], end[2]) > 0:
                ends = place(project(centre)), place(project(end))
                cv2.line(crop, *ends, colour, 2 * zoom, cv2.LINE_AA)
    for kind, point, force in zip(
        sample["contact_type"],
        sample["contact_point"],
        sample["contact_force_direction"],
        strict=True,
    ):
        if kind:
            colour = CONTACT_COLOURS[CONTACT_TYPES[kind]]
            ends = place(project(point)), place(project(point + 0.015 * force))
            cv2.line(crop, *ends, colour, zoom, cv2.LINE_AA)
            cv2.circle(crop, ends[0], 2 * zoom, colour, -1, cv2.LINE_AA)
    held = sample["object_class"][0]
    words = SIDES[sample["side"]] + (f" {YCB_CLASSES[held][4:]}" if held >= 0 else "")
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.4 * zoom
    (width, height), _ = cv2.getTextSize(words, font, scale, zoom)
    crop[-height - 8 * zoom :, : width + 8 * zoom] //= 3
    where = (4 * zoom, crop.shape[0] - 4 * zoom)
    cv2.putText(crop, words, where, font, scale, (255, 255, 255), zoom, cv2.LINE_AA)
