"""Hands by MediaPipe's hand landmarker, placed in space by :mod:`manip_perception.metric`."""

from dataclasses import dataclass

import cv2
import numpy as np
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision

from manip_core.camera import CameraIntrinsics
from manip_core.hand import LEFT, RIGHT, Hand
from manip_perception.contact import ContactConfig, contact_likelihood
from manip_perception.estimator import HandEstimator, checked_image
from manip_perception.hand_finder import SIDE_NAMES, task_file_of
from manip_perception.metric import MetricConfig, MetricHand


@dataclass(frozen=True, kw_only=True)
class MediaPipeConfig:
    """How MediaPipe is run.

    Attributes:
        model: Path of ``hand_landmarker.task``; empty: the one made at set-up.
        num_hands: 1 or 2. With 2, the palm detector runs on every image that shows only one.
        min_confidence: Least score, 0 to 1, of a palm found, of a hand in it, and of tracking on.
        hand_length: The user's hand, wrist to middle fingertip along the bones [m].
    """

    model: str = ""
    num_hands: int = 1
    min_confidence: float = 0.5
    hand_length: float = MetricConfig.hand_length

    def __post_init__(self):
        if self.num_hands not in (1, 2):
            raise ValueError(f"num_hands must be 1 or 2, got {self.num_hands}")
        if not 0.0 < self.min_confidence <= 1.0:
            raise ValueError(f"min_confidence must be within 0 and 1, got {self.min_confidence}")
        MetricConfig(hand_length=self.hand_length)


class MediaPipeEstimator(HandEstimator):
    """MediaPipe Tasks' HandLandmarker in video mode."""

    def __init__(self, config: MediaPipeConfig | None = None):
        self.config = config or MediaPipeConfig()
        path = task_file_of(self.config.model)
        score = self.config.min_confidence
        options = vision.HandLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            running_mode=vision.RunningMode.VIDEO,
            num_hands=self.config.num_hands,
            min_hand_detection_confidence=score,
            min_hand_presence_confidence=score,
            min_tracking_confidence=score,
        )
        self._landmarker = vision.HandLandmarker.create_from_options(options)
        metric = MetricConfig(hand_length=self.config.hand_length)
        self._metric = {side: MetricHand(metric) for side in (LEFT, RIGHT)}
        self._contact = ContactConfig()
        self._last_stamp: float | None = None
        self._milliseconds = 0

    def estimate(self, image: np.ndarray, stamp: float, camera: CameraIntrinsics) -> list[Hand]:
        if self._landmarker is None:
            raise RuntimeError("the estimator is closed")
        image = checked_image(image, camera)
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        result = self._landmarker.detect_for_video(
            Image(image_format=ImageFormat.SRGB, data=rgb), self._advance(stamp)
        )
        hands = [
            self._hand(*found, stamp, camera)
            for found in zip(
                result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True
            )
        ]
        return sorted(hands, key=lambda hand: -hand.confidence)

    def close(self) -> None:
        if self._landmarker is not None:
            self._landmarker.close()
            self._landmarker = None

    def _hand(self, landmarks, world, names, stamp: float, camera: CameraIntrinsics) -> Hand:
        side = SIDE_NAMES[names[0].category_name]
        # Fractions of the image; the depth, from the wrist's, is in image widths.
        raw = np.array([(p.x, p.y, p.z) for p in landmarks])
        pixels = raw[:, :2] * (camera.width, camera.height) - 0.5
        keypoints, std = self._metric[side].place(
            pixels,
            raw[:, 2] * camera.width,
            np.array([(p.x, p.y, p.z) for p in world]),
            camera,
        )
        return Hand(
            stamp=stamp,
            side=side,
            keypoints=keypoints,
            keypoints_std=std,
            keypoints_px=pixels,
            contact=contact_likelihood(keypoints, side, self._contact),
            confidence=float(np.clip(names[0].score, 0.0, 1.0)),
            tracked=True,
        )

    def _advance(self, stamp: float) -> int:
        """Milliseconds of the image at ``stamp`` on the landmarker's clock, which never goes back.

        A stamp that repeats or jumps back (a clip that starts again) counts as the next
        millisecond, and time goes on from there: tracking continues, nothing is restarted.
        """
        if not np.isfinite(stamp):
            raise ValueError(f"stamp must be finite, got {stamp}")
        step = 0.0 if self._last_stamp is None else stamp - self._last_stamp
        self._last_stamp = stamp
        # A day at most: the landmarker's own clock overflows far later.
        self._milliseconds += int(np.clip(round(step * 1e3), 1, 86_400_000))
        return self._milliseconds
