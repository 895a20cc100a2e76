"""Where hands are in a whole picture: MediaPipe's palm detector, for when none is followed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manip_core.hand import LEFT, RIGHT
from manip_core.resources import find

TASK_FILE = "models/hand_landmarker.task"
# Its names are those of images that are not mirrored, which is what a camera delivers (measured on
# real and rendered right hands and their mirror images).
SIDE_NAMES = {"Left": LEFT, "Right": RIGHT}


@dataclass(frozen=True, eq=False)
class Detection:
    """A hand somewhere in a picture.

    Attributes:
        pixels: ``(21, 2)`` [px].
        side: ``"left"`` or ``"right"``.
        score: Probability of that side, 0 to 1.
    """

    pixels: np.ndarray
    side: str
    score: float


class HandFinder:
    """MediaPipe Tasks' HandLandmarker on single pictures."""

    def __init__(self, num_hands: int, min_confidence: float, task_file: str | Path = ""):
        """Load it.

        Args:
            num_hands: Most hands to find.
            min_confidence: Least score of a palm, and of a hand in it.
            task_file: Empty: the one made at set-up.

        Raises:
            FileNotFoundError: No such file.
        """
        # Imported late: it takes a second and 100 MB, and other estimators do without.
        from mediapipe.tasks.python import BaseOptions, vision

        options = vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(task_file_of(task_file))),
            running_mode=vision.RunningMode.IMAGE,
            num_hands=num_hands,
            min_hand_detection_confidence=min_confidence,
            min_hand_presence_confidence=min_confidence,
        )
        self._landmarker = vision.HandLandmarker.create_from_options(options)

    def find(self, image: np.ndarray) -> list[Detection]:
        """Hands in ``(H, W, 3)`` uint8 RGB, surest first."""
        from mediapipe import Image, ImageFormat

        height, width = image.shape[:2]
        found = self._landmarker.detect(Image(image_format=ImageFormat.SRGB, data=image))
        detections = [
            Detection(
                np.array([(p.x * width - 0.5, p.y * height - 0.5) for p in landmarks]),
                SIDE_NAMES[names[0].category_name],
                float(np.clip(names[0].score, 0.0, 1.0)),
            )
            for landmarks, names in zip(found.hand_landmarks, found.handedness, strict=True)
        ]
        return sorted(detections, key=lambda one: -one.score)

    def close(self) -> None:
        """Free what MediaPipe holds."""
        self._landmarker.close()


def task_file_of(given: str | Path = "") -> Path:
    """The landmarker's model file: ``given``, or the one made at set-up.

    Raises:
        FileNotFoundError: It is not there.
    """
    if given:
        if not Path(given).is_file():
            raise FileNotFoundError(f"no hand landmark model at {given}")
        return Path(given)
    try:
        return find(TASK_FILE)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}. Make it by: python scripts/make_hand_landmarker.py"
        ) from error
