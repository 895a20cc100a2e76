"""What every hand pose estimator looks like from outside, and how one is made by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import cv2
import numpy as np

from manip_core.camera import CameraIntrinsics
from manip_core.hand import Hand

MIN_IMAGE_SIDE = 32


class HandEstimator(ABC):
    """Finds the hands in one image after another of the same camera."""

    @abstractmethod
    def estimate(self, image: np.ndarray, stamp: float, camera: CameraIntrinsics) -> list[Hand]:
        """The hands in one image, most confident first; none is an empty list.

        Args:
            image: ``(H, W, 3)`` uint8 BGR; gray ``(H, W)``, ``(H, W, 1)`` and BGRA are converted.
            stamp: Exposure of the image [s]. Any order is accepted; ascending is expected.
            camera: Intrinsics of the camera, for images of just this size.

        Returns:
            Hands with keypoints in ``camera_optical_frame``.

        Raises:
            ValueError: The image, stamp or camera cannot be used; the message says what came.
        """

    def close(self) -> None:  # noqa: B027
        """Free what the estimator holds, if anything. It is of no use afterwards."""

    def __enter__(self) -> "HandEstimator":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def checked_image(image: np.ndarray, camera: CameraIntrinsics) -> np.ndarray:
    """``image`` as contiguous ``(H, W, 3)`` uint8 BGR, converted from gray or BGRA where it is so.

    Raises:
        ValueError: It is no such image, or not of the size that ``camera`` describes.
    """
    expected = "expected (H, W, 3) uint8 BGR, gray (H, W), or BGRA (H, W, 4)"
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image must be an array, got {type(image).__name__}; {expected}")
    what = f"got {image.shape} {image.dtype}"
    if image.dtype != np.uint8:
        raise ValueError(f"image must be uint8, {what}; {expected}")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise ValueError(f"image has the wrong shape, {what}; {expected}")
    height, width = image.shape[:2]
    if min(height, width) < MIN_IMAGE_SIDE:
        raise ValueError(f"image must be at least {MIN_IMAGE_SIDE} px wide and high, {what}")
    if (width, height) != (camera.width, camera.height):
        raise ValueError(
            f"image is {width}x{height}, its camera's intrinsics are for "
            f"{camera.width}x{camera.height}"
        )
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return np.ascontiguousarray(image)


_MAKERS: dict[str, Callable[..., HandEstimator]] = {}


def register(name: str, maker: Callable[..., HandEstimator]) -> None:
    """Make ``maker(**config)`` available to :func:`make_estimator` under ``name``."""
    _MAKERS[name] = maker


def make_estimator(name: str, **config) -> HandEstimator:
    """The estimator called ``name``, with the fields of its own config that differ from default.

    Raises:
        ValueError: There is none of that name, or its config has no such field.
    """
    if name not in _MAKERS:
        raise ValueError(f"estimator must be one of {', '.join(sorted(_MAKERS))}, got {name!r}")
    return _MAKERS[name](**config)


def _mediapipe(**config) -> HandEstimator:
    # Imported late: it takes a second and 100 MB, and other estimators do without.
    from manip_perception.mediapipe_estimator import MediaPipeConfig, MediaPipeEstimator

    try:
        return MediaPipeEstimator(MediaPipeConfig(**config))
    except TypeError as error:
        fields = ", ".join(MediaPipeConfig.__dataclass_fields__)
        raise ValueError(f"{error}; the fields of the mediapipe config are {fields}") from error


def _amt(**config) -> HandEstimator:
    from manip_perception.amt_estimator import AmtConfig, AmtEstimator
    from manip_perception.runtimes import Unusable

    try:
        settings = AmtConfig(**config)
    except TypeError as error:
        fields = ", ".join(AmtConfig.__dataclass_fields__)
        raise ValueError(f"{error}; the fields of the amt config are {fields}") from error
    try:
        return AmtEstimator(settings)
    except Unusable as error:
        raise ValueError(f"{error}; make sim ESTIMATOR=amt sets up what it needs") from error


register("mediapipe", _mediapipe)
register("amt", _amt)
